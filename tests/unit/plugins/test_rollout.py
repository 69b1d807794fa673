# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts switch, and when a rollout stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import (
    Policy,
    exceeded,
    read_policy,
    waves,
)

TEN = [f"h{number}" for number in range(1, 11)]
GROWING = Policy(canary=1, then=("25%", "100%"))


def sizes(hosts: list[str], policy: Policy) -> list[int]:
    return [len(wave) for wave in waves({host: ["writer"] for host in hosts}, {}, policy)]


def test_a_canary_goes_first_then_a_share_then_the_rest() -> None:
    assert sizes(TEN, GROWING) == [1, 2, 7]


def test_the_last_size_is_repeated_until_all_are_done() -> None:
    assert sizes(TEN, Policy(canary=0, then=(4,))) == [4, 4, 2]


def test_by_default_one_host_goes_first_and_all_others_follow() -> None:
    assert sizes(TEN, Policy()) == [1, 9]
    assert sizes(["h1"], Policy()) == [1]


def test_hosts_go_in_the_order_of_the_inventory() -> None:
    order = waves({"b": ["writer"], "a": ["writer"]}, {}, Policy())
    assert [list(wave) for wave in order] == [["b"], ["a"]]


def test_nothing_pending_is_no_wave() -> None:
    assert waves({"a": [], "b": []}, {}, Policy()) == []


def test_an_agent_with_a_policy_of_its_own_is_divided_by_that_one() -> None:
    pending = {host: ["writer", "judge"] for host in TEN[:4]}
    order = waves(pending, {"judge": Policy(canary=2, then=(1,))}, Policy(canary=1))
    assert order[0] == {"h1": ["writer", "judge"], "h2": ["judge"]}
    assert order[1] == {"h2": ["writer"], "h3": ["writer", "judge"], "h4": ["writer"]}
    assert order[2] == {"h4": ["judge"]}


some_sizes = some.one_of(some.integers(1, 20), some.integers(1, 100).map("{}%".format))
policies = some.builds(Policy, canary=some.integers(0, 5), then=some.lists(some_sizes, min_size=1).map(tuple))


@given(
    pending=some.dictionaries(some.sampled_from(TEN), some.lists(some.sampled_from("wjre"), unique=True)),
    own=some.dictionaries(some.sampled_from("wj"), policies),
    default=policies,
)
def test_every_agent_is_switched_exactly_once(
    pending: dict[str, list[str]], own: dict[str, Policy], default: Policy
) -> None:
    found = [
        (host, name)
        for wave in waves(pending, own, default)
        for host, names in wave.items()
        for name in names
    ]
    assert sorted(found) == sorted((host, name) for host, names in pending.items() for name in names)
    assert len(found) == len(set(found))


def test_a_rollout_stops_above_max_failed() -> None:
    failed = [("h1", "writer"), ("h1", "judge"), ("h2", "writer")]
    assert exceeded(failed, {}, Policy(max_failed=1)) == "2 hosts failed, max_failed is 1"
    assert exceeded(failed, {}, Policy(max_failed=2)) == ""
    assert exceeded([], {}, Policy()) == ""


def test_failures_count_under_the_policy_of_their_agent() -> None:
    failed = [("h1", "writer"), ("h2", "judge")]
    assert (
        exceeded(failed, {"judge": Policy()}, Policy(max_failed=1))
        == "1 host of judge failed, max_failed is 0"
    )


def test_a_policy_is_read_and_completed() -> None:
    problems: list[Diagnostic] = []
    raw = {"canary": 2, "then": ["25%", 3, "100%"], "max_failed": 1, "pause": 60, "revert_switched": True}
    assert read_policy(raw, "fleet_rollout", problems) == Policy(2, ("25%", 3, "100%"), 1, 60, True)
    assert read_policy({"pause": 5}, "x", problems, Policy(canary=3)) == Policy(canary=3, pause=5)
    assert not problems


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([1, "25%"], "fleet_rollout: error MA403: must be a mapping such as"),
        ({"canry": 1}, "fleet_rollout.canry: error MA402: unknown; known are canary, then, max_failed, pause, revert_switched"
            " (did you mean canary?)"),
        ({"canary": -1}, "fleet_rollout.canary: error MA403: must be a whole number of hosts, 0 or more"),
        ({"canary": True}, "fleet_rollout.canary: error MA403: must be a whole number of hosts, 0 or more"),
        ({"then": []}, "fleet_rollout.then: error MA403: must be a list of sizes"),
        ({"then": ["0%"]}, "fleet_rollout.then: error MA403: must be a list of sizes"),
        ({"then": ["101%"]}, "fleet_rollout.then: error MA403: must be a list of sizes"),
        ({"then": "100%"}, "fleet_rollout.then: error MA403: must be a list of sizes"),
        ({"pause": -1}, "fleet_rollout.pause: error MA403: must be a number of seconds"),
        ({"revert_switched": "yes"}, "fleet_rollout.revert_switched: error MA403: must be true or false"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_policy_is_told_with_its_place(raw: object, said: str) -> None:
    problems: list[Diagnostic] = []
    assert read_policy(raw, "fleet_rollout", problems) == Policy()
    assert str(problems[0]).startswith(said)
