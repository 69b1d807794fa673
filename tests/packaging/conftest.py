# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The built collection, and a machine to deploy to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import ROOT, VENV, hosts
from dev.hosts import PACKAGE


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as ``ansible-galaxy collection build`` makes it from the clone."""
    folder = tmp_path_factory.mktemp("built")
    command = [str(VENV / "bin" / "ansible-galaxy"), "collection", "build", "--output-path", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("muster-agents-*.tar.gz")
    return built


@pytest.fixture(scope="session")
def machine() -> Iterator[hosts.Host]:
    """The one host of the lab, up for the length of the tests."""
    hosts.up(PACKAGE)
    try:
        yield PACKAGE.hosts()[0]
    finally:
        hosts.down(PACKAGE)
