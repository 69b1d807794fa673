# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests do with the fleet: run playbooks on it, look at its hosts as root, speak to its broker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.host import Host as Machine

from demo.ask import Broker
from demo.vault import derived_password
from dev import ROOT
from dev.hosts import LABS, TEST
from dev.shell import environment

# The scenario's hosts; by hand, without Molecule, those of the scenario `default`.
LAB = LABS[os.environ.get("MUSTER_LAB", TEST.name)]
AGENT_HOSTS = tuple(host.name for host in LAB.hosts() if host.name != "broker-1")
SECRETS = yaml.safe_load((LAB.inventory / "group_vars" / "all" / "secrets.yml").read_text())
CREDENTIALS_KEY = SECRETS["fleet_credentials_key"]
# Made by the first deploy where the scenario's broker has TLS.
CA = LAB.state / "pki" / "ca.pem"
TLS_PORT = 8883
OFFLINE = {"llm": {"provider": "echo", "api_key_env": None}}


@dataclass(frozen=True)
class Outcome:
    """How a playbook ended."""

    code: int
    output: str

    def rows(self) -> dict[str, list[str]]:
        """The lines of a deploy's summary, in words, by agent."""
        lines = self.output.partition("RESULT")[2].splitlines()[1:]
        return {words[1]: words for words in (line.split() for line in lines) if len(words) > 2}

    def changed(self) -> dict[str, int]:
        """Host -> number of tasks that changed it."""
        return self.recap("changed")

    def recap(self, word: str) -> dict[str, int]:
        """Host -> the number that Ansible's recap has for it under this word."""
        found = re.findall(rf"^(\S+) +: ok=\d+.* {word}=(\d+)", self.output, re.M)
        return {host: int(count) for host, count in found}


@dataclass(frozen=True)
class Agent:
    """One agent as ``status.yml`` knows it, and the machine it runs on."""

    name: str
    agent_id: str
    host: str
    unit: str
    release: str
    port: int
    ready: bool

    @property
    def machine(self) -> Machine:
        return machine(self.host)

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def show(self, name: str) -> str:
        """One property of the unit, as systemd knows it now."""
        return str(self.machine.check_output("systemctl show --value -p %s %s", name, self.unit))

    def environ(self) -> dict[str, str]:
        """The environment of the agent's process."""
        raw = self.machine.check_output(f"cat /proc/{self.pid}/environ")
        return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)

    def get(self, path: str) -> tuple[int, str]:
        """HTTP status (0: nobody answers) and body of the agent's own server, asked on its host."""
        answer = self.machine.run(
            f"curl -s -m 5 -w '\n%{{http_code}}' http://127.0.0.1:{self.port}{path}"
        ).stdout
        body, _, code = answer.rpartition("\n")
        return int(code), body


def machine(host: str) -> Machine:
    """A host of the inventory, as root."""
    return testinfra.get_host(f"docker://{LAB.name}-{host}")


def start_python(host: str, script: str) -> subprocess.Popen[str]:
    """Start a Python program as root on a host; what it is told goes to its standard input, and not into its arguments."""
    return subprocess.Popen(
        ["docker", "exec", "-i", f"{LAB.name}-{host}", "python3", "-I", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_python(host: str, script: str, told: Any) -> Any:
    """Run such a program to its end: JSON in, JSON out."""
    running = start_python(host, script)
    output, _ = running.communicate(json.dumps(told))
    assert running.returncode == 0, f"{host}: {output}"
    return json.loads(output)


def start(playbook: str, *arguments: str, inventory: Path = LAB.inventory) -> subprocess.Popen[str]:
    """Start a playbook of the collection on the scenario's inventory, as a person would; it leads its own process group."""
    return subprocess.Popen(
        ["ansible-playbook", "--inventory", str(inventory), playbook, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        # As in a terminal in the clone: what Molecule sets for its own runs must not reach this one.
        env=environment(
            {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
        ),
        start_new_session=True,
    )


def play(playbook: str, *arguments: str, inventory: Path = LAB.inventory) -> Outcome:
    """Run a playbook to its end."""
    running = start(playbook, *arguments, inventory=inventory)
    output, _ = running.communicate()
    return Outcome(running.returncode, output)


def deploy(*arguments: str, inventory: Path = LAB.inventory) -> Outcome:
    """Deploy and insist that it works."""
    outcome = play("deploy.yml", *arguments, inventory=inventory)
    assert outcome.code == 0, outcome.output
    return outcome


def variables(folder: Path, **values: Any) -> str:
    """An argument that gives a playbook these variables, through a file: secrets have no place in arguments."""
    file = folder / "variables.json"
    file.write_text(json.dumps(values))
    return f"--extra-vars=@{file}"


def changed_fleet(folder: Path, **by_name: dict[str, Any]) -> str:
    """An argument that deploys the fleet of the scenario `default` with these keys added to its agents."""
    whole: dict[str, dict[str, Any]] = {
        "researcher": {"overrides": OFFLINE},
        "writer": {"instances": "each", "overrides": OFFLINE},
    }
    entries = {name: {**entry, **by_name.get(name, {})} for name, entry in whole.items()}
    return variables(folder, fleet=entries)


def agents() -> dict[str, Agent]:
    """Name -> agent, for all that run anywhere, as the engines on the hosts know them."""
    names = Agent.__dataclass_fields__
    found = {}
    for host in AGENT_HOSTS:
        for entry in json.loads(machine(host).check_output("muster status --json"))["workloads"]:
            known = {name: value for name, value in entry.items() if name in names}
            found[entry["name"]] = Agent(host=host, **known)
    return found


def broker(user: str = "tester", password: str | None = None) -> Broker:
    """The fleet's broker for a user, by default with the password that the deploy derived."""
    known = derived_password(CREDENTIALS_KEY, user) if password is None else password
    ((port, inner),) = next(host.published for host in LAB.hosts() if host.published).items()
    return Broker("127.0.0.1", port, user, known, ca=str(CA) if inner == TLS_PORT else "")


def until(true: Callable[[], bool], seconds: float, complaint: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{complaint} within {seconds:.0f} s"
        time.sleep(0.2)
