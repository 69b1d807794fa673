# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running a playbook with its whole output in a log, and what a person wants to know of it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from dev import ROOT
from dev.shell import Failure, environment

SHOWN_LINES = 40
_RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s", re.MULTILINE)
_HOST_RESULT = re.compile(r"(ok|changed|skipping|fatal|failed): \[|PLAY ")
_ERROR = re.compile(
    r"^\[ERROR\]: (?:Task failed: )?(?:Action failed: )?(.*?)(?=^Origin: |^fatal: |^\[|\Z)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Outcome:
    """What a playbook printed, and how many of its tasks changed each host."""

    output: str
    changed: dict[str, int]

    def summary(self) -> str:
        """One line: which hosts changed, or that none did."""
        hosts = [f"{host} {count}" for host, count in self.changed.items() if count]
        return f"changed: {', '.join(hosts)}" if hosts else "nothing changed"

    def told_by(self, task: str) -> str:
        """What a task told people, without Ansible's own lines around it."""
        _, _, after = self.output.partition(f"TASK [{task}]")
        lines = after.splitlines()[1:]
        return "\n".join(takewhile(lambda line: not _HOST_RESULT.match(line), lines)).strip()


def play(arguments: Sequence[str], log: Path, at: Callable[[str], None] = lambda task: None) -> Outcome:
    """Run ``ansible-playbook`` with these arguments; ``at`` hears the name of each task as it starts.

    Raises Failure with the log's telling end when the playbook fails.
    """
    command = ["ansible-playbook", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment({"ANSIBLE_FORCE_COLOR": "false"}),
    ) as process:
        assert process.stdout is not None
        lines = []
        with log.open("w") as file:
            for line in process.stdout:
                file.write(line)
                lines.append(line)
                if line.startswith("TASK ["):
                    at(line[len("TASK [") :].partition("]")[0])
    output = "".join(lines)
    if process.returncode != 0:
        raise Failure(
            f"{' '.join(command)} failed; its log is {os.path.relpath(log, ROOT)}\n{_telling_end(output)}"
        )
    return Outcome(output, {match["host"]: int(match["changed"]) for match in _RECAP.finditer(output)})


def _telling_end(output: str) -> str:
    """Ansible's errors without where they stand in the playbook; the last lines where it printed none."""
    told = dict.fromkeys(error.strip().partition("\n\n")[0] for error in _ERROR.findall(output))
    return "\n".join(told or output.strip().splitlines()[-SHOWN_LINES:])
