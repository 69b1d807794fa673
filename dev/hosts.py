# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts for the demo and the tests: containers that boot real systemd, reached by SSH like any other machine.

An inventory's ``hosts.yml`` is the one list of hosts: their names, the ports on 127.0.0.1 at which SSH answers
(``ansible_port``), further published ports (``published_ports``) and their Debian suite (``debian_suite``).
Bridge addresses of containers cannot be reached from macOS; published ports can, from everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dev import CACHE, ROOT, image
from dev.shell import Failure, attempt, run

BOOT_SECONDS = 60

# What systemd needs to run as a container's first process, without --privileged.
RUN_FLAGS = (
    *("--cap-add", "SYS_ADMIN"),
    *("--cap-add", "SYS_PTRACE"),
    *("--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined"),
    *("--security-opt", "apparmor=unconfined"),
    *("--stop-signal", "SIGRTMIN+3"),
    *("--cgroupns", "host"),
    *("--tmpfs", "/run"),
    *("--tmpfs", "/run/lock"),
    *("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
)

# Run as root in a booted host; reads the public key from its standard input, prints the host's own.
ADMIT = """\
install -d -m 0700 -o admin -g admin /home/admin/.ssh
cat > /home/admin/.ssh/authorized_keys
chown admin:admin /home/admin/.ssh/authorized_keys
chmod 0600 /home/admin/.ssh/authorized_keys
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


@dataclass(frozen=True)
class Host:
    """One host of a lab, as its inventory describes it."""

    name: str
    ssh_port: int
    suite: str = "bookworm"
    published: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lab:
    """A few hosts on a network of their own, which resolves them by name.

    ``name`` is the network's name and the prefix of the containers' names; ``state`` is the folder that holds the
    SSH key and ``known_hosts``.
    """

    name: str
    inventory: Path
    state: Path

    @property
    def key(self) -> Path:
        return self.state / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    def container(self, host: Host) -> str:
        """The container's name of a host."""
        return f"{self.name}-{host.name}"

    def hosts(self) -> list[Host]:
        """The hosts that the lab's inventory lists, in its order."""
        tree = yaml.safe_load((self.inventory / "hosts.yml").read_text())
        merged: dict[str, dict[str, Any]] = {}
        for name, variables in _inventory_hosts(tree["all"]):
            merged.setdefault(name, {}).update(variables)
        return [_host(name, variables) for name, variables in merged.items()]


DEMO = Lab("muster-demo", ROOT / "inventories" / "demo", ROOT / ".demo")
TEST = Lab("muster-test", ROOT / "molecule" / "default" / "inventory", CACHE / "molecule")
DISTRIBUTIONS = Lab(
    "muster-distributions", ROOT / "molecule" / "distributions" / "inventory", CACHE / "distributions"
)
FLEET = Lab("muster-fleet", ROOT / "molecule" / "fleet" / "inventory", CACHE / "fleet")
PACKAGE = Lab("muster-package", ROOT / "tests" / "packaging" / "inventory", CACHE / "packaging")
FAULTS = Lab("muster-faults", ROOT / "tests" / "faults" / "inventory", CACHE / "faults")
CHAOS = Lab("muster-chaos", ROOT / "tests" / "chaos" / "inventory", CACHE / "chaos")
BENCH = Lab("muster-bench", ROOT / "bench" / "inventory", CACHE / "bench")
LABS = {lab.name: lab for lab in (DEMO, TEST, DISTRIBUTIONS, FLEET, PACKAGE, FAULTS, CHAOS, BENCH)}
# Molecule's scenarios, in the order in which they are run, and their hosts: what is quick to fail first.
SCENARIOS = {"distributions": DISTRIBUTIONS, "fleet": FLEET, "default": TEST}


def _inventory_hosts(group: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, variables in (group.get("hosts") or {}).items():
        yield name, variables or {}
    for child in (group.get("children") or {}).values():
        yield from _inventory_hosts(child or {})


def _host(name: str, variables: dict[str, Any]) -> Host:
    return Host(
        name=name,
        ssh_port=variables["ansible_port"],
        suite=variables.get("debian_suite", "bookworm"),
        published=variables.get("published_ports", {}),
    )


def up(lab: Lab) -> str:
    """Bring every host of the lab up, reachable by SSH; return one line that says how many were made.

    Hosts that run are left as they are, stopped ones are started: a half-made lab is completed. A host that was made
    with other ports or from an older image is made anew.
    """
    hosts = lab.hosts()
    _make_key(lab)
    if attempt(["docker", "network", "inspect", lab.name]).code != 0:
        run(["docker", "network", "create", lab.name], "docker network create")
    states = _states(lab)
    made = [host.name for host in hosts if _ensure(lab, host, states)]
    with ThreadPoolExecutor() as pool:
        keys = list(pool.map(lambda host: _admit(lab, host), hosts))
    lines = [f"[127.0.0.1]:{host.ssh_port} {key}\n" for host, key in zip(hosts, keys)]
    lab.known_hosts.write_text("".join(lines))
    return f"{len(hosts)} running, " + (f"{len(made)} of them new" if made else "nothing to do")


def down(lab: Lab) -> None:
    """Remove the lab's containers and network, whatever state they are in."""
    containers = sorted(_states(lab))
    if containers:
        run(["docker", "rm", "--force", "--volumes", *containers], "docker rm")
    if attempt(["docker", "network", "inspect", lab.name]).code == 0:
        run(["docker", "network", "rm", lab.name], "docker network rm")


def _states(lab: Lab) -> dict[str, tuple[str, str]]:
    """Container name -> (its Docker state, the digest of the command that made it), for all of the lab."""
    columns = '{{.Names}} {{.State}} {{.Label "muster.made-by"}}'
    lab_only = f"label=muster.lab={lab.name}"
    listing = run(["docker", "ps", "--all", "--filter", lab_only, "--format", columns], "docker ps")
    states = {}
    for line in listing.splitlines():
        container, state, *made_by = line.split()
        states[container] = (state, "".join(made_by))
    return states


def _make_key(lab: Lab) -> None:
    lab.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not lab.key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.name, "-f", str(lab.key)]
        run(command, "ssh-keygen")


def _ensure(lab: Lab, host: Host, states: dict[str, tuple[str, str]]) -> bool:
    """Make or start one host where needed; True when it is a new one."""
    container = lab.container(host)
    command = run_command(lab, host)
    state, made_by = states.get(container, ("", ""))
    if made_by == digest(command):
        if state != "running":
            run(["docker", "start", container], f"start of {container}")
        return False
    if state:
        run(["docker", "rm", "--force", "--volumes", container], f"removal of {container}")
    try:
        run(
            ["docker", "run", "--detach", "--label", f"muster.made-by={digest(command)}", *command], container
        )
    except Failure:
        # Docker leaves a container behind that never started, for example when a port is taken.
        attempt(["docker", "rm", "--force", container])
        raise
    return True


def run_command(lab: Lab, host: Host) -> list[str]:
    """What makes one host: the arguments of ``docker run``."""
    ports = {host.ssh_port: 22, **host.published}
    return [
        *("--name", lab.container(host), "--hostname", host.name),
        *("--network", lab.name, "--network-alias", host.name),
        *("--label", f"muster.lab={lab.name}"),
        *(word for outer, inner in ports.items() for word in ("--publish", f"127.0.0.1:{outer}:{inner}")),
        *RUN_FLAGS,
        image.tag(host.suite),
    ]


def digest(command: list[str]) -> str:
    """What tells a host made by this command, on the image as it is built today, from any other."""
    return hashlib.sha256("\0".join([*command, image.recipe()]).encode()).hexdigest()[:16]


def _admit(lab: Lab, host: Host) -> str:
    """Wait until the host has booted, let the lab's key in, carry the machine's apt settings; return its SSH key."""
    container = lab.container(host)
    booted = ["docker", "exec", container, "systemctl", "is-system-running", "--wait"]
    _until(
        lambda: attempt(booted, timeout=10).code == 0,  # a host that hangs at boot never answers
        f"host {host.name} does not boot: docker exec {container} systemctl --failed",
    )
    public = lab.key.with_suffix(".pub").read_text()
    shown = run(["docker", "exec", "-i", container, "sh", "-ec", ADMIT], f"host {host.name}", stdin=public)
    settings = apt_settings()
    if settings:
        write = ["docker", "exec", "-i", container, "sh", "-ec", "cat > /etc/apt/apt.conf.d/90machine"]
        run(write, f"host {host.name}", stdin=settings)
    return " ".join(shown.split()[:2])


def _until(true: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise Failure(complaint)
        time.sleep(0.2)


def apt_settings() -> str:
    """This machine's own way to its packages (a proxy, an unusual clock), in apt's syntax; mostly empty.

    A host installs packages as this machine does; the settings are carried at run time and stand in no file here.
    """
    carried = ("::Proxy", "::Check-Valid-Until", "::Check-Date")
    dump = attempt(["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"]).out
    return "".join(f"{line}\n" for line in dump.splitlines() if line.split(" ")[0].endswith(carried))


def main(arguments: list[str] | None = None) -> int:
    """``python -m dev.hosts up|down LAB``: what Molecule's create and destroy call."""
    parser = argparse.ArgumentParser(prog="python -m dev.hosts", description=main.__doc__)
    parser.add_argument("deed", choices=["up", "down"])
    parser.add_argument("lab", choices=sorted(LABS))
    options = parser.parse_args(arguments)
    try:
        if options.deed == "up":
            print(up(LABS[options.lab]))
        else:
            down(LABS[options.lab])
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
