# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pyinfra's inventory: the hosts and variables of the Ansible inventory that MUSTER_BENCH_INVENTORY names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_tree = json.loads(Path(os.environ["MUSTER_BENCH_INVENTORY"]).read_text())["all"]


def _hosts(group: str) -> list[tuple[str, dict[str, Any]]]:
    connection = {
        "ssh_hostname": _tree["vars"]["ansible_host"],
        "ssh_user": _tree["vars"]["ansible_user"],
        "ssh_key": _tree["vars"]["ansible_ssh_private_key_file"],
        "ssh_known_hosts_file": _tree["vars"]["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
    }
    names = _tree["children"][group]["hosts"]
    return [(name, {**connection, "ssh_port": one["ansible_port"]}) for name, one in names.items()]


agents = (_hosts("agents"), _tree["vars"])
broker = (_hosts("broker"), _tree["vars"])
