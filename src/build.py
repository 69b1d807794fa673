# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the reference agent into one file: `python src/build.py [--output FILE]`.

The same inputs give the same bytes, on any machine: entries are sorted, have one fixed time and mode, and are
stored uncompressed, because what a compressor makes of them depends on the version of zlib.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
PACKAGE = SOURCE / "muster_agent"
REQUIREMENTS = SOURCE / "requirements.txt"
OUTPUT = SOURCE.parent / "roles" / "agent" / "files" / "muster-agent.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
# Digest of the inputs, kept inside the file, so that an unchanged one need not be built again.
MARKER = "muster-agent.inputs.json"
LICENSE = re.compile(r"[^/]+\.dist-info/(licenses/.*|LICEN[CS]E[^/]*|COPYING[^/]*|NOTICE[^/]*)")
ENTRY = b"from muster_agent import __main__\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the reference agent's zipapp, reproducibly.")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help="default: %(default)s")
    output: Path = parser.parse_args().output
    inputs = inputs_digest()
    if built_from(output) != inputs:
        try:
            contents = {**vendored(), **own_files(), "__main__.py": ENTRY, MARKER: marker(inputs)}
        except subprocess.CalledProcessError as error:
            print(
                f"build.py: the pinned packages could not be fetched: pip exited {error.returncode}",
                file=sys.stderr,
            )
            return 1
        write(output, contents)
    data = output.read_bytes()
    print(f"{output} {len(data)} bytes sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def inputs_digest() -> str:
    """SHA-256 over every file that decides what the output holds, this one included."""
    digest = hashlib.sha256()
    for path in [Path(__file__).resolve(), REQUIREMENTS, *package_files()]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def marker(inputs: str) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def built_from(output: Path) -> str | None:
    """The digest of the inputs that a file was built from, None when it is no complete file of ours."""
    try:
        with zipfile.ZipFile(output) as archive:
            if archive.testzip() is not None:
                return None
            return str(json.loads(archive.read(MARKER))["inputs"])
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None


def own_files() -> dict[str, bytes]:
    return {path.relative_to(SOURCE).as_posix(): path.read_bytes() for path in package_files()}


def vendored() -> dict[str, bytes]:
    """Python files and licences of the pinned wheels. pip refuses a wheel whose digest is not the pinned one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", "3.9", "--implementation", "py", "--abi", "none", "--platform", "any"]
        command += ["--requirement", str(REQUIREMENTS), "--dest", folder]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return dict(entry for wheel in sorted(Path(folder).glob("*.whl")) for entry in wheel_files(wheel))


def wheel_files(wheel: Path) -> Iterable[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if LICENSE.fullmatch(name) or (name.endswith(".py") and ".data/" not in name):
                yield name, archive.read(name)


def write(output: Path, contents: dict[str, bytes]) -> None:
    """Writes the file beside its place and renames it, so that nobody ever sees half of one."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(output.name + ".new")
    with beside.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(contents):
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3  # Unix, whatever builds it: the mode below is read in that sense
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, contents[name])
    beside.chmod(0o755)
    os.replace(beside, output)


if __name__ == "__main__":
    sys.exit(main())
