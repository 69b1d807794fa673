# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log of one test stage: its commands write there, and a failure shows its end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev import CACHE, ROOT
from dev.shell import Failure, environment

SHOWN_LINES = 60
# pytest's last line, such as "=== 12 passed, 1 skipped in 3.40s ===".
_PYTEST_END = re.compile(r"=+ (\d+ passed.*?) in [\d.]+s")


class Log:
    """A file under .cache/logs, empty at first."""

    def __init__(self, name: str) -> None:
        self.path = CACHE / "logs" / f"{name}.log"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def run(
        self, *argv: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None, accept: bool = False
    ) -> int:
        """Run a command into the log and return its exit code.

        Raises Failure with the log's end when that is not 0, unless ``accept`` leaves the judgement to the caller.
        """
        words = [str(word) for word in argv]
        with self.path.open("a") as file:
            print("$", *words, file=file, flush=True)
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=cwd,
                # A log is read later, perhaps elsewhere; and in colour, Molecule breaks its lines at 80 columns.
                env=environment({"NO_COLOR": "1", **(env or {})}),
                check=False,
            )
        if done.returncode != 0 and not accept:
            raise self.failure(words, done.returncode)
        return done.returncode

    def failure(self, words: Sequence[str], code: int) -> Failure:
        """The Failure of a command that ended with that code: the log's end, then the command."""
        end = "\n".join(self.text().splitlines()[-SHOWN_LINES:])
        return Failure(
            f"{end}\n\n{' '.join(words)}: exit code {code}; the whole log: {self.path.relative_to(ROOT)}"
        )

    def text(self) -> str:
        """All that was written so far."""
        return self.path.read_text(errors="replace")

    def tests(self) -> str:
        """What pytest said at its end, such as ``12 passed, 1 skipped``."""
        return ", ".join(_PYTEST_END.findall(self.text()))
