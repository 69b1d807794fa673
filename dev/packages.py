# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Debian packages that the clone's commands need on this machine."""

from __future__ import annotations

import os
import shutil
import sys

from dev.shell import Failure, run

# The program looked for on PATH -> the Debian package that has it.
PACKAGES = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
}


def missing(*programs: str) -> list[str]:
    """The Debian packages of those programs that are not on this machine, each once."""
    return sorted({PACKAGES[program] for program in programs if not shutil.which(program)})


def can_install() -> bool:
    """True where this process may install Debian packages."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(names: list[str]) -> None:
    """Install Debian packages; a no-op for an empty list.

    Raises Failure where that is not possible, naming what a person has to install.
    """
    if not names:
        return
    if not can_install():
        raise Failure(
            f"Please install {', '.join(names)} (or the same for this system), then run this again."
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], "apt-get update", env=quiet)
    run(["apt-get", "-q", "install", "-y", *names], f"apt-get install {' '.join(names)}", env=quiet)
