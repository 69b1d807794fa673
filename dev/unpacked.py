# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Mosquitto for tests on this machine: the installed one, else Debian's package unpacked into .cache, not installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dev import CACHE
from dev.shell import Failure, attempt, run

FOLDER = CACHE / "mosquitto"


def folder() -> Path:
    """The folder that holds ``mosquitto`` and its helpers, to put on PATH."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if found:
        return Path(found).parent
    if not (FOLDER / "bin" / "mosquitto").exists():
        _unpack()
    return FOLDER / "bin"


def _unpack() -> None:
    """Download the package and the libraries that this machine lacks; nothing is installed, no service starts."""
    if shutil.which("apt-get") is None:
        raise Failure("Please install mosquitto, then run this again.")
    packages = FOLDER / "packages"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "-q", "-y", "install", "--download-only", "--no-install-recommends"]
    download += ["-o", f"Dir::Cache::archives={packages}", "-o", "Debug::NoLocking=1", "mosquitto"]
    if attempt(download).code != 0:
        # A fresh machine has no list of packages yet.
        run(["apt-get", "-q", "update"], "apt-get update")
        run(download, "download of mosquitto")
    tree = FOLDER / "tree"
    for package in sorted(packages.glob("*.deb")):
        run(["dpkg-deb", "--extract", str(package), str(tree)], f"unpacking of {package.name}")
    (FOLDER / "bin").mkdir(exist_ok=True)
    libraries = next(tree.glob("usr/lib/*-linux-gnu*"))
    for program in [*tree.glob("usr/bin/*"), *tree.glob("usr/sbin/*")]:
        wrapper = FOLDER / "bin" / program.name
        wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
        wrapper.chmod(0o755)
