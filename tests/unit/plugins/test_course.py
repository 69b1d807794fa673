# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The course of a rollout: what follows from staging, when it stops, and what is told at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils import course

A, B = "a" * 16, "b" * 16


def plan(hosts: dict[str, list[str]], **changes: Any) -> dict[str, Any]:
    """A plan in which every agent is an instance `<key>-<number>` or just `<key>`."""
    return {
        "hosts": {
            host: json.dumps([{"manifest": {"name": name, "base": name.partition("-")[0]}} for name in names])
            for host, names in hosts.items()
        },
        "ids": sorted(name for names in hosts.values() for name in names),
        "rollout": {"canary": 1, "then": ["100%"], "max_failed": 0},
        "rollouts": {},
        **changes,
    }


def staged(here: list[str], pending: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "here": here,
        "ids": here,
        "pending": {name: ["agent.toml"] for name in (here if pending is None else pending)},
        "retire": [],
        "refused": {},
        "orphans": {},
        "held": {},
        **changes,
    }


def outcome(name: str, result: str = "released", **changes: Any) -> dict[str, Any]:
    after = B if result == "released" else A
    return {
        "name": name,
        "result": result,
        "before": A,
        "after": after,
        "reason": "",
        "log": [],
        "why": "agent.toml",
        **changes,
    }


def bad(name: str, result: str = "reverted", **changes: Any) -> dict[str, Any]:
    return outcome(name, result, phase="gate", reason="exited with status 1 after 0.4 s", **changes)


TWO = {"h1": ["writer-1"], "h2": ["writer-2"]}


def begun(hosts: dict[str, list[str]] = TWO, **changes: Any) -> course.Course:
    found = {host: staged(names) for host, names in hosts.items()}
    return course.begin(plan(hosts, **changes), list(hosts), found)


def ended(now: course.Course, back: dict[str, Any] | None = None) -> course.Course:
    return course.finished(now, back or {}, {}, {}, check_mode=False)


def test_where_nothing_differs_there_is_nothing_to_do() -> None:
    now = course.begin(
        plan(TWO), ["h1", "h2"], {"h1": staged(["writer-1"], []), "h2": staged(["writer-2"], [])}
    )
    assert course.over(now)
    assert ended(now)["text"] == "nothing to change: 2 agents on 2 hosts, as planned"
    assert ended(now)["verdicts"] == {}


def test_agents_are_switched_in_waves() -> None:
    assert [wave["switch"] for wave in begun()["waves"]] == [{"h1": ["writer-1"]}, {"h2": ["writer-2"]}]


def test_a_rollout_that_goes_well_is_told_in_a_line_for_each_agent() -> None:
    now = begun()
    for index, (host, name) in enumerate((("h1", "writer-1"), ("h2", "writer-2"))):
        now = course.after_wave(now, index, {host: {"outcomes": [outcome(name)]}}, {})
    assert not now["stop"]
    assert now["settled"]
    end = ended(now)
    assert end["text"].splitlines() == [
        "HOST  AGENT     RESULT   RELEASE               WHY",
        "h1    writer-1  changed  aaaaaaaa -> bbbbbbbb  agent.toml",
        "h2    writer-2  changed  aaaaaaaa -> bbbbbbbb  agent.toml",
        "",
        "2 changed, 0 unchanged, 0 reverted, 0 failed, 0 unreachable",
    ]
    assert end["verdicts"] == {}


def test_a_wave_that_failed_stops_the_rest() -> None:
    now = course.after_wave(begun(), 0, {"h1": {"outcomes": [bad("writer-1")]}}, {})
    assert now["stop"] == "1 host failed, max_failed is 0"
    end = ended(now)
    assert end["text"].splitlines()[1:] == [
        "h1    writer-1  reverted   stays aaaaaaaa  gate: exited with status 1 after 0.4 s",
        "h2    writer-2  not tried  -               1 host failed, max_failed is 0",
        "",
        "0 changed, 0 unchanged, 1 reverted, 0 failed, 0 unreachable",
    ]
    assert list(end["verdicts"]) == ["h1"]
    assert f"writer-1 was reverted to {A}, which is serving again" in end["verdicts"]["h1"]["msg"]
    assert not now["settled"]


