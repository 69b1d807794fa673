# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``ansible-test sanity`` on the collection, in a copy of its files: it wants a path that ends as a collection's does.

All its tests run with the Python of .venv, on this machine. Two of them skip themselves where they cannot run: pslint
(there is no PowerShell here to lint), and the compile and import tests for other Pythons than this one; hosts' Python
3.9 is the unit tests' and Molecule's matter.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from dev import ROOT
from dev.log import Log
from dev.shell import run

# What a built collection holds; the rest of the clone has its own linters.
COLLECTION = (
    "plugins",
    "roles",
    "playbooks",
    "meta",
    "changelogs",
    "docs",
    "tests/sanity",
    "galaxy.yml",
    "README.md",
)
_WANTED = re.compile(r"^The bootstrap script can be manually downloaded and saved to: (.+)$", re.MULTILINE)


def check(log: Log) -> str:
    """Run every sanity test; raises Failure with the findings."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = ["ansible-test", "sanity", "--local", "--python", version, "--color", "no"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "ansible_collections" / "muster" / "agents"
        copy_collection(tree)
        code = log.run(*command, cwd=tree, accept=True)
        wanted = _WANTED.search(log.text())
        if code != 0 and wanted:
            shutil.copy(ROOT / "dev" / "get_pip.py", wanted[1])
            code = log.run(*command, cwd=tree, accept=True)
    if code != 0:
        raise log.failure(command, code)
    return "no findings"


def copy_collection(tree: Path) -> None:
    """Copy the collection's files, tracked and new ones, to a folder."""
    listing = run(["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *COLLECTION], "git ls-files")
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        # A file that was deleted and not yet committed is still listed.
        if source.exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / name)
