# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running other programs, with errors that a person can read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dev import ROOT, VENV


class Failure(Exception):
    """Something a person can act on; its text is shown as it is, without a traceback."""


@dataclass(frozen=True)
class Result:
    """How a program ended: its exit code, and its two outputs as text."""

    code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """The last line that the program wrote about its failure."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with the clone's virtual environment first on PATH."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, **(extra or {})}


def attempt(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a program from the repository's root; never raises for its exit code, its absence or its timeout."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            env=environment(env),
            check=False,
        )
    except FileNotFoundError:
        return Result(127, "", f"{argv[0]}: not installed")
    except subprocess.TimeoutExpired:
        return Result(124, "", f"{argv[0]}: no answer within {timeout:.0f} s")
    return Result(done.returncode, done.stdout, done.stderr)


def run(argv: Sequence[str], what: str, *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a program and return its output; ``what`` names the deed in the Failure when it fails."""
    result = attempt(argv, stdin=stdin, env=env)
    if result.code != 0:
        raise Failure(f"{what}: {result.reason}")
    return result.out