def test_what_was_switched_goes_back_where_the_policy_says_so() -> None:
    policy = {"canary": 1, "then": ["100%"], "max_failed": 0, "revert_switched": True}
    now = course.after_wave(begun(rollout=policy), 0, {"h1": {"outcomes": [outcome("writer-1")]}}, {})
    assert not now["back"]
    now = course.after_wave(now, 1, {"h2": {"outcomes": [bad("writer-2")]}}, {})
    assert now["back"] == {"h1": {"writer-1": A}}
    end = ended(now, {"h1": {"outcomes": [outcome("writer-1", before=B, after=A)]}})
    assert end["counts"] == {"changed": 0, "unchanged": 0, "reverted": 2, "failed": 0, "unreachable": 0}
    assert end["verdicts"]["h1"]["msg"] == (
        f"writer-1 was reverted to {A}, which is serving again: revert: the new release {B} was taken back: "
        "1 host failed, max_failed is 0"
    )


def test_who_is_taken_back_for_a_hook_of_its_own_says_so() -> None:
    policy = {"canary": 1, "then": ["100%"], "max_failed": 0, "revert_switched": True}
    hook = {"phase": "post_release", "reason": "hook on the controller: ended with status 1", "log": ["no"]}
    now = course.after_wave(begun(rollout=policy), 0, {"h1": {"outcomes": [outcome("writer-1", **hook)]}}, {})
    assert now["back"] == {"h1": {"writer-1": A}}
    end = ended(now, {"h1": {"outcomes": [outcome("writer-1", before=B, after=A)]}})
    assert end["verdicts"]["h1"]["msg"] == (
        f"writer-1 was reverted to {A}, which is serving again: post_release: hook on the controller: "
        "ended with status 1\n    | no"
    )


def test_an_agent_that_was_new_has_nothing_to_go_back_to() -> None:
    policy = {"canary": 0, "then": ["100%"], "max_failed": 0, "revert_switched": True}
    found = {
        "h1": {"outcomes": [outcome("writer-1", before=None)]},
        "h2": {"outcomes": [bad("writer-2", "removed")]},
    }
    assert course.after_wave(begun(rollout=policy), 0, found, {})["back"] == {}


def test_a_refusal_anywhere_stops_before_anything_is_switched() -> None:
    refused = staged(["writer-2"], refused={"writer-2": "the runtime refused the config"})
    refused["problem"] = {"kind": "refused", "msg": "h2: writer-2: the runtime refused the config"}
    now = course.begin(plan(TWO), ["h1", "h2"], {"h1": staged(["writer-1"]), "h2": refused})
    assert now["stop"] == "1 refused, so nothing was switched"
    end = ended(now)
    assert end["counts"]["failed"] == 1
    assert "h1    writer-1  not tried  -        1 refused, so nothing was switched" in end["text"]


def test_an_unreachable_host_is_listed_and_the_others_go_on() -> None:
    lost = {"problem": {"kind": "unreachable", "msg": "h2: unreachable: no route to host"}}
    now = course.begin(plan(TWO), ["h1", "h2"], {"h1": staged(["writer-1"]), "h2": lost})
    assert [wave["switch"] for wave in now["waves"]] == [{"h1": ["writer-1"]}]
    assert not now["stop"]
    end = ended(course.after_wave(now, 0, {"h1": {"outcomes": [outcome("writer-1")]}}, {}))
    assert end["counts"] == {"changed": 1, "unchanged": 0, "reverted": 0, "failed": 0, "unreachable": 1}
    assert end["verdicts"] == {"h2": {"kind": "unreachable", "msg": "h2: unreachable: no route to host"}}


def test_a_host_that_is_lost_while_it_switches_counts_as_failed_and_stops_the_rest() -> None:
    lost = {"problem": {"kind": "unreachable", "msg": "h1: unreachable: timed out"}}
    now = course.after_wave(begun(), 0, {"h1": lost}, {})
    assert now["stop"] == "1 host failed, max_failed is 0"
    assert ended(now)["counts"]["unreachable"] == 1


