# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts that inventories describe, as Docker is asked for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dev.hosts import DEMO, LABS, TEST, digest, run_command

EPHEMERAL = 32768  # from here on, Linux takes ports for outgoing connections


def test_the_inventory_is_the_list_of_hosts() -> None:
    assert [host.name for host in DEMO.hosts()] == ["broker-1", "agent-1", "agent-2"]
    assert [list(host.published.values()) for host in DEMO.hosts()] == [[1883], [], []]


def test_demo_and_tests_can_run_side_by_side() -> None:
    ports = [
        port for lab in LABS.values() for host in lab.hosts() for port in (host.ssh_port, *host.published)
    ]
    assert len(ports) == len(set(ports))
    assert max(ports) < EPHEMERAL


def test_nothing_is_published_beyond_this_machine() -> None:
    for host in DEMO.hosts():
        command = run_command(DEMO, host)
        published = [command[index + 1] for index, word in enumerate(command) if word == "--publish"]
        assert published
        assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_host_with_other_ports_is_another_host() -> None:
    host = DEMO.hosts()[0]
    moved = dataclasses.replace(host, ssh_port=host.ssh_port + 100)
    assert digest(run_command(DEMO, host)) == digest(run_command(DEMO, DEMO.hosts()[0]))
    assert digest(run_command(DEMO, host)) != digest(run_command(DEMO, moved))


def test_a_host_listed_twice_is_one_host(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {one: {ansible_port: 1}}, children: {broker: {hosts: {one: }}, agents: {hosts: {one: }}}}"
    )
    lab = dataclasses.replace(TEST, inventory=tmp_path)
    assert [(host.name, host.ssh_port) for host in lab.hosts()] == [("one", 1)]
