# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 5, gate: start what was switched, and believe only what the agent itself answers.

Healthy means: `ready` answered 200, the identity answered is this agent's, by the same main process with no restart,
for `min_healthy_time` seconds. A crash ends the wait at once.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import systemd
from .compare import RESTART
from .errors import EngineError
from .manifest import Gate, Manifest
from .systemd import Unit

_TICK = 0.2
_STOP_TIMEOUT = 90.0  # what systemd gives an old process at most, unless its unit says less
_PROBE_TIMEOUT = 2.0
_LONGEST_BODY = 65536
_LONGEST_QUOTE = 200


@dataclass
class Watch:
    """One workload on its way to a verdict. Times are of the monotonic clock, `wall` is the epoch's."""

    manifest: Manifest
    action: str
    old_invocation: str = ""  # systemd's id of the start before this one
    invocation: str = ""  # and of the one that is watched
    started: float | None = None
    wall: float = 0.0
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


def start_and_gate(watches: Iterable[Watch], parallel: int) -> None:
    """Fill in each watch's verdict. At most `parallel` services are on their way up at one time."""
    waiting = list(watches)
    active: list[Watch] = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        while waiting or active:
            while waiting and len(active) < max(1, parallel):
                watch = waiting.pop(0)
                _start(watch)
                if watch.verdict is None:
                    active.append(watch)
            units = systemd.show([watch.manifest.unit for watch in active])
            up = [watch for watch in active if units[watch.manifest.unit].pid]
            answers = dict(
                zip(
                    (watch.manifest.unit for watch in up),
                    pool.map(lambda watch: probe(watch.manifest.gate), up),
                )
            )
            now = time.monotonic()
            for watch in active:
                judge(
                    watch,
                    units[watch.manifest.unit],
                    answers.get(watch.manifest.unit, watch.last_answer),
                    now,
                )
                if watch.verdict:
                    watch.log = systemd.journal(watch.manifest.unit, watch.wall, watch.invocation)
            active = [watch for watch in active if watch.verdict is None]
            if active:
                time.sleep(_TICK)


def _start(watch: Watch) -> None:
    unit = watch.manifest.unit
    before = systemd.show([unit])[unit]
    watch.started, watch.wall = time.monotonic(), time.time()
    if watch.action == RESTART:
        watch.old_invocation = before.invocation
        try:
            systemd.restart(unit)
        except EngineError as error:
            watch.verdict = str(error)
    else:
        watch.pid, watch.restarts = before.pid, before.restarts
        systemd.run("systemctl", "reload", "--", unit)


def judge(watch: Watch, unit: Unit, answer: str, now: float) -> None:
    """Take one look: `answer` is "" when the probe was content. Sets the verdict when there is one."""
    started = watch.started or now
    watch.seconds = now - started
    watch.last_answer = answer
    if unit.invocation != watch.old_invocation:
        watch.invocation = watch.invocation or unit.invocation
    if watch.action == RESTART and unit.invocation == watch.old_invocation and unit.active != "failed":
        # The restart is still queued, or the old process still stopping: that is not the new release's time.
        watch.stopping = now - started
    elif unit.active == "failed" or unit.sub == "auto-restart" or unit.restarts > watch.restarts:
        watch.verdict = f"{unit.ending} after {watch.seconds:.1f} s"
        return
    elif unit.running and answer == "":
        if watch.pid not in (0, unit.pid):
            watch.verdict = f"its main process changed from {watch.pid} to {unit.pid} while it was watched"
            return
        watch.pid = unit.pid
        watch.healthy_since = watch.healthy_since or now
        if now - watch.healthy_since >= watch.manifest.gate.min_healthy_time:
            watch.verdict = ""
            return
    else:
        watch.healthy_since = None
    deadline = watch.manifest.gate.deadline + min(watch.stopping, _STOP_TIMEOUT)
    if watch.healthy_since is None and watch.seconds > deadline:
        watch.verdict = f"not ready within {watch.manifest.gate.deadline:g} s: {answer or unit.active}"


def probe(gate: Gate) -> str:
    """Ask once; "" when the right agent is ready, else what was wrong."""
    if gate.ready is None:
        try:
            socket.create_connection((gate.host, gate.port), _PROBE_TIMEOUT).close()
        except OSError as error:
            return f"port {gate.port}: {error.strerror or error}"
        return ""
    status, body = _get(gate, gate.ready)
    if status != 200:
        said = body if status is None else f"{status} {' '.join(body.split())[:_LONGEST_QUOTE]}"
        return f"{gate.ready} answered {said}".strip()
    if gate.identity is None:
        return ""
    status, body = _get(gate, gate.identity)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    found = document.get("agent_id") if isinstance(document, dict) else None
    if found != gate.agent_id:
        return f"port {gate.port} is answered by agent {found!r}, not {gate.agent_id!r}"
    return ""


def _get(gate: Gate, path: str) -> tuple[int | None, str]:
    """(status, body); status is None where nothing answered within the time, whatever it dripped meanwhile."""
    connection = http.client.HTTPConnection(gate.host, gate.port, timeout=_PROBE_TIMEOUT)
    try:
        connection.connect()
        # The socket's timeout is for each byte; this one is for all of them.
        bound = threading.Timer(2 * _PROBE_TIMEOUT, connection.sock.shutdown, [socket.SHUT_RDWR])
        bound.daemon = True
        bound.start()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(_LONGEST_BODY).decode("utf-8", "replace")
        finally:
            bound.cancel()
    except (OSError, http.client.HTTPException) as error:
        return None, f"nothing ({getattr(error, 'strerror', None) or error or type(error).__name__})"
    finally:
        connection.close()
