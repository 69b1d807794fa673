# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a built collection holds, and that docs/getting-started.md works as written with nothing else."""

from __future__ import annotations

import tarfile
from pathlib import Path

import page

from dev import ROOT
from dev.hosts import Host

NEEDED = {"MANIFEST.json", "FILES.json", "LICENSE", "README.md", "meta", "playbooks", "plugins", "roles"}
WELCOME = {"CHANGELOG.md", "CHANGELOG.rst", "changelogs", "docs"}


def test_it_holds_what_users_need_and_no_more(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    top = {name.split("/")[0] for name in names}
    assert top - WELCOME == NEEDED
    assert "roles/agent/files/muster-agent.pyz" in names
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []


def test_getting_started_works_as_written(tarball: Path, machine: Host, tmp_path: Path) -> None:
    blocks = list(page.blocks((ROOT / "docs" / "getting-started.md").read_text("utf-8")))
    assert {"ansible.cfg", "agents/greeter.toml"} <= {block.file for block in blocks}
    reader = page.reader(tmp_path, tarball)
    for block in blocks:
        reader.follow(block)
    # It was the built collection that did it, and no link to the clone.
    installed = tmp_path / ".ansible/collections/ansible_collections/muster/agents"
    assert (installed / "MANIFEST.json").is_file()
    assert not installed.is_symlink()