def test_hosts_that_are_lost_one_after_the_other_count_together() -> None:
    four = {f"h{number}": [f"writer-{number}"] for number in range(1, 5)}
    now = begun(four, rollout={"canary": 1, "then": [1], "max_failed": 1})
    lost = {"kind": "unreachable", "msg": "unreachable: timed out"}
    now = course.after_wave(now, 0, {"h1": {"problem": lost}}, {})
    assert now["stop"] == ""
    now = course.after_wave(now, 1, {"h2": {"outcomes": [outcome("writer-2")]}}, {})
    assert now["stop"] == ""
    now = course.after_wave(now, 2, {"h3": {"problem": lost}}, {})
    assert now["stop"] == "2 hosts failed, max_failed is 1"


def test_a_host_that_ansible_dropped_is_not_forgotten() -> None:
    end = ended(course.after_wave(begun(), 0, {}, {}))
    assert end["problems"]["h1"]["kind"] == "failed"
    assert end["counts"]["failed"] == 1


def test_an_agent_that_moves_stops_in_the_wave_in_which_it_starts_elsewhere() -> None:
    homes = {"h1": ["writer-1"], "h2": ["judge"], "h3": []}
    found = {
        "h1": staged(["writer-1"]),
        "h2": staged(["judge"]),
        "h3": staged([], ids=["judge", "editor"], retire=["judge", "editor"]),
    }
    now = course.begin(plan(homes), list(homes), found)
    assert now["waves"] == [
        {"switch": {"h1": ["writer-1"]}, "retire": {"h3": ["editor"]}, "moves": {}},
        {"switch": {"h2": ["judge"]}, "retire": {"h3": ["judge"]}, "moves": {"h3": {"judge": "h2"}}},
    ]


def test_an_agent_stays_where_its_new_host_could_not_stage_it() -> None:
    homes = {"h2": ["judge"], "h3": []}
    lost = {"problem": {"kind": "unreachable", "msg": "h2: unreachable"}}
    found = {"h2": lost, "h3": staged([], retire=["judge"])}
    now = course.begin(plan(homes), list(homes), found)
    assert now["waves"] == []
    assert course.stranded(now, found) == [("h3", "judge")]


def test_nothing_is_switched_on_a_broker_that_is_not_as_planned() -> None:
    now = course.after_broker(begun(), {"h1": {"failed": True, "msg": "h1: a new key", "outcomes": []}})
    assert now["stop"] == "the broker on h1 is not as planned"
    assert ended(now)["verdicts"]["h1"]["msg"] == "h1: a new key"


def test_a_hook_that_failed_after_the_release_fails_the_run_but_not_the_release() -> None:
    late = outcome("writer-1", phase="post_release", warnings=["tell ended with status 1"])
    end = ended(course.after_wave(begun(), 0, {"h1": {"outcomes": [late]}}, {}))
    assert end["counts"]["failed"] == 1
    assert f"writer-1 is on {B} and healthy" in end["verdicts"]["h1"]["msg"]


def test_a_warning_is_no_failure() -> None:
    warned = outcome("writer-1", warnings=["history.jsonl: not written"])
    now = course.after_wave(begun(), 0, {"h1": {"outcomes": [warned]}}, {})
    assert not now["stop"]
    assert ended(now)["verdicts"] == {}


def test_what_somebody_else_has_switched_meanwhile_is_no_failure() -> None:
    now = course.after_wave(begun(), 0, {"h1": {"outcomes": []}}, {})
    assert not now["stop"]
    assert not now["problems"]


def test_a_broker_that_was_released_first_is_none_of_the_agents() -> None:
    broker = {"outcomes": [outcome("mosquitto", before=None)]}
    policy = {"canary": 1, "then": ["100%"], "max_failed": 0, "revert_switched": True}
    now = course.after_broker(begun(rollout=policy), {"h1": broker})
    now = course.after_wave(now, 0, {"h1": {"outcomes": [bad("writer-1")]}}, {})
    assert now["stop"] == "1 host failed, max_failed is 0"
    assert now["back"] == {}
    assert "mosquitto" in ended(now)["text"]


