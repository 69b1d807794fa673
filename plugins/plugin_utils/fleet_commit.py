# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which git commit the fleet is at, for the history that hosts keep. Asked while other work goes on."""

from __future__ import annotations

import contextlib
import subprocess

_LONGEST = 5.0


class FleetCommit:
    """Starts the question when it is made, so that the answer costs no time of its own."""

    def __init__(self, folder: str) -> None:
        command = ["git", "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        self._process: subprocess.Popen[str] | None = None
        with contextlib.suppress(OSError):  # no git here
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )

    def answer(self) -> dict[str, str]:
        """{"commit"}, and "dirty": "yes" where tracked files differ from it; {} where the fleet is in no repository."""
        if self._process is None:
            return {}
        try:
            said, _errors = self._process.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return {}
        return parse(said) if self._process.returncode == 0 else {}


def parse(status: str) -> dict[str, str]:
    """`git status --porcelain=v2 --branch`, as far as it concerns us."""
    lines = status.splitlines()
    commits = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return {}
    dirty = any(not line.startswith("#") for line in lines)
    return {"commit": commits[0], **({"dirty": "yes"} if dirty else {})}
