# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The transaction: phases 4 to 7 for some workloads of this host, so that each ends on exactly one release.

`transact` is all that a deploy's switch and a rollback have in common. It goes

    prepare      everything that switch and revert need lies beside; from here on neither needs space on the disk
    pre_release  the user's hooks
    open         state.json says what is about to change, and which processes run
    switch       renames, and one daemon-reload
    gate         start, or only look
    commit       or revert, which is gated too
    close        state.json says that it is over
    post_release the user's hooks
    prune

What fails before `open` is refused: nothing of it was changed. After a crash between `open` and `close`, `recover.py`
goes back with what `open` wrote down.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import health_timer, hold, hooks, manifest, secret_files, secret_installs, systemd
from .commit import Failure, Touched, commit, revert
from .compare import Change
from .errors import EngineError
from .gate import Watch, start_and_gate
from .layout import Layout
from .manifest import POST_RELEASE, PRE_RELEASE
from .mask import masked
from .outcome import FAILED, REFUSED, RELEASED, UNCHANGED, Outcome
from .presence import clear
from .prune import prune
from .reasons import MASKED, NOTHING, RECORD
from .recover import revert_open
from .request import KEEP
from .room import Need, require_room
from .state import State, load, make_ready, record, save
from .switch import Swap, forget, prepare, register, switch
from .systemd import Unit

DEPLOY, ROLLBACK, ROTATION = "deploy", "rollback", "rotation"
_HOOKS_AT_ONCE = 4


@dataclass(frozen=True)
class Order:
    """How a transaction is to be carried out, and for whom.

    `hide` are the values that no report may show; `staged_seconds` is the time that earlier phases took, where known.
    """

    parallel: int = 8
    keep: int = KEEP
    via: str = DEPLOY
    who: Mapping[str, str] = field(default_factory=dict)
    hide: Sequence[str] = ()
    staged_seconds: Mapping[str, float] = field(default_factory=dict)


def transact(
    layout: Layout, changes: list[Change], secrets: Mapping[str, str | None], order: Order
) -> list[Outcome]:
    """Carry out the changes; one outcome each, recorded in the history. Call with the lock held and after `recover`.

    `secrets` is the text of each workload's secrets file by its key (None: it has none). A workload with nothing to do,
    or held, comes out unchanged.
    """
    pending = [change for change in changes if change.action != NOTHING and change.held is None]
    outcomes = _transact(layout, pending, secrets, order)
    for change in changes:
        if change not in pending:
            outcomes.append(Outcome(change.key, change.name, UNCHANGED, change.before, change.before))
    write_down(layout, outcomes, order)
    return outcomes


def write_down(layout: Layout, outcomes: Iterable[Outcome], order: Order) -> None:
    """Mask the outcomes and record them; those with nothing to do are no event of this host's history."""
    for outcome in outcomes:
        outcome.seconds = {**order.staged_seconds, **outcome.seconds}
        outcome.reason = masked(outcome.reason, order.hide)
        outcome.log = [masked(line, order.hide) for line in outcome.log]
        outcome.warnings = [masked(line, order.hide) for line in outcome.warnings]
        if outcome.result != UNCHANGED:
            warning = record(layout, {"via": order.via, "who": dict(order.who), **outcome.as_dict()})
            outcome.warnings += [warning] if warning else []


def _transact(
    layout: Layout, changes: list[Change], secrets: Mapping[str, str | None], order: Order
) -> list[Outcome]:
    if not changes:
        return []
    refused: list[Outcome] = []
    swaps = _prepare(layout, changes, secrets, refused)
    try:
        _pre_release(layout, changes, swaps, refused)
        going = [change for change in changes if change.key in swaps]
        if not going:
            return refused
        state = load(layout)
        units = systemd.show([change.unit for change in going])
        touched = _open(layout, state, going, units, swaps, order)
    except BaseException:
        forget(swap for several in swaps.values() for swap in several)
        raise
    outcomes: list[Outcome] = []
    try:
        _switch_and_gate(layout, state, going, units, touched, secrets, order, outcomes)
    except Exception as error:  # noqa: BLE001 - whatever it was, nobody else will come back for what is half done
        traceback.print_exc()
        back = revert_open(layout, f"could not be carried out: {_words(error)}")
        forget(swap for several in swaps.values() for swap in several)
        reverted = {outcome.key for outcome in back}
        return refused + [outcome for outcome in outcomes if outcome.key not in reverted] + back
    forget(swap for several in swaps.values() for swap in several)
    _post_release(going, outcomes)
    if order.via != ROTATION:  # which leaves releases as they are
        _prune(layout, outcomes + refused, order.keep)
    if warning := health_timer.ensure(layout, load(layout)):
        (refused + outcomes)[0].warnings.append(warning)
    return refused + outcomes


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the host'}: {error.strerror}"
    return (
        str(error) if isinstance(error, EngineError) else f"internal error: {type(error).__name__}: {error}"
    )


