# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one agent can see of another on the same host, and of the host itself."""

from __future__ import annotations

import fleet
import pytest


def as_agent(agent: fleet.Agent, command: str) -> int:
    """Exit code of a shell command as the agent's user, in the file systems and processes that the agent has."""
    user = agent.machine.check_output(f"stat -c %u:%g /proc/{agent.pid}")
    uid, _, gid = user.partition(":")
    enter = f"nsenter --target {agent.pid} --mount setpriv --reuid {uid} --regid {gid} --clear-groups"
    drop = "--bounding-set=-all --inh-caps=-all --no-new-privs"
    return int(agent.machine.run(f"{enter} {drop} sh -c %s", command).exit_status)


def private_files(agent: fleet.Agent) -> list[str]:
    """Where an agent's secrets, configuration and data are."""
    return [
        f"/etc/muster/secrets/{agent.name}.env",
        f"/var/lib/muster/agents/{agent.name}/current/agent.toml",
        f"/var/lib/muster/agents/{agent.name}/current/env",
        f"/run/credentials/{agent.unit}/agent.toml",
        f"/proc/{agent.pid}/environ",
    ]


def test_the_files_are_there_and_readable_by_root(neighbour: fleet.Agent) -> None:
    for path in private_files(neighbour):
        assert neighbour.machine.run("test -r %s", path).exit_status == 0, path


@pytest.mark.parametrize("index", range(5))
def test_an_agent_cannot_read_its_neighbours_files(
    researcher: fleet.Agent, neighbour: fleet.Agent, index: int
) -> None:
    assert as_agent(researcher, f"cat {private_files(neighbour)[index]}") != 0


def test_an_agent_cannot_enter_its_neighbours_data(researcher: fleet.Agent, neighbour: fleet.Agent) -> None:
    assert as_agent(researcher, f"ls /var/lib/private/{neighbour.unit.removesuffix('.service')}") != 0


def test_an_agent_can_read_its_own_configuration(researcher: fleet.Agent) -> None:
    # Else the refusals above would prove nothing.
    assert as_agent(researcher, f"cat /run/credentials/{researcher.unit}/agent.toml") == 0


@pytest.mark.parametrize(
    "folder", ["/etc", "/usr/local/bin", "/opt/muster", "/var/lib/muster", "/root", "/home"]
)
def test_an_agent_cannot_write_to_the_host(researcher: fleet.Agent, folder: str) -> None:
    assert as_agent(researcher, f"touch {folder}/intruder") != 0


def test_shared_memory_is_the_agents_own(researcher: fleet.Agent, neighbour: fleet.Agent) -> None:
    assert as_agent(researcher, "echo here > /dev/shm/note") == 0
    try:
        assert as_agent(researcher, "test -e /dev/shm/note") == 0
        assert as_agent(neighbour, "test -e /dev/shm/note") != 0
        assert not researcher.machine.file("/dev/shm/note").exists
    finally:
        as_agent(researcher, "rm /dev/shm/note")


def test_an_agent_cannot_reach_d_bus(researcher: fleet.Agent) -> None:
    socket = "/run/dbus/system_bus_socket"
    assert researcher.machine.file(socket).is_socket
    assert as_agent(researcher, f"test -e {socket}") != 0


def test_an_agent_can_write_its_own_data(researcher: fleet.Agent) -> None:
    state = f"/var/lib/{researcher.unit.removesuffix('.service')}"
    assert as_agent(researcher, f"touch {state}/note && rm {state}/note") == 0
