# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 5, gate: start what was switched, and believe only what the agent itself answers.

Healthy means: `ready` answered 200, the identity answered is this agent's, by the same main process with no restart,
for `min_healthy_time` seconds. A crash ends the wait at once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import systemd
from .errors import EngineError
from .http_get import Asked, NoAnswer
from .manifest import Gate, Manifest
from .mask import shortened
from .reasons import RELOAD, RESTART
from .systemd import Unit

_TICK = 0.2
_STOP_TIMEOUT = 90.0  # what systemd gives an old process at most, unless its unit says less
_PROBE_TIMEOUT = 2.0
_LIVE = "/live"
_MOST_PROBES = 32
_LONGEST_QUOTE = 200


@dataclass
class Watch:
    """One workload on its way to a verdict. Times are of the monotonic clock: the other one may jump."""

    manifest: Manifest
    action: str
    old_invocation: str = ""  # systemd's id of the start before this one
    invocation: str = ""  # and of the one that is watched
    started: float | None = None
    stopping: float = 0.0  # seconds that the old process took to stop
    pid: int = 0
    restarts: int = 0  # systemd's count when the watch began; a fresh start begins at 0
    healthy_since: float | None = None
    last_answer: str = "no answer yet"
    verdict: str | None = None  # "" is healthy, anything else is the reason why not
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return self.verdict == ""


@dataclass
class _Question:
    """A probe under way, and the process that it was meant for."""

    invocation: str
    pid: int
    answer: concurrent.futures.Future[str]


def start_and_gate(watches: Iterable[Watch], parallel: int) -> None:
    """Fill in each watch's verdict. At most `parallel` services are on their way up at one time."""
    waiting = list(watches)
    active: list[Watch] = []
    asked: dict[str, _Question] = {}
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, _MOST_PROBES)))
    try:
        while waiting or active:
            while waiting and len(active) < max(1, parallel):
                watch = waiting.pop(0)
                _start(watch)
                if watch.verdict is None:
                    active.append(watch)
            units = systemd.show([watch.manifest.unit for watch in active])
            for watch in active:
                unit = units[watch.manifest.unit]
                # An agent that lets a probe hang must not keep us from seeing it, or another one, crash meanwhile.
                judge(watch, unit, _answer(pool, asked, watch, unit), time.monotonic())
                if watch.verdict:
                    watch.log = _log(watch)
            active = [watch for watch in active if watch.verdict is None]
            if active:
                time.sleep(_TICK)
    finally:
        pool.shutdown(wait=False)


def _log(watch: Watch) -> list[str]:
    """Its last lines; none where journalctl fails, for the others are still to be judged."""
    with contextlib.suppress(EngineError, OSError):
        return systemd.journal(watch.manifest.unit, watch.started or 0.0, watch.invocation)
    return []


def _answer(
    pool: concurrent.futures.Executor, asked: dict[str, _Question], watch: Watch, unit: Unit
) -> str | None:
    """What the process that runs now answered since the last look; None where it has not. Asks again."""
    name = watch.manifest.unit
    question = asked.get(name)
    if question is not None and not question.answer.done():
        return None
    asked.pop(name, None)
    if unit.pid:
        asked[name] = _Question(unit.invocation, unit.pid, pool.submit(probe, watch.manifest.gate))
    if question is None or (question.invocation, question.pid) != (unit.invocation, unit.pid):
        return None
    return question.answer.result()


def _start(watch: Watch) -> None:
    unit = watch.manifest.unit
    before = systemd.show([unit])[unit]
    watch.started = time.monotonic()
    if watch.action == RESTART:
        watch.old_invocation = before.invocation
        try:
            systemd.restart(unit)
        except EngineError as error:
            watch.verdict = str(error)
        return
    watch.pid, watch.restarts, watch.invocation = before.pid, before.restarts, before.invocation
    if watch.action == RELOAD:
        systemd.run("systemctl", "reload", "--", unit)


