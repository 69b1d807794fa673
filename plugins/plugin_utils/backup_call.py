# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What backup and restore both take from the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import templated

# Read at the last moment, and never a task's argument.
PASSPHRASE = "backup_passphrase"
_SHORTEST = 12
_FOLDER = ".backups"  # hidden, for Ansible reads all other files in an inventory's folder as inventory


def passphrase_of(action: ActionBase, variables: Mapping[str, Any]) -> str:
    """Raises AnsibleActionFail where there is none that is worth its name."""
    passphrase = str(templated(action, variables.get(PASSPHRASE), PASSPHRASE) or "")
    if len(passphrase) < _SHORTEST:
        raise AnsibleActionFail(
            f"{PASSPHRASE} is missing or shorter than {_SHORTEST} characters; put the output of `openssl rand -base64 32` "
            "there with `ansible-vault edit` (group_vars/all/vault.yml), and keep a copy of it elsewhere"
        )
    return passphrase


def folder_of(given: str, variables: Mapping[str, Any]) -> Path:
    """The folder of all backups; a relative path starts at the inventory's folder."""
    base = Path(str(variables.get("inventory_dir") or "."))
    return base / Path(given or _FOLDER).expanduser()