def test_after_a_restart_of_the_broker_all_that_it_serves_restarts_in_waves() -> None:
    """But not who has no broker, who is held, and who is on a host that could not be asked."""
    planned = plan({"h1": ["writer-1", "judge", "web"], "h2": ["writer-2"], "h3": ["editor"]})
    for host, text in planned["hosts"].items():
        workloads = json.loads(text)
        for one in workloads:
            one["manifest"].update({} if one["manifest"]["name"] == "web" else {"mqtt": {"url": "mqtt://b"}})
        planned["hosts"][host] = json.dumps(workloads)
    found: dict[str, dict[str, Any]] = {
        "h1": staged(["writer-1", "judge", "web"], ["writer-1"], held={"judge": {}}),
        "h2": staged(["writer-2"], []),
        "h3": {"problem": {"kind": "unreachable", "msg": "h3: unreachable"}},
    }
    for restarts, waves in (
        (True, [{"h1": ["writer-1"]}, {"h2": ["writer-2"]}]),
        (False, [{"h1": ["writer-1"]}]),
    ):
        broker = {"pending": ["conf"], "missing_packages": [], "restarts": restarts}
        now = course.begin(planned, list(found), {**found, "h1": {**found["h1"], "broker": broker}})
        assert [wave["switch"] for wave in now["waves"]] == waves
        assert now["restart"] == restarts


def test_a_broker_that_restarted_and_went_back_has_its_agents_restart_on_their_releases() -> None:
    """Not who is new, for there is nothing to restart; but who was about to move away."""
    hosts = {"h1": ["writer-1", "judge"], "h2": ["writer-2"], "h3": ["editor"]}
    planned = plan(hosts)
    for host, names in hosts.items():
        workloads = [
            {"manifest": {"name": name, "base": name.partition("-")[0], "mqtt": {}}} for name in names
        ]
        for one in workloads:
            one["manifest"]["mqtt"] = {"url": "mqtt://b"}  # type: ignore[dict-item]
        planned["hosts"][host] = json.dumps(workloads)
    broker = {"pending": ["conf"], "missing_packages": [], "restarts": True}
    new, old = {"before": None, "after": B}, {"before": A, "after": B}
    found = {
        "h1": staged(hosts["h1"], releases={"writer-1": old, "judge": new}, broker=broker),
        "h2": staged(hosts["h2"], [], retire=["editor"], releases={}),
        "h3": staged(hosts["h3"], releases={"editor": new}),
    }
    now = course.begin(planned, list(found), found)
    assert not now["stay"]
    back = {"failed": True, "msg": "h1: reverted", "outcomes": [bad("mosquitto")]}
    now = course.after_broker(now, {"h1": back})
    assert (now["stay"], now["stop"]) == (True, "")
    assert [wave["switch"] for wave in now["waves"]] == [{"h1": ["writer-1"]}, {"h2": ["writer-2", "editor"]}]
    assert not any(wave["retire"] for wave in now["waves"])
    for index, wave in enumerate(now["waves"]):
        result = {
            host: {"outcomes": [outcome(name, after=A, why="the broker was restarted") for name in names]}
            for host, names in wave["switch"].items()
        }
        now = course.after_wave(now, index, result, {})
    assert not course.over(now, len(now["waves"]))
    assert not now["settled"]
    end = ended(now)
    rows = {tuple(line.split()[:3]): line for line in end["text"].splitlines() if line.startswith("h")}
    assert "stays aaaaaaaa" in rows["h1", "writer-1", "changed"]
    assert "the broker on h1 is not as planned" in rows["h1", "judge", "not"]
    assert ("h3", "editor", "not") in rows
    assert end["counts"]["unchanged"] == 0
    assert "mosquitto was reverted" in end["verdicts"]["h1"]["msg"]


def test_a_broker_that_only_reloaded_and_went_back_restarts_nobody() -> None:
    back = {"failed": True, "msg": "h1: reverted", "outcomes": [bad("mosquitto")]}
    now = course.after_broker(begun(), {"h1": back})
    assert (now["stay"], now["stop"]) == (False, "the broker on h1 is not as planned")


