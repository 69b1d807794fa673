# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Back to a release that is still on this host: no network, today's secrets, gated and reverted like any release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import compare, envfile, hold, manifest, names, ports, releases, secret_files, systemd
from .compare import Change
from .errors import EngineError
from .layout import KINDS, Layout
from .lock import locked
from .manifest import Manifest
from .mask import secret_values
from .outcome import REFUSED, Outcome
from .presence import twin
from .reasons import NOTHING, RESTART
from .recover import recover
from .request import Request, Wanted
from .state import State, load
from .transaction import ROLLBACK, Order, transact, write_down


@dataclass
class Target:
    """Where one agent is to go back to. `refusal` says why it cannot."""

    key: str
    before: str | None
    document: Manifest | None = None
    secrets: Mapping[str, str] | None = None
    refusal: str = ""


def rollback(layout: Layout, request: Request) -> dict[str, Any]:
    """{"outcomes", "recovered"}, as a switch has them. Where one agent is refused, none is touched.

    Names of nothing on this host are passed over.
    """
    systemd.require()
    if request.check_mode:
        return {"outcomes": [one.as_dict() for one in _refused(_plan(layout, request))], "recovered": []}
    with locked(layout, request.who, wait=10.0):
        recovered = recover(layout, request.who)
        targets = _plan(layout, request)
        order = Order(
            parallel=request.parallel,
            keep=request.keep,
            via=ROLLBACK,
            who=request.who,
            hide=secret_values({one.key: one.secrets or {} for one in targets}),
        )
        outcomes = _refused(targets)
        if outcomes:
            write_down(layout, outcomes, order)  # whoever asked may no longer be there to be told
        else:
            texts = {one.key: envfile.render(one.secrets) if one.secrets else None for one in targets}
            outcomes = transact(layout, _changes(layout, targets), texts, order)
        return {
            "outcomes": [outcome.as_dict() for outcome in outcomes],
            "recovered": [outcome.as_dict() for outcome in recovered],
        }


def _plan(layout: Layout, request: Request) -> list[Target]:
    state, hash_file = load(layout), releases.hasher()
    targets = [_target(layout, state, request, key, hash_file) for key in names.keys_of(state, request.names)]
    if not any(one.refusal for one in targets):
        in_the_way = ports.conflicts(_changes(layout, targets))
        for one in targets:
            one.refusal = in_the_way.get(names.name_of(one.key), "") or _twin(state, request, one)
    return targets


def _target(layout: Layout, state: State, request: Request, key: str, hash_file: releases.Hasher) -> Target:
    target = Target(key, releases.current(layout, state, key))
    asked = request.targets.get(names.name_of(key), request.target)
    try:
        release = releases.resolve(layout, state, key, asked)
        if release == target.before:
            raise EngineError(f"is on release {release} already")
        if hold.held(layout, key):
            raise EngineError(f"is held; `muster unhold {names.name_of(key)}` first")
        target.document = manifest.read(layout, key, release)
        damage = releases.damage(layout, target.document, hash_file)
        if damage:
            raise EngineError(f"release {release} cannot run: {damage}")
        target.secrets = _todays(layout, target.document, request.secrets.get(key, {}))
    except EngineError as error:
        target.refusal = str(error)
    return target


def _todays(layout: Layout, document: Manifest, given: Mapping[str, str]) -> dict[str, str]:
    """The secrets that the release needs, as they are today: those given, else those of the host."""
    today = {**secret_files.read(layout, document.key), **given}
    if "secrets" not in document.raw:
        # An older version made it, and nothing says what it needs. A service of that time had no secrets.
        return today if document.key.startswith(f"{KINDS['agent']}/") else {}
    missing = sorted(set(document.secrets) - set(today))
    if missing:
        raise EngineError(
            f"release {document.release} needs {', '.join(missing)}, which is not on this host any more; "
            "rollback.yml gives it from the vault"
        )
    return {name: today[name] for name in document.secrets}


def _changes(layout: Layout, targets: list[Target]) -> list[Change]:
    """What differs is found as a deploy finds it, so that a broker's users are reloaded here too."""
    wanted = {
        one.key: Wanted(one.document, releases.texts(layout, one.document), one.secrets or {})
        for one in targets
        if one.document
    }
    changes = compare.compare(layout, wanted)
    for change in changes:
        change.needs(ROLLBACK, RESTART if change.action == NOTHING else change.action)
    return changes


def _twin(state: State, request: Request, target: Target) -> str:
    """A release from before a change of id: that id may run elsewhere by now."""
    recorded = state.workloads[target.key].get("agent_id")
    if target.document is None or request.assume_gone or target.document.gate.agent_id == recorded:
        return ""
    return twin(target.document, target.secrets or {}) or ""


def _refused(targets: list[Target]) -> list[Outcome]:
    """One outcome for each agent where any is refused, so that none is left to guess; else nothing."""
    guilty = ", ".join(names.name_of(one.key) for one in targets if one.refusal)
    return [
        Outcome(
            one.key,
            names.name_of(one.key),
            REFUSED,
            one.before,
            one.before,
            one.refusal or f"is left as it is, because {guilty} was refused",
            phase="check",
        )
        for one in targets
        if guilty
    ]
