# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs where, as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.table import duration, moment
from ansible_collections.muster.agents.plugins.plugin_utils.status_table import status_table
from ansible_collections.muster.agents.plugins.plugin_utils.status_verdicts import is_half_moved

SINCE = "2026-01-02T03:04:05Z"


def agent(**changes: Any) -> dict[str, Any]:
    return {
        "name": "writer",
        "host": "b",
        "release": "0123456789abcdef",
        "since": SINCE,
        "state": "active",
        "ready": True,
        "ill": "",
        "uptime_seconds": 61,
        "restarts": 0,
        "port": 20001,
        "detail": "",
        "held": None,
        "drift": [],
        "overrides": [],
        "unfinished": False,
        **changes,
    }


def test_a_line_for_each_agent_by_name_and_host() -> None:
    table = status_table([agent(), agent(name="a-much-longer-name", host="a"), agent(host="a")], {})
    assert table.splitlines() == [
        "AGENT               HOST   RELEASE  SINCE             STATE  UPTIME  RESTARTS   PORT",
        f"a-much-longer-name  a     01234567  {moment(SINCE)}  ready  1m01s          0  20001",
        f"writer              a     01234567  {moment(SINCE)}  ready  1m01s          0  20001",
        f"writer              b     01234567  {moment(SINCE)}  ready  1m01s          0  20001",
    ]


def test_what_is_wrong_is_said_below_in_words() -> None:
    sick = agent(
        ready=False,
        state="failed",
        release=None,
        since=None,
        port=None,
        detail="exited with status 3",
    )
    table = status_table([sick], {"c": "Connection timed out"})
    assert table.splitlines()[1:] == [
        "writer  b     -        -      failed  -              0  -",
        "?       c     -        -      -       -              -  -",
        "",
        "writer on b: exited with status 3",
        "c: Connection timed out",
    ]


def test_an_agent_that_is_held_is_not_sick() -> None:
    held = agent(
        ready=False, state="inactive", detail="unit is inactive", held={"since": SINCE, "note": "disk"}
    )
    table = status_table([held], {})
    assert table.splitlines()[1:] == [
        f"writer  b     01234567  {moment(SINCE)}  held   -              0  20001",
        "",
        f"writer on b: held since {moment(SINCE)}: disk",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ill": "deaf", "detail": "no word for 60 s"}, "deaf"),
        ({"ready": False, "ill": "stuck"}, "not ready"),
        ({"ready": False, "state": "activating"}, "activating"),
    ],
)
def test_the_state_says_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    line, *notes = status_table([agent(**changes)], {}).splitlines()[1:]
    assert f"  {words}  " in line
    assert ("writer on b: no word for 60 s" in notes) is ("detail" in changes)


def test_what_was_changed_by_hand_is_said() -> None:
    table = status_table(
        [agent(drift=["unit", "not enabled"], overrides=["/etc/x.conf"], unfinished=True)], {}
    )
    assert table.splitlines()[3:] == [
        "writer on b: drift: unit, not enabled",
        "writer on b: overridden by /etc/x.conf, which stays",
        "writer on b: a release is unfinished; `muster resume` or the next deploy ends it",
    ]


def test_an_empty_fleet_is_said_to_be_empty() -> None:
    assert status_table([], {}).endswith("\n\nno agent runs on these hosts")


def test_of_whom_some_instances_are_missing_it_is_said_how_many_are_there() -> None:
    assert "\nwriter: 1 of 2 instances on the hosts that answered" in status_table(
        [agent()], {}, [], {"writer": "1 of 2"}
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (18120, "5h02m"),
        (86399, "23h59m"),
        (86400, "1d00h"),
        (273600, "3d04h"),
    ],
)
def test_a_duration_has_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("moves_to", "told"), [("h2", True), ("", False)])
def test_who_was_stopped_for_a_move_needs_somebody_and_who_is_held_does_not(
    moves_to: str, told: bool
) -> None:
    held = {
        "since": "2026-01-02T03:04:05Z",
        "user": "admin",
        "host": "laptop",
        "note": "why",
        "moves_to": moves_to,
    }
    one = agent(held=held, ready=False, state="inactive")
    assert is_half_moved(one) is told
    assert ("deploy again to finish the move" in status_table([one], {})) is told
    assert not is_half_moved(agent())