def test_held_agents_are_told() -> None:
    hold = {"since": "2026-11-21 10:00", "note": "disk", "who": {}}
    now = course.begin(
        plan({"h1": ["writer"]}), ["h1"], {"h1": staged(["writer"], [], held={"writer": hold})}
    )
    assert course.over(now)
    assert ended(now)["text"].splitlines() == [
        "HOST  AGENT   RESULT  RELEASE  WHY",
        "h1    writer  held    -        since 2026-11-21 10:00: disk",
        "",
        "0 changed, 0 unchanged, 0 reverted, 0 failed, 0 unreachable; 1 held",
    ]


def test_the_pause_is_before_every_wave_but_the_first() -> None:
    now = begun(rollout={"canary": 1, "then": ["100%"], "pause": 30})
    assert [course.pause_before(now, index) for index in range(3)] == [0, 30, 0]
    assert course.pause_before({**now, "stop": "1 host failed"}, 1) == 0


def release(name: str, **marks: bool) -> dict[str, Any]:
    return {
        "release": name,
        "current": False,
        "proven": True,
        "previous": False,
        "staged_at": "today",
        **marks,
    }


def there(*releases: dict[str, Any], name: str = "writer-1") -> dict[str, Any]:
    return {
        "agents": [{"name": name, "base": "writer", "agent_id": f"{name}-id", "releases": list(releases)}]
    }


FOUND = {
    "h1": there(release(B, current=True), release(A, previous=True)),
    "h2": there(release("c" * 16, current=True), release("d" * 16, previous=True), name="writer-2"),
}


def test_a_rollback_goes_to_the_previous_proven_release_everywhere() -> None:
    now = course.begin_rollback(["h1", "h2"], FOUND, ["writer"], "")
    assert now["targets"] == {"h1": {"writer-1": A}, "h2": {"writer-2": "d" * 16}}
    done = {
        host: {"outcomes": [outcome(name, before=B, after=A, why="rollback")]}
        for host, name in (("h1", "writer-1"), ("h2", "writer-2"))
    }
    assert ended(course.after_wave(now, 0, done, {}))["counts"]["changed"] == 2


def test_a_rollback_to_a_release_concerns_the_hosts_that_have_it() -> None:
    assert course.begin_rollback(["h1", "h2"], FOUND, ["all"], "dddd")["targets"] == {
        "h2": {"writer-2": "d" * 16}
    }


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        (["writr"], "", "no agent writr on these hosts; there are writer, writer-1, writer-1-id, writer-2, writer-2-id"),
        (["writer"], "eeee", f"writer-1 on h1 has no release 'eeee' to go back to; there are {B} (current, proven, "),
        (["writer-1"], B, f"writer-1 on h1 has no release '{B}' to go back to"),
    ],
)  # fmt: skip
def test_a_rollback_that_cannot_be_is_refused_with_what_there_is(
    names: list[str], wanted: str, said: str
) -> None:
    with pytest.raises(course.NoSuchRelease) as caught:
        course.begin_rollback(["h1", "h2"], FOUND, names, wanted)
    assert said in str(caught.value)


def test_a_rollback_with_nothing_to_go_back_to_changes_nothing() -> None:
    only = {"h1": there(release(B, current=True)), "h2": FOUND["h2"]}
    with pytest.raises(course.NoSuchRelease) as caught:
        course.begin_rollback(["h1", "h2"], only, ["writer"], "")
    assert "nothing was changed:\nwriter-1 on h1 has no proven release to go back to" in str(caught.value)


def test_hosts_that_do_not_answer_are_listed_and_the_others_go_back() -> None:
    lost = {"problem": {"kind": "unreachable", "msg": "h2: unreachable"}}
    now = course.begin_rollback(["h1", "h2"], {"h1": FOUND["h1"], "h2": lost}, ["writer"], "")
    assert now["targets"] == {"h1": {"writer-1": A}}
    assert now["problems"] == {"h2": {"kind": "unreachable", "msg": "h2: unreachable"}}