# --- before anything is changed -------------------------------------------------------------------------------


def _prepare(
    layout: Layout, changes: list[Change], secrets: Mapping[str, str | None], refused: list[Outcome]
) -> dict[str, list[Swap]]:
    """key → the paths that differ, each with what lies beside it. What cannot be prepared is refused.

    Raises NoRoom where the disk is too full for all of it, with nothing left behind.
    """
    require_room(_needs(layout, changes, secrets))
    swaps: dict[str, list[Swap]] = {}
    for change in changes:
        try:
            swaps[change.key] = prepare(layout, change.key, change.after, change.before, secrets[change.key])
        except EngineError as error:
            refused.append(_refused(change, "switch", str(error)))
    return swaps


def _needs(layout: Layout, changes: list[Change], secrets: Mapping[str, str | None]) -> list[Need]:
    """Room for what `prepare` writes: every file once for the way there and once for the way back, and the state."""
    needs = [Need(layout.lib, 65536, 4)]
    for change in changes:
        sizes = {install.path: _size(layout, change, install.file) for install in change.manifest.installs}
        needs += [Need(layout.on_host(path).parent, 2 * size, 2) for path, size in sizes.items()]
        needs.append(secret_files.need(layout, change.manifest, secrets[change.key]))
        needs += secret_installs.needs(layout, change.manifest, secrets[change.key])
        needs.append(Need(layout.workload(change.key), 0, 2))
    return needs


def _size(layout: Layout, change: Change, file: str) -> int:
    path: Path = layout.release(change.key, change.after) / file
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _refused(change: Change, phase: str, reason: str, log: Iterable[str] = ()) -> Outcome:
    return Outcome(
        change.key,
        change.name,
        REFUSED,
        change.before,
        change.before,
        reason,
        list(log),
        phase=phase,
        tried=change.after,
    )


def _pre_release(
    layout: Layout, changes: list[Change], swaps: dict[str, list[Swap]], refused: list[Outcome]
) -> None:
    """Run the hooks; a workload whose hook fails is refused, and what was prepared for it goes."""
    ready = [change for change in changes if change.key in swaps and _is_release(change)]
    for change, done in _hooks(ready, PRE_RELEASE):
        if not done.reason:
            continue
        outcome = _refused(change, PRE_RELEASE, done.reason, done.log)
        outcome.seconds[PRE_RELEASE] = done.seconds
        refused.append(outcome)
        forget(swaps.pop(change.key))


def _is_release(change: Change) -> bool:
    """Not what only puts a file or a record right and leaves release and process alone."""
    return change.action != RECORD or change.before != change.after


def _hooks(changes: Iterable[Change], moment: str, result: str = "") -> list[tuple[Change, hooks.Done]]:
    with_hook = [change for change in changes if moment in change.manifest.hooks]
    run: Callable[[Change], hooks.Done] = lambda change: hooks.run(change, moment, result)  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(max_workers=_HOOKS_AT_ONCE) as pool:
        return list(zip(with_hook, pool.map(run, with_hook)))


# --- the transaction itself -----------------------------------------------------------------------------------


def _open(
    layout: Layout,
    state: State,
    changes: list[Change],
    units: Mapping[str, Unit],
    swaps: Mapping[str, list[Swap]],
    order: Order,
) -> dict[str, Touched]:
    """Write down what is about to change before the first change, and see that the end can be written down too."""
    touched = {
        change.key: Touched(
            change.key,
            change.unit,
            change.before,
            change.after,
            units[change.unit].invocation if units[change.unit].running else "",
            change.action,
            tuple(swaps[change.key]),
        )
        for change in changes
    }
    state.transaction = {
        "began": time.time(),
        "via": order.via,
        "who": dict(order.who),
        "before": {change.key: change.before for change in changes},
        "after": {change.key: change.after for change in changes},
        "touched": {key: one.as_dict() for key, one in touched.items()},
    }
    make_ready(layout, state)
    save(layout, state)
    return touched


