# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The built collection, a project that uses it, and that project's one server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import CLIENT, FLEET, SECRETS, Project

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
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A new project whose only Ansible content is the installed tarball."""
    folder = tmp_path_factory.mktemp("project")
    made = Project(folder, tmp_path_factory.mktemp("collections"))
    installed = made.run(
        "ansible-galaxy", "collection", "install", "--offline", "-p", str(made.collections), str(tarball)
    )
    assert installed.returncode == 0, installed.stdout
    (folder / "agents").mkdir()
    shutil.copy(ROOT / "agents" / "researcher.toml", folder / "agents")
    (folder / "vault-password").write_text("only this test's")
    variables = folder / "inventory" / "group_vars" / "all"
    variables.mkdir(parents=True)
    shutil.copy(PACKAGE.inventory / "hosts.yml", folder / "inventory")
    (variables / "fleet.yml").write_text(json.dumps({"fleet": FLEET, "mosquitto_clients": [CLIENT]}))
    (variables / "connection.yml").write_text(
        json.dumps(
            {
                "ansible_ssh_private_key_file": str(PACKAGE.key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={PACKAGE.known_hosts} -o IdentitiesOnly=yes",
            }
        )
    )
    vault = ["ansible-vault", "encrypt", "--output", str(variables / "vault.yml"), "-"]
    assert made.run(*vault, stdin=json.dumps(SECRETS)).returncode == 0
    return made


@pytest.fixture(scope="session")
def server() -> Iterator[hosts.Host]:
    """The one host of the project's inventory, up for the length of the tests."""
    hosts.up(PACKAGE)
    try:
        yield PACKAGE.hosts()[0]
    finally:
        hosts.down(PACKAGE)