def test_an_agent_that_nobody_knows_may_be_on_a_host_that_did_not_tell() -> None:
    lost = {"problem": {"kind": "unreachable", "msg": "h2: unreachable: timed out"}}
    with pytest.raises(course.NoSuchRelease) as caught:
        course.begin_rollback(["h1", "h2"], {"h1": FOUND["h1"], "h2": lost}, ["judge"], "")
    assert str(caught.value) == (
        "no agent judge on the hosts that answered; there are writer, writer-1, writer-1-id; "
        "h2 did not tell: unreachable: timed out"
    )


MOVE = {"h2": ["judge"], "h3": []}


def moving(*outcomes: dict[str, Any]) -> course.Course:
    """After the wave in which the judge moves from h3 to h2, which says `outcomes` of it."""
    found = {"h2": staged(["judge"]), "h3": staged([], ids=["judge"], retire=["judge"])}
    now = course.begin(plan(MOVE), list(MOVE), found)
    switched = {"h2": {"outcomes": list(outcomes)}} if outcomes else {}
    return course.after_wave(now, 0, switched, {"h3": {"retired": [], "moving": ["judge"]}})


def test_an_agent_that_moved_leaves_its_old_host_only_then() -> None:
    now = moving(outcome("judge", before=None))
    assert (now["moved"], now["come_back"], now["in_doubt"]) == ({"h3": ["judge"]}, {}, {})
    assert not course.over(now, 1)
    rows = ended(now)["text"].splitlines()
    assert "h3    judge  retired  -              moved away" in rows


@pytest.mark.parametrize("result", ["removed", "refused"])
def test_an_agent_that_could_not_move_goes_on_where_it_was(result: str) -> None:
    now = moving(bad("judge", result, before=None))
    assert (now["moved"], now["come_back"], now["in_doubt"]) == ({}, {"h3": ["judge"]}, {})
    end = course.finished(now, {}, {"h3": {"unheld": ["judge"], "unready": {}}}, {}, check_mode=False)
    assert any(
        row.split()[:3] == ["h3", "judge", "stays"] and "healthy here again" in row
        for row in end["text"].splitlines()
    )
    assert list(end["verdicts"]) == ["h2"]


@pytest.mark.parametrize("told", [{"problem": {"kind": "busy", "msg": "h3: busy: held by a person"}}, None])
def test_an_agent_that_could_not_be_stopped_is_started_nowhere_else(told: dict[str, Any] | None) -> None:
    hosts = {"h2": ["judge", "writer"], "h3": []}
    found = {"h2": staged(["judge", "writer"]), "h3": staged([], retire=["judge"])}
    now = course.begin(plan(hosts), ["h2", "h3"], found)
    now = course.without_the_unstopped(now, 0, {"h3": told} if told else {})
    assert now["waves"][0]["switch"] == {"h2": ["writer"]}
    retired = {"h3": told} if told else {}
    now = course.after_wave(now, 0, {"h2": {"outcomes": [outcome("writer")]}}, retired)
    text = ended(now)["text"]
    assert "h2    judge   not tried  -                     it may still run on h3; deploy again" in text
    assert text.endswith("1 changed, 0 unchanged, 0 reverted, 1 failed, 0 unreachable")
    assert list(ended(now)["verdicts"]) == ["h3"]


def test_an_agent_that_stopped_is_started_where_it_moves_to() -> None:
    now = moving()
    assert course.without_the_unstopped(now, 0, {"h3": {"moving": ["judge"]}}) == now


def test_an_agent_that_does_not_go_on_where_it_was_fails_that_host_too() -> None:
    now = moving(bad("judge", "removed", before=None))
    for came_back in ({}, {"h3": {"unheld": ["judge"], "unready": {"judge": "exited"}}}):
        end = course.finished(now, {}, came_back, {}, check_mode=False)
        assert sorted(end["verdicts"]) == ["h2", "h3"]


@pytest.mark.parametrize("outcomes", [(), (bad("judge", "failed", before=None),)])
def test_an_agent_of_which_nobody_knows_where_it_runs_is_started_nowhere(
    outcomes: tuple[dict[str, Any], ...],
) -> None:
    now = moving(*outcomes)
    assert (now["moved"], now["come_back"], now["in_doubt"]) == ({}, {}, {"h3": ["judge"]})
    assert "nobody knows whether it runs where it moves to" in ended(now)["text"]
