# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The injector: watches a release from outside, and strikes at a step of it.

It runs on the host as root (Python 3.9, standard library) and gets one JSON argument, see `Asked`. It knows nothing of the
engine but what anybody can see: files that appear, change and vanish (inotify), and processes. A step is seen by its first
trace on disk, so a strike falls at its beginning, or `delay` seconds later.

It prints one JSON object a line: {"ready": true}, then {"struck": true, "step": …} or {"struck": false} at the end of its
standard input. Where `freeze` is asked for, the engine stands still from the strike on until a line comes in.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIB = Path("/var/lib/muster")
RUN = Path("/run/muster")
SECRETS = Path("/etc/muster/secrets")
_MODIFY, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_EVENTS = _MODIFY | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF
_NONBLOCK = 0o4000
# The whole machine shares the instances (mostly 128), and every host of its tests takes five: one comes free sometimes.
_INOTIFY_SECONDS = 60
# The steps in the order of their first traces.
LOCK, STAGE, CHECK, DETACH, SWITCH, LINK, GATE, COMMIT, REVERT, PRUNE = (
    "lock", "stage", "check", "detach", "switch", "link", "gate", "commit", "revert", "prune",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """When and what.

    `key`: the workload that is released, `agents/<name>`. `step`: one of the above, or "" for at once. `min_healthy`: seconds of
    the gate that belong to no commit. `deed`: see `strike`.
    """

    key: str
    step: str
    deed: str
    delay: float = 0.0
    min_healthy: float = 0.0
    freeze: bool = False


@dataclass
class Trace:
    """What has been seen so far; `steps` are those begun, with the seconds since the first sign of life."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    began: float = 0.0
    links: int = 0
    secrets: int = 0
    gated: float = 0.0

    def saw(self, step: str) -> None:
        now = time.monotonic()
        self.began = self.began or now
        if step not in self.names:
            self.steps.append((step, round(now - self.began, 3)))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.steps]


class Watcher:
    """inotify, which the standard library lacks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        end = time.monotonic() + _INOTIFY_SECONDS
        while (handle := self._libc.inotify_init1(_NONBLOCK)) < 0:
            if time.monotonic() > end:
                raise OSError(ctypes.get_errno(), "inotify: fs.inotify.max_user_instances is too low")
            time.sleep(0.5)
        self.handle = handle
        self._paths: dict[int, Path] = {}

    def watch(self, path: Path) -> None:
        number = self._libc.inotify_add_watch(self.handle, str(path).encode(), _EVENTS)
        if number >= 0:
            self._paths[number] = path

    def events(self) -> Iterator[tuple[int, Path, str]]:
        """(kind, directory, name) of what happened, oldest first."""
        try:
            data = os.read(self.handle, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = struct.unpack_from("iIII", data, at)
            at += 16
            name = data[at : at + length].rstrip(b"\0").decode("utf-8", "replace")
            at += length
            if number in self._paths:
                yield mask, self._paths[number], name


def main() -> None:
    asked = Asked(**json.loads(sys.argv[1]))
    watcher = Watcher()
    home = LIB / asked.key
    RUN.mkdir(mode=0o700, exist_ok=True)
    for path in (
        LIB,
        home,
        home / "releases",
        RUN,
        Path("/run/systemd/units"),
        Path("/run/systemd/transient"),
    ):
        watcher.watch(path)
    watcher.watch(Path("/opt/muster/runtimes"))
    watcher.watch(SECRETS)
    for release in (home / "releases").glob("*"):
        watcher.watch(release)
    _say(ready=True)
    trace = Trace()
    while asked.step and asked.step not in trace.names:
        ready, _, _ = select.select([watcher.handle, sys.stdin], [], [])
        for kind, directory, name in watcher.events():
            look(asked, trace, kind, directory, name)
            if asked.step in trace.names:
                break
        if sys.stdin in ready:
            _say(struck=False, steps=trace.steps)
            return
    if asked.delay:
        _pass_time(asked, watcher, trace)
    victims = strike(asked)
    _say(struck=True, step=(trace.names or [""])[-1], victims=victims, steps=trace.steps)
    if asked.freeze:
        sys.stdin.readline()
        for pid in victims:
            _signal(pid, signal.SIGCONT)


def _pass_time(asked: Asked, watcher: Watcher, trace: Trace) -> None:
    """Until the delay is over; what is seen meanwhile tells which step the strike falls into."""
    end = time.monotonic() + asked.delay
    while (left := end - time.monotonic()) > 0:
        select.select([watcher.handle], [], [], left)
        for kind, directory, name in watcher.events():
            look(asked, trace, kind, directory, name)


def look(asked: Asked, trace: Trace, kind: int, directory: Path, name: str) -> None:
    """What one event says about the step."""
    home, stem = LIB / asked.key, asked.key.rpartition("/")[2]
    switched = LINK in trace.names
    if directory == LIB and name == "lock":
        trace.saw(LOCK)
    elif not trace.names:
        return  # of a release before this one
    elif directory in (home / "releases", Path("/opt/muster/runtimes")) and kind & _CREATE:
        trace.saw(STAGE)
    elif name.startswith(("check-", "muster-check-")):
        trace.saw(CHECK)
    elif name.startswith("muster-release-"):
        trace.saw(DETACH)
    elif directory == home and name == "current" and kind & _MOVED_TO:
        trace.links += 1
        trace.saw(LINK if trace.links == 1 else REVERT)
    elif directory == Path("/run/systemd/units") and name == f"invocation:agent-{stem}.service" and switched:
        trace.gated = trace.gated or time.monotonic()
        trace.saw(GATE)
    elif directory == SECRETS and name == f"{stem}.env" and kind & _MOVED_TO:
        trace.secrets += 1
        if trace.secrets > 1:
            trace.saw(REVERT)  # yesterday's secrets come back first
    elif directory == LIB and name == "state.json" and kind & _MOVED_TO and not switched and _open():
        trace.saw(SWITCH)
    elif directory == LIB and "state" in name and trace.gated and REVERT not in trace.names:
        if time.monotonic() - trace.gated >= asked.min_healthy:
            trace.saw(COMMIT)
    elif (
        kind & (_DELETE | _DELETE_SELF)
        and directory.is_relative_to(home / "releases")
        and GATE in trace.names
    ):
        trace.saw(PRUNE)


def _open() -> bool:
    try:
        return json.loads((LIB / "state.json").read_text("utf-8"))["transaction"] is not None
    except (OSError, ValueError, KeyError):
        return False


def engines(word: str = "") -> list[int]:
    """Process ids of the engine; `word` picks one of its commands. `apply` runs in Ansible's module, which then has its name."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            called = (path / "comm").read_bytes().strip()
        except OSError:
            continue
        command = next((one for one in words[1:5] if re.search(rb"muster[^/]*\.pyz$", one)), None)
        commands = words[words.index(command) + 1 :] if command else [b"apply"] if called == b"muster" else []
        if commands and commands[0] != b"_health" and word.encode() in (commands[0], b""):
            found.append(int(path.name))
    return found


def links() -> list[int]:
    """Process ids of the SSH sessions of the user `admin`, the ones in between included."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            title = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith((b"sshd: admin", b"sshd-session: admin")):
            found.append(int(path.name))
    return found


def strike(asked: Asked) -> list[int]:
    """Do it; returns the processes that it fell on.

    `none`: nothing here, the caller does something. `kill:COMMAND`: SIGKILL to the engine's command (apply, carry-on),
    `kill` to all of it. `cut`: the SSH sessions end. `silence`: they stand still, as on a link that drops everything.
    `full:MOUNT:bytes|inodes`: what is free there is taken away. `curse`: a release that is `cursed` cannot start any more.
    `clock:SECONDS`: processes that libfaketime was put under see the clock jump; nobody else does.
    """
    deed, _, about = asked.deed.partition(":")
    if asked.freeze:
        frozen = engines()
        for pid in frozen:
            _signal(pid, signal.SIGSTOP)
        return frozen
    if deed == "kill":
        victims = engines(about)
        for pid in victims:
            _signal(pid, signal.SIGKILL)
        return victims
    if deed in ("cut", "silence"):
        victims = links()
        for pid in victims:
            _signal(pid, signal.SIGKILL if deed == "cut" else signal.SIGSTOP)
        return victims
    if deed == "full":
        mount, _, what = about.partition(":")
        fill(mount, what)
    if deed == "curse":
        Path("/etc/faults-curse").touch()
    if deed == "clock":
        Path("/run/faults-clock").write_text(about)
    return []


def fill(mount: str, what: str) -> None:
    """Shrink a small file system to what it holds. It is written to meanwhile, so it may take several attempts."""
    for _ in range(100):
        stat = os.statvfs(mount)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        size = f"size={used}" if what == "bytes" else f"nr_inodes={stat.f_files - stat.f_ffree}"
        if subprocess.run(["mount", "-o", f"remount,{size}", mount], check=False).returncode == 0:
            return
    raise OSError(f"{mount} cannot be filled")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