def _switch_and_gate(
    layout: Layout,
    state: State,
    changes: list[Change],
    units: Mapping[str, Unit],
    touched: Mapping[str, Touched],
    secrets: Mapping[str, str | None],
    order: Order,
    outcomes: list[Outcome],
) -> None:
    """Adds an outcome for each to `outcomes`. Where it raises, those of them count that state.json has no open transaction of."""
    began = time.monotonic()
    watches = {change.key: Watch(change.manifest, change.action) for change in changes}
    for change in changes:
        try:
            switch(touched[change.key].swaps)
        except OSError as error:
            watches[change.key].verdict = f"could not be switched: {error.filename}: {error.strerror}"
    # Who was to move away is not in the way of a release here: it stays after all.
    stays = {change.key for change in changes if hold.forget(layout, change.key, change.unit)}
    complaints = register(
        [
            change.unit
            for change in changes
            if change.key in stays or _is_news(layout, units[change.unit], touched[change.key])
        ],
        [change.unit for change in changes if MASKED in change.reasons],
    )
    for change in changes:
        watches[change.key].verdict = watches[change.key].verdict or complaints.get(change.unit)
    not_switched = {key for key, watch in watches.items() if watch.verdict}
    switched = time.monotonic() - began
    start_and_gate((watch for watch in watches.values() if watch.verdict is None), order.parallel)
    failures = []
    for change in changes:
        watch = watches[change.key]
        seconds = {"switch": switched, "gate": watch.seconds}
        if watch.healthy:
            outcome = _commit(layout, state, change, watch, secrets[change.key])
            outcome.seconds = seconds
            outcomes.append(outcome)
        else:
            phase = "switch" if change.key in not_switched else "gate"
            failures.append(Failure(touched[change.key], phase, watch.verdict or "", watch.log, seconds))
    # The healthy ones are done with, whatever happens while the others go back.
    _close(layout, state, [outcome.key for outcome in outcomes])
    outcomes += revert(layout, state, failures, order.parallel) if failures else []
    _close(layout, state, [failure.touched.key for failure in failures])


def _is_news(layout: Layout, unit: Unit, touched: Touched) -> bool:
    """Whether systemd has to be told of the unit: reading all units anew takes it a while on a host with hundreds."""
    known = unit.load == "loaded" and unit.file_state == "enabled" and not unit.need_reload
    return not known or any(layout.units in swap.path.parents for swap in touched.swaps)


def _close(layout: Layout, state: State, keys: Iterable[str]) -> None:
    """Write down that it is over for some workloads."""
    done = set(keys)
    if state.transaction is None or not done:
        return
    for part in ("before", "after", "touched"):
        state.transaction[part] = {
            key: one for key, one in state.transaction[part].items() if key not in done
        }
    if not state.transaction["after"]:
        state.transaction = None
    save(layout, state)


def _commit(layout: Layout, state: State, change: Change, watch: Watch, secrets_text: str | None) -> Outcome:
    """Commit; an agent that got another id takes leave of the old one on the broker."""
    old_id = state.workloads.get(change.key, {}).get("agent_id")
    warning = ""
    if change.before and old_id not in (None, change.manifest.gate.agent_id):
        with contextlib.suppress(EngineError):
            old = manifest.read(layout, change.key, change.before)
            warning = clear(old, secret_files.read_before(layout, change.key))
    outcome = commit(layout, state, change, watch, secrets_text)
    outcome.warnings += [warning] if warning else []
    return outcome


# --- after it is over -----------------------------------------------------------------------------------------


def _post_release(changes: list[Change], outcomes: list[Outcome]) -> None:
    """Run the hooks of what was released. It stays released whatever they say, but it is said."""
    by_key = {outcome.key: outcome for outcome in outcomes if outcome.result == RELEASED}
    released = [change for change in changes if change.key in by_key and _is_release(change)]
    for change, done in _hooks(released, POST_RELEASE, RELEASED):
        outcome = by_key[change.key]
        outcome.seconds[POST_RELEASE] = done.seconds
        if done.reason:
            outcome.phase = POST_RELEASE
            outcome.warnings.append("\n".join([done.reason, *done.log]))


def _prune(layout: Layout, outcomes: list[Outcome], keep: int) -> None:
    """Drop what no rollback goes back to. What cannot be removed is no reason to call a release bad."""
    state = load(layout)
    recorded = {key: list(entry.get("proven", [])) for key, entry in state.workloads.items()}
    try:
        prune(layout, state, [outcome.key for outcome in outcomes if outcome.result != FAILED], keep)
        if recorded != {key: list(entry.get("proven", [])) for key, entry in state.workloads.items()}:
            save(layout, state)
    except OSError as error:
        sys.stderr.write(f"muster: prune: {error}\n")
        outcomes[0].warnings.append(f"prune: {error.filename}: {error.strerror}")