def judge(watch: Watch, unit: Unit, answer: str | None, now: float) -> None:
    """Take one look. `answer` is "" when the probe was content, None while there is no new one. Sets the verdict when
    there is one.
    """
    started = watch.started or now
    watch.seconds = now - started
    if answer is not None:
        watch.last_answer = answer
    fresh = watch.action != RESTART or unit.invocation != watch.old_invocation
    if fresh and not watch.invocation:
        watch.invocation = unit.invocation
    if not fresh and (unit.job or unit.active == "deactivating"):
        # The restart is still queued, or the old process still stopping: that is not the new release's time.
        watch.stopping = watch.seconds
    elif _crashed(watch, unit, fresh):
        watch.verdict = f"{unit.ending} after {watch.seconds:.1f} s"
        return
    elif not unit.running or answer:
        watch.healthy_since = None
    elif answer == "" and fresh:
        if watch.pid not in (0, unit.pid):
            watch.verdict = f"its main process changed from {watch.pid} to {unit.pid} while it was watched"
            return
        watch.pid = unit.pid
        watch.healthy_since = watch.healthy_since or now
        if now - watch.healthy_since >= watch.manifest.gate.min_healthy_time:
            watch.verdict = ""
            return
    deadline = watch.manifest.gate.deadline + min(watch.stopping, _STOP_TIMEOUT)
    if watch.healthy_since is None and watch.seconds > deadline:
        why = watch.last_answer or unit.active
        watch.verdict = f"not ready within {watch.manifest.gate.deadline:g} s: {why}"


def _crashed(watch: Watch, unit: Unit, fresh: bool) -> bool:
    """Also a start that failed before it began, and a crash that systemd has made good between two looks."""
    if unit.active == "failed" or unit.sub == "auto-restart":
        return True
    if not fresh:
        return unit.active == "inactive"
    return unit.restarts > watch.restarts or unit.invocation != watch.invocation or unit.active == "inactive"


def probe(gate: Gate, timeout: float = _PROBE_TIMEOUT) -> str:
    """Ask once; "" when the right agent is ready, else what was wrong. `timeout` in seconds for each of two questions."""
    with Asked(gate.host, gate.port) as asked:
        return ready(gate, asked, timeout)


def ready(gate: Gate, asked: Asked, timeout: float, identify: bool = True) -> str:
    """The same, of an agent that may be asked more than this. Without `identify` not who it is."""
    if gate.ready is None:
        return _connects(gate, timeout)
    status, body = _get(asked, gate.ready, timeout)
    if status != 200:
        said = body if status is None else f"{status} {shortened(body, _LONGEST_QUOTE)}"
        return f"{gate.ready} answered {said}".strip()
    if gate.identity is None or not identify:
        return ""
    status, body = _get(asked, gate.identity, timeout)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    found = document.get("agent_id") if isinstance(document, dict) else None
    if found != gate.agent_id:
        who = shortened(repr(found), _LONGEST_QUOTE) if isinstance(found, str) else "None"
        return f"port {gate.port} is answered by agent {who}, not {gate.agent_id!r}"
    return ""


def alive(gate: Gate, asked: Asked, timeout: float) -> str:
    """Whether the process answers at all; "" when it does, else what was wrong. `timeout` in seconds.

    A runtime of somebody else's may have no such path: then its 404 is a sign of life, too.
    """
    if gate.ready is None:
        return _connects(gate, timeout)
    status, body = _get(asked, _LIVE, timeout)
    if status is None or status >= 500:
        return f"{_LIVE} answered {status or body}"
    return ""


def _connects(gate: Gate, timeout: float) -> str:
    """The port takes connections and, where it is to, shows the certificate of the release. Who would trust that one was
    the controller's to check."""
    try:
        with socket.create_connection((gate.host, gate.port), timeout) as connection:
            if gate.tls and _certificate(connection) != gate.tls:
                return f"port {gate.port} shows another certificate than the release has"
    except OSError as error:
        return f"port {gate.port}: {error.strerror or error}"
    return ""


def _certificate(connection: socket.socket) -> str:
    """The SHA-256 of what the other side shows, whoever signed it. Raises OSError where it does not speak TLS."""
    import ssl  # only a broker's gate needs it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(connection) as secure:
        return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()


def _get(asked: Asked, path: str, timeout: float) -> tuple[int | None, str]:
    """(status, body); status is None where nothing answered within the time, whatever it dripped meanwhile."""
    try:
        answer = asked.get(path, timeout)
    except NoAnswer as error:
        return None, f"nothing ({error})"
    return answer.status, answer.body.decode("utf-8", "replace")
