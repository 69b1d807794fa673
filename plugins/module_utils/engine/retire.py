# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Taking agents off a host: those that moved away or were scaled down, and those that a person removes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import health_timer, hold, manifest, presence, secret_files, systemd
from .errors import EngineError
from .files import remove
from .layout import KINDS, Layout, workload_key
from .lock import locked
from .maintenance import hold_movers
from .mask import masked, secret_values
from .names import keys_of, name_of
from .prune import prune
from .recover import recover
from .request import Request
from .state import State, load, record, save
from .switch import take_down

_AGENTS = KINDS["agent"] + "/"


def moved_away(state: State, request: Request) -> list[str]:
    """Names of the selected agents that are here and should not be, by today's plan."""
    return [
        name_of(key)
        for key, entry in sorted(state.workloads.items())
        if key.startswith(_AGENTS) and entry.get("base") in request.names and key not in request.wanted
    ]


def orphans(state: State, request: Request) -> dict[str, str]:
    """name → agent id of what is here and no fleet file names any more; it is reported, never removed unasked."""
    if not request.fleet:
        return {}
    return {
        name_of(key): str(entry.get("agent_id"))
        for key, entry in sorted(state.workloads.items())
        if key.startswith(_AGENTS) and entry.get("base") not in request.fleet
    }


def retire(layout: Layout, request: Request) -> dict[str, Any]:
    """Remove what moved away or was scaled down; its data stays. What is only about to start elsewhere (`moves`) is held, so
    that it can come back.
    """
    with locked(layout, request.who, wait=10.0):
        recover(layout, request.who)
        state = load(layout)
        leaving = [name for name in moved_away(state, request) if name in request.retire]
        moving = [name for name in leaving if name in request.moves]
        names = [name for name in leaving if name not in moving]
        for name in names:
            # An id that another host takes over keeps its status; one that leaves the fleet takes its leave.
            leaves = state.workloads[_AGENTS + name].get("agent_id") not in request.ids
            remove_one(layout, state, _AGENTS + name, clear=leaves, who=request.who)
        _finish(layout, state, names)
        hold_movers(layout, state, request, {_AGENTS + name: request.moves[name] for name in moving})
        return {"retired": names, "moving": moving}


def remove_agents(layout: Layout, request: Request) -> dict[str, Any]:
    """Remove the named agents: service, unit, secrets, releases and retained status; data too with `purge`.

    Raises EngineError where a name is none, before anything is removed: names become paths.
    """
    for name in request.names:
        workload_key("agent", name)
    if request.check_mode:
        state = load(layout)
        return {"removed": [_entry(state, key) for key in _named(state, request)], "purged": []}
    with locked(layout, request.who):
        recover(layout, request.who)
        state = load(layout)
        removed = [
            remove_one(layout, state, key, clear=True, who=request.who) for key in _named(state, request)
        ]
        purged = _purge_data(layout, request, removed) if request.purge else []
        _finish(layout, state, [entry["name"] for entry in removed])
        return {"removed": removed, "purged": purged}


def _named(state: State, request: Request) -> list[str]:
    """Keys of the named agents; an instance (`writer-2`) may be named as well as the whole agent (`writer`)."""
    return [key for key in keys_of(state, request.names) if key.startswith(_AGENTS)]


def remove_one(layout: Layout, state: State, key: str, clear: bool, who: Mapping[str, str]) -> dict[str, str]:
    entry = _entry(state, key)
    name, release = entry["name"], state.release(key)
    unit = str(state.workloads[key].get("unit") or f"agent-{name}.service")
    secrets = secret_files.read(layout, key)
    try:
        document = manifest.read(layout, key, release or "")
    except EngineError:
        systemd.run("systemctl", "disable", "--now", "--", unit)
        remove(layout.units / unit)
        secret_files.forget(layout, key)
        warning = "its release was damaged; the retained status on the broker was not cleared"
    else:
        # Secrets go last, so that a removal that was interrupted can still take leave of the broker.
        systemd.run("systemctl", "stop", "--", document.unit)
        warning = presence.clear(document, secrets) if clear else ""
        take_down(layout, key, document)
    hold.forget(layout, key, unit)
    remove(layout.workload(key))
    state.workloads.pop(key, None)
    save(layout, state)
    record(
        layout,
        {
            "who": dict(who),
            "via": "remove" if clear else "retire",
            "key": key,
            "name": name,
            "before": release,
            "after": None,
            "result": "removed" if clear else "retired",
        },
    )
    return {**entry, "warning": masked(warning, secret_values({key: secrets}))}


def _entry(state: State, key: str) -> dict[str, str]:
    return {"name": name_of(key), "base": str(state.workloads[key].get("base", ""))}


def _purge_data(layout: Layout, request: Request, removed: list[dict[str, str]]) -> list[str]:
    """Data of the removed agents, and of those named that were removed earlier without purge."""
    units = {f"agent-{name}.service" for name in (*request.names, *(entry["name"] for entry in removed))}
    return [str(path) for unit in sorted(units) for path in layout.data_directories(unit) if remove(path)]


def _finish(layout: Layout, state: State, names: list[str]) -> None:
    if names:
        systemd.daemon_reload()
        prune(layout, state, [])
        save(layout, state)
        health_timer.ensure(layout, state)
