# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The few words that the engine says to systemd, always about many units at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import EngineError, Unsupported

OLDEST = 247
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,UnitFileState,ExecMainStatus,ExecMainCode,"
    "ActiveEnterTimestampMonotonic,NeedDaemonReload,InvocationID,Job,DropInPaths"
)


@dataclass(frozen=True)
class Unit:
    """What `systemctl show` says of one unit."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    pid: int
    restarts: int
    file_state: str
    exit_status: int
    exit_code: int
    active_since: float  # seconds of the monotonic clock, 0.0 when it never was
    need_reload: bool
    invocation: str  # a new one for every start
    job: int = 0  # of a start or stop that is queued or under way, else 0
    drop_ins: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.active in ("active", "reloading")

    @property
    def enabled(self) -> bool:
        # A unit without [Install] is static: there is nothing to enable.
        return self.file_state in ("enabled", "static")

    @property
    def masked(self) -> bool:
        return self.load == "masked" or self.file_state in ("masked", "masked-runtime")

    @property
    def ending(self) -> str:
        """Why the main process ended, in words."""
        # ExecMainCode is wait(2)'s si_code: 1 exited, 2 killed, 3 dumped.
        if self.result in ("exit-code", "success") and self.exit_code == 1:
            return f"exited with status {self.exit_status}"
        if self.result in ("signal", "core-dump", "oom-kill") or self.exit_code in (2, 3):
            return f"was killed by signal {self.exit_status} ({self.result})"
        return f"ended with result {self.result!r}"


def run(*arguments: str, timeout: float = 90.0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises EngineError where it does not end within `timeout` seconds."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        return subprocess.run(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{arguments[0]} {arguments[1]} gave no answer within {timeout:g} s") from None


def run_apart(
    unit: str, properties: Iterable[str], command: Iterable[str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as a service of its own, with `properties` such as `PrivateTmp=yes`. Raises as `run` does."""
    options = ["--quiet", "--collect", "--wait", "--pipe", f"--unit={unit}"]
    options += [f"--property={one}" for one in properties]
    return run("systemd-run", *options, "--", *command, timeout=timeout)


def systemctl(*arguments: str) -> None:
    """Run systemctl; raises EngineError with its own words."""
    done = run("systemctl", *arguments)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise EngineError(
            f"systemctl {arguments[0]}: {words[-1] if words else f'exit status {done.returncode}'}"
        )


def require() -> int:
    """systemd's version. Raises Unsupported in one line where it is not running or too old."""
    if not os.path.isdir("/run/systemd/system") or shutil.which("systemctl") is None:
        raise Unsupported("this host does not run systemd as its init: agents cannot be services here")
    words = run("systemctl", "--version").stdout.split()
    version = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if version < OLDEST:
        raise Unsupported(f"systemd {version} is too old; {OLDEST} (Debian 11) or newer is needed")
    return version


def show(units: Sequence[str]) -> dict[str, Unit]:
    """The state of many units in one call."""
    if not units:
        return {}
    done = run("systemctl", "show", f"--property={_PROPERTIES}", "--", *units)
    if done.returncode != 0:
        raise EngineError(f"systemctl show: {done.stderr.strip()}")
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines())
        for block in done.stdout.strip().split("\n\n")
    ]
    # systemctl answers in the order asked; `Id` differs from the asked name only for aliases.
    return {name: _unit(name, block) for name, block in zip(units, blocks)}


def _unit(name: str, block: dict[str, str]) -> Unit:
    return Unit(
        name=name,
        load=block.get("LoadState", ""),
        active=block.get("ActiveState", ""),
        sub=block.get("SubState", ""),
        result=block.get("Result", ""),
        pid=_number(block.get("MainPID")),
        restarts=_number(block.get("NRestarts")),
        file_state=block.get("UnitFileState", ""),
        exit_status=_number(block.get("ExecMainStatus")),
        exit_code=_number(block.get("ExecMainCode")),
        active_since=_number(block.get("ActiveEnterTimestampMonotonic")) / 1e6,
        need_reload=block.get("NeedDaemonReload") == "yes",
        invocation=block.get("InvocationID", ""),
        job=_number(block.get("Job")),
        drop_ins=tuple(block.get("DropInPaths", "").split()),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def journal(unit: str, since: float, invocation: str, lines: int = 12) -> list[str]:
    """The last log lines of one start of a unit; where its id is not known, those since a time of the monotonic clock.

    The wall clock is not asked: it may have jumped by hours since.
    """
    # The process's own lines carry the one field, systemd's lines about it the other.
    fields = (
        [f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
        if invocation
        else [f"--unit={unit}"]
    )
    done = run(
        "journalctl", "--quiet", "--no-pager", "--boot", "--output=json", f"--lines={4 * lines}", *fields
    )
    return journal_lines(done.stdout, 0.0 if invocation else since)[-lines:]


def journal_lines(text: str, since: float) -> list[str]:
    """The messages in what `journalctl --output=json` printed, from a time of the monotonic clock on."""
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            message = entry["MESSAGE"]
            late = int(entry.get("__MONOTONIC_TIMESTAMP", 0)) / 1e6 >= since
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(message, list):  # bytes that are no UTF-8
            message = bytes(message).decode("utf-8", "replace")
        if late and message:
            found += [part for part in message.splitlines() if part.strip()]
    return found


def verify(unit_file: str) -> str | None:
    """What `systemd-analyze verify` has against a unit file, or None.

    Unknown settings are only a warning: a unit may use what a newer systemd offers (RestartSteps= since 254).
    """
    done = run("systemd-analyze", "verify", unit_file)
    if done.returncode == 0:
        return None
    name = os.path.basename(unit_file)
    complaints = [line for line in done.stderr.splitlines() if name in line and "Unknown key" not in line]
    return "; ".join(complaints) if complaints else None


def enable(units: Iterable[str]) -> dict[str, str]:
    """Enable many units in one call; unit → complaint for those that cannot be."""
    names = sorted(units)
    if not names or run("systemctl", "--no-reload", "enable", "--", *names).returncode == 0:
        return {}
    complaints = {}
    for name in names:  # only now is it worth a call each
        try:
            systemctl("--no-reload", "enable", "--", name)
        except EngineError as error:
            complaints[name] = str(error)
    return complaints


def wanted_by(units: Path, target: str, unit: str) -> bool:
    """Whether `enable` has made the link by which a target starts a unit. `units`: the directory of the administrator's."""
    return os.path.lexists(units / f"{target}.wants" / unit)


def unmask(units: Iterable[str]) -> None:
    """Let units start again that somebody masked, for good or until the next boot."""
    names = sorted(units)
    if names:
        run("systemctl", "--no-reload", "unmask", "--", *names)
        run("systemctl", "--no-reload", "unmask", "--runtime", "--", *names)


def daemon_reload() -> None:
    systemctl("daemon-reload")


def restart(unit: str) -> None:
    """Queue a restart and return at once; an earlier start limit does not stand in the way."""
    run("systemctl", "reset-failed", "--", unit)
    systemctl("--no-block", "restart", "--", unit)


def stop(unit: str) -> None:
    systemctl("stop", "--", unit)
