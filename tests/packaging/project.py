# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A project of somebody who has the installed collection and no clone."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dev import VENV

FLEET = {"researcher": {"overrides": {"llm": {"provider": "echo", "api_key_env": None}}}}
# Whom the tests ask a task as.
CLIENT = "tester"
SECRETS = {"agent_secrets": {"SERPER_API_KEY": "none"}, "fleet_credentials_key": "0123456789abcdef" * 4}


@dataclass(frozen=True)
class Project:
    """A folder with an inventory, agents and a vault, and the collections installed for it."""

    folder: Path
    collections: Path

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in the folder; nothing of the clone is in its reach."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
        return subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            check=False,
            env={
                **kept,
                "PATH": os.pathsep.join([str(VENV / "bin"), os.environ["PATH"]]),
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_INVENTORY": str(self.folder / "inventory"),
                "ANSIBLE_VAULT_PASSWORD_FILE": str(self.folder / "vault-password"),
                "ANSIBLE_NOCOLOR": "1",
            },
        )
