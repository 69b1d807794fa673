# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one command as a person runs it, from its start to its end by the clock, and looks how much memory it took."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dev import ROOT
from dev.shell import Failure, environment

_SHOWN_LINES = 40
# The clone's own settings, whatever the caller's are.
_SETTINGS = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
_STEP = re.compile(r"^(PLAY|TASK) (?:\[(?P<name>.*)\]|RECAP) \*+")
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s", re.MULTILINE)
# pyinfra's last line: operations in all, those that changed something, that failed, that had nothing to change.
_PYINFRA_TOTAL = re.compile(r"^ *Grand total +\d+ +(-|\d+) +(?:-|\d+) +(?:-|\d+) *$", re.MULTILINE)
_BEFORE, _AFTER = "start of ansible-playbook", "end of ansible-playbook"


@dataclass(frozen=True)
class Finished:
    """A command that ended well. `stamped`: its lines, each with the seconds since the start at which it came."""

    seconds: float
    megabytes: float
    stamped: tuple[tuple[float, str], ...]

    @property
    def output(self) -> str:
        return "".join(line for _seconds, line in self.stamped)

    @property
    def changed(self) -> int:
        """How many changes the recap of a playbook or pyinfra's total counts. Raises Failure where there is neither."""
        total = _PYINFRA_TOTAL.search(self.output)
        counts = (
            [total[1].replace("-", "0")] if total else [found[1] for found in _RECAP.findall(self.output)]
        )
        if not counts:
            raise Failure(f"{self.output}\nThis says nothing of what was changed.")
        return sum(map(int, counts))


def timed(argv: Sequence[str], extra: Mapping[str, str] | None = None) -> Finished:
    """Run it. The memory is the largest resident set that any process of its tree had.

    Raises Failure with the end of its output where it fails.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment({**_SETTINGS, **(extra or {})}),
    )
    assert process.stdout is not None
    with process.stdout as lines:
        stamped = tuple((time.monotonic() - started, line) for line in lines)
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    done = Finished(seconds, usage.ru_maxrss * 1024 / 1_000_000, stamped)
    if process.returncode != 0:
        end = "".join(line for _seconds, line in stamped[-_SHOWN_LINES:])
        raise Failure(f"{end}\n{' '.join(argv)}: exit code {process.returncode}")
    return done


def steps(stamped: Sequence[tuple[float, str]], seconds: float) -> tuple[tuple[str, float], ...]:
    """What a playbook was at, from the headings that it prints: each with the seconds until the next one, in all `seconds`."""
    marks = [(0.0, _BEFORE)]
    for at, line in stamped:
        if heading := _STEP.match(line):
            marks.append((at, _label(heading)))
    ends = [at for at, _label in marks[1:]] + [seconds]
    return tuple((label, end - at) for (at, label), end in zip(marks, ends, strict=True))


def _label(heading: re.Match[str]) -> str:
    if heading["name"] is None:
        return _AFTER
    return (
        f"loading of the play {heading['name']}"
        if heading[1] == "PLAY"
        else heading["name"].rpartition(" : ")[2]
    )
