# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts a status speaks against: those that have something wrong, each in its own words, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.status_verdicts import is_half_moved, verdicts

GONE = {"kind": "unreachable", "msg": "c: unreachable: no route to host"}


def agent(**changes: Any) -> dict[str, Any]:
    return {"name": "writer", "ready": True, "ill": "", "held": None, "drift": [], **changes}


def test_where_all_is_well_nobody_is_spoken_against() -> None:
    assert verdicts({"a": [agent()], "b": []}, {}, [], {}) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ready": False}, "not ready: writer"),
        ({"ill": "deaf"}, "ready, and not well: writer (deaf)"),
        ({"drift": ["unit"]}, "changed by hand: writer"),
        ({"ready": False, "drift": ["unit"]}, "not ready: writer; changed by hand: writer"),
        ({"ready": False, "held": {"moves_to": "b"}}, "stopped in the middle of a move: writer"),
    ],
)
def test_a_host_with_an_agent_that_is_not_well_is(changes: dict[str, Any], words: str) -> None:
    found = verdicts({"a": [agent(**changes)], "b": [agent()]}, {}, [], {})
    assert found == {"a": {"kind": "not_well", "msg": f"a: {words}"}}


def test_an_agent_that_is_held_is_as_it_should_be() -> None:
    assert verdicts({"a": [agent(ready=False, held={"moves_to": None})]}, {}, [], {}) == {}
    assert not is_half_moved(agent(held={"moves_to": None}))
    assert is_half_moved(agent(held={"moves_to": "b"}))


def test_a_host_without_an_answer_keeps_its_own_problem() -> None:
    assert verdicts({"a": [agent()]}, {"c": GONE}, [], {}) == {"c": GONE}


def test_what_runs_nowhere_is_said_once_by_the_first() -> None:
    found = verdicts({"a": [agent(ready=False)], "b": []}, {}, ["judge", "editor"], {})
    assert found == {"a": {"kind": "not_well", "msg": "a: not ready: writer; on no host: judge, editor"}}


def test_what_may_run_on_a_host_that_does_not_answer_is_held_against_no_other() -> None:
    assert verdicts({"a": [agent()]}, {"c": GONE}, ["judge"], {"writer": "1 of 2"}) == {"c": GONE}


def test_of_an_agent_that_lacks_instances_it_is_said_how_many_there_are() -> None:
    found = verdicts({"a": [agent()], "b": []}, {}, [], {"writer": "1 of 2"})
    assert found == {"a": {"kind": "not_well", "msg": "a: writer: 1 of 2 instances"}}
