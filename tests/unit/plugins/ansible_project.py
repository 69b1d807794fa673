# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A project in a temporary folder, and Ansible itself run in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.plugins.builders import REPOSITORY

VALIDATE = str(REPOSITORY / "playbooks/validate.yml")
MODULE = "muster.agents.agent_config"
CANARY = "canary-5ecret-value"
HOSTS = """
all:
  children:
    agents: {hosts: {h1: {ansible_host: 203.0.113.1}, h2: {ansible_host: 203.0.113.2}}}
    broker: {hosts: {b1: {ansible_host: 203.0.113.3}}}
"""


@dataclass(frozen=True)
class Done:
    """What a command said, on both streams together, and its exit status."""

    status: int
    text: str

    @property
    def result(self) -> dict[str, Any]:
        """Of the one task of an ad-hoc command."""
        found = json.loads(self.text[self.text.index("=> {") + 3 :])
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class AnsibleProject:
    """`collections`: where the collection is installed."""

    folder: Path
    collections: Path = REPOSITORY / "collections"

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def with_agents(self, *names: str) -> None:
        (self.folder / "agents").mkdir(exist_ok=True)
        for name in names:
            shutil.copy(REPOSITORY / f"agents/{name}.toml", self.folder / "agents")

    def run(self, program: str, *arguments: str, **environment: str) -> Done:
        """Nothing of the clone's own configuration is in its reach."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PATH") if name in os.environ}
        done = subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            check=False,
            timeout=120,
            env={
                **kept,
                "HOME": str(self.folder),
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
                "ANSIBLE_NOCOLOR": "1",
                **environment,
            },
        )
        return Done(done.returncode, done.stdout)

    def validate(self, inventory: str, *arguments: str, **environment: str) -> Done:
        return self.run("ansible-playbook", VALIDATE, "-i", inventory, *arguments, **environment)

    def check(self, *options: Mapping[str, Any], module: str = MODULE) -> list[dict[str, Any]]:
        """What the module returns for each of several options, in one run."""
        tasks: list[dict[str, Any]] = [
            {module: one, "register": f"result_{number}", "ignore_errors": True}
            for number, one in enumerate(options)
        ]
        results = ", ".join(f"result_{number}" for number in range(len(options)))
        content = {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(self.folder / "results.json")}
        tasks.append({"ansible.builtin.copy": content, "check_mode": False})
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        self.write({"checks.yml": json.dumps([play])})
        done = self.run("ansible-playbook", "checks.yml")
        assert done.status == 0, done.text
        assert "Traceback" not in done.text
        results_of_all = json.loads((self.folder / "results.json").read_text("utf-8"))
        assert isinstance(results_of_all, list)
        return results_of_all

    def ad_hoc(self, options: Mapping[str, Any], *arguments: str, **environment: str) -> Done:
        """The module from a shell."""
        given = ["-a", json.dumps(options)] if options else []
        environment = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **environment}
        return self.run("ansible", "localhost", "-m", MODULE, *given, *arguments, **environment)


def findings(text: str) -> list[str]:
    """The lines of findings among all that Ansible says."""
    words = (": error MA", ": warning MA", ": hint MA")
    return [
        line.removeprefix("[ERROR]: Task failed: Action failed: ")
        for line in text.splitlines()
        if any(word in line for word in words) and "\\n" not in line
    ]
