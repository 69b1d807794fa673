# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where instances run and on which port: nothing moves that need not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.placement import PORTS, assign_ports, place
from tests.unit.plugins.builders import few

names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
host_sets = st.sets(names, min_size=1, max_size=8)
agents = st.lists(names, min_size=1, max_size=12, unique=True)


# --- hosts --------------------------------------------------------------------------------------------------


@few
@given(agents, host_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_inventory_does_not_matter(
    instances: list[str], hosts: set[str], chance: random.Random
) -> None:
    shuffled = [*hosts, *hosts]
    chance.shuffle(shuffled)
    assert place(instances, shuffled) == place(instances, sorted(hosts))


@few
@given(agents, host_sets, names)
def test_a_new_host_takes_agents_and_moves_no_other(agents: list[str], hosts: set[str], new: str) -> None:
    for agent in agents:
        before, after = place([agent], hosts)[agent], place([agent], {*hosts, new})[agent]
        assert after in (before, new)


@few
@given(agents, st.sets(names, min_size=2, max_size=8), st.data())
def test_a_lost_host_moves_only_what_was_on_it(
    agents: list[str], hosts: set[str], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from(sorted(hosts)))
    for agent in agents:
        before = place([agent], hosts)[agent]
        after = place([agent], hosts - {lost})[agent]
        assert after == before or before == lost
        assert after != lost


@few
@given(agents, host_sets)
def test_instances_of_one_agent_keep_apart(instances: list[str], hosts: set[str]) -> None:
    placed = place(instances, hosts)
    assert sorted(placed) == sorted(instances)
    counts = [list(placed.values()).count(host) for host in hosts]
    assert max(counts) - min(counts) <= 1


@few
@given(st.integers(1, 6), st.integers(1, 6), host_sets)
def test_scaling_up_moves_nothing_that_runs(few: int, more: int, hosts: set[str]) -> None:
    instances = [f"writer-{number}" for number in range(1, few + more + 1)]
    assert place(instances, hosts).items() >= place(instances[:few], hosts).items()


def test_agents_spread_over_the_hosts() -> None:
    hosts = [f"host-{number}" for number in range(5)]
    counts = dict.fromkeys(hosts, 0)
    for number in range(500):
        counts[place([f"agent-{number}"], hosts)[f"agent-{number}"]] += 1
    assert min(counts.values()) > 60
    assert max(counts.values()) < 140


def test_the_choice_is_the_same_in_every_version() -> None:
    """Who changes the hash moves every agent of every fleet."""
    assert place(["researcher"], ["a", "b", "c"]) == {"researcher": "b"}
    assert place(["writer-1", "writer-2"], ["a", "b", "c"]) == {"writer-1": "b", "writer-2": "c"}
    assert assign_ports(["researcher", "writer-1"], {}) == {"researcher": 20790, "writer-1": 25102}


def test_without_hosts_nothing_is_placed() -> None:
    with pytest.raises(ValueError, match="no hosts"):
        place(["writer"], [])


# --- ports --------------------------------------------------------------------------------------------------

many = st.lists(names, max_size=40, unique=True)


@few
@given(many, st.dictionaries(names, st.integers(1024, 65535), max_size=5))
def test_ports_are_distinct_and_those_given_are_kept(instances: list[str], pinned: dict[str, int]) -> None:
    unique = {name: port for name, port in pinned.items() if list(pinned.values()).count(port) == 1}
    ports = assign_ports([*instances, *unique], unique)
    assert set(ports) == {*instances, *unique}
    assert len(set(ports.values())) == len(ports)
    assert ports.items() >= unique.items()
    assert all(port in PORTS for name, port in ports.items() if name not in unique)


@few
@given(many, st.randoms(use_true_random=False))
def test_the_order_of_the_fleet_does_not_matter(instances: list[str], chance: random.Random) -> None:
    shuffled = list(instances)
    chance.shuffle(shuffled)
    assert assign_ports(shuffled, {}) == assign_ports(instances, {})


@few
@given(many, many)
def test_another_agent_changes_no_port_unless_both_want_the_same(first: list[str], more: list[str]) -> None:
    alone = {name: assign_ports([name], {})[name] for name in {*first, *more}}
    before, after = assign_ports(first, {}), assign_ports([*first, *more], {})
    for name in first:
        collides = any(abs(alone[name] - alone[other]) <= len(alone) for other in alone if other != name)
        assert before[name] == after[name] or collides


def test_a_port_that_is_pinned_elsewhere_is_left_to_its_owner() -> None:
    own = assign_ports(["writer"], {})["writer"]
    ports = assign_ports(["writer", "editor"], {"editor": own})
    assert ports["editor"] == own
    assert ports["writer"] not in (own, None)


def test_no_port_is_one_that_linux_gives_to_outgoing_connections() -> None:
    assert (PORTS[0], PORTS[-1]) == (20000, 29999)
