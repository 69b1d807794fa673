# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance switch: `hold` keeps agents stopped across deploys and reboots, `unhold` lets them run again.

An agent that moves is held in the same way until its new host has brought it up, and comes back where that fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from . import hold, manifest, names, releases, secret_files, systemd
from .errors import EngineError
from .gate import Watch, start_and_gate
from .layout import Layout
from .lock import locked
from .mask import masked
from .reasons import RESTART
from .recover import recover
from .request import Request
from .state import State, load, record, save
from .table import written

HELD, UNHELD, FAILED = "held", "unheld", "failed"
COME_BACK = "come_back"  # the phase that lets only those go on that were to move


def hold_agents(layout: Layout, request: Request) -> dict[str, Any]:
    """{"held": names, "unheld": [], "unchanged": names, "outcomes": []}. Names of nothing here are passed over."""
    if request.check_mode:
        return _holding(layout, load(layout), request)[1]
    with locked(layout, request.who, wait=10.0):
        recover(layout, request.who)
        state = load(layout)
        keys, report = _holding(layout, state, request)
        _hold(layout, state, request, dict.fromkeys(keys, _about(request)))
        return report


def hold_movers(layout: Layout, state: State, request: Request, homes: Mapping[str, str]) -> None:
    """Hold agents until their new hosts have brought them up; key → that host. A person's hold stays what it is."""
    movers = {key: home for key, home in homes.items() if hold.held(layout, key) is None}
    about = _about(request)
    _hold(
        layout,
        state,
        request,
        {key: {**about, "note": f"moves to {home}", "moves_to": home} for key, home in movers.items()},
    )


def _hold(layout: Layout, state: State, request: Request, holds: Mapping[str, Mapping[str, str]]) -> None:
    """Stop and hold, in the order in which a crash leaves an agent held or not; key → what the hold says."""
    if not holds:
        return
    units = [state.workloads[key]["unit"] for key in holds]
    for key, unit in zip(holds, units):
        hold.prepare(layout, key, unit)
    systemd.daemon_reload()
    for key, about in holds.items():
        hold.put(layout, key, about)
        _record(layout, state, key, request, HELD, reason=about["note"])
    systemd.systemctl("stop", "--", *units)


def _holding(layout: Layout, state: State, request: Request) -> tuple[list[str], dict[str, Any]]:
    """Keys of what is still to be held, and the report."""
    keys = names.keys_of(state, request.names)
    units = systemd.show([state.workloads[key]["unit"] for key in keys])
    stopped = {key for key in keys if units[state.workloads[key]["unit"]].active in ("inactive", "failed")}
    done = [key for key in keys if key in stopped and _is_held(layout, state, key)]
    fresh = [key for key in keys if key not in done]
    return fresh, {"held": _names(fresh), "unheld": [], "unchanged": _names(done), "outcomes": []}


def _is_held(layout: Layout, state: State, key: str) -> bool:
    drop_in = hold.drop_in(layout, state.workloads[key]["unit"])
    return hold.held(layout, key) is not None and drop_in.exists()


def _about(request: Request) -> dict[str, str]:
    who = {word: str(request.who.get(word) or "") for word in ("user", "host")}
    return {"since": written(time.time()), **who, "note": request.note}


def unhold_agents(layout: Layout, request: Request) -> dict[str, Any]:
    """{"held": [], "unheld": names, "unchanged": names, "outcomes": [{name, ready, reason, log, seconds}]}.

    An agent that does not become ready is not held again: nothing was released, and what it says is in its outcome.
    """
    if request.check_mode:
        return _unholding(layout, load(layout), request)[1]
    with locked(layout, request.who, wait=10.0):
        recover(layout, request.who)
        state = load(layout)
        keys, report = _unholding(layout, state, request)
        for key in keys:
            hold.forget(layout, key, state.workloads[key]["unit"])
        watches = {key: _watch(layout, state, key) for key in keys}
        if keys:
            systemd.daemon_reload()
        start_and_gate((one for one in watches.values() if isinstance(one, Watch)), request.parallel)
        report["outcomes"] = [_outcome(layout, key, one) for key, one in watches.items()]
        for key, outcome in zip(keys, report["outcomes"]):
            if outcome["ready"]:
                _prove(state, key)
            _record(layout, state, key, request, UNHELD if outcome["ready"] else FAILED, **outcome)
        save(layout, state)
        return report


def _unholding(layout: Layout, state: State, request: Request) -> tuple[list[str], dict[str, Any]]:
    """Keys of what is held, if only by half, and the report."""
    keys = names.keys_of(state, request.names)
    held = [key for key in keys if _is_to_go_on(layout, state, key, request)]
    return held, {
        "held": [],
        "unheld": _names(held),
        "unchanged": _names(key for key in keys if key not in held),
        "outcomes": [],
    }


def _is_to_go_on(layout: Layout, state: State, key: str, request: Request) -> bool:
    found = hold.held(layout, key)
    if request.phase == COME_BACK:
        return found is not None and bool(found["moves_to"])
    return found is not None or hold.drop_in(layout, state.workloads[key]["unit"]).exists()


def _watch(layout: Layout, state: State, key: str) -> Watch | str:
    """What to gate, or why it cannot be."""
    try:
        return Watch(manifest.read(layout, key, releases.current(layout, state, key) or ""), RESTART)
    except EngineError as error:
        return str(error)


def _outcome(layout: Layout, key: str, watch: Watch | str) -> dict[str, Any]:
    if isinstance(watch, str):
        return {"name": names.name_of(key), "ready": False, "reason": watch, "log": [], "seconds": {}}
    hide = secret_files.hide(layout, key)
    return {
        "name": names.name_of(key),
        "ready": watch.healthy,
        "reason": masked(watch.verdict or "", hide),
        "log": [masked(line, hide) for line in watch.log],
        "seconds": {"gate": round(watch.seconds, 3)},
    }


def _prove(state: State, key: str) -> None:
    """A release that came while its agent was held has been seen healthy only now."""
    release = state.release(key)
    if release and release not in state.proven(key):
        state.workloads[key]["proven"] = [*state.proven(key), release]


def _record(layout: Layout, state: State, key: str, request: Request, result: str, **about: Any) -> None:
    release = state.release(key)
    facts: Mapping[str, Any] = {name: about[name] for name in ("reason", "log", "seconds") if name in about}
    record(
        layout,
        {
            "who": dict(request.who),
            "via": request.phase,
            "key": key,
            "name": names.name_of(key),
            "result": result,
            "before": release,
            "after": release,
            **facts,
        },
    )


def _names(keys: Iterable[str]) -> list[str]:
    return [names.name_of(key) for key in keys]


def as_text(report: Mapping[str, Any]) -> str:
    lines = [f"{name}: held, and stopped" for name in report["held"]]
    for outcome in report["outcomes"]:
        words = (
            "runs again, and is ready" if outcome["ready"] else f"does not become ready: {outcome['reason']}"
        )
        lines += [f"{outcome['name']}: {words}", *(f"    | {line}" for line in outcome["log"])]
    lines += [f"{name}: nothing to do" for name in report["unchanged"]]
    return "\n".join(lines)
