# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose secrets are rotated: those that the releases on the hosts use, chosen by agent or by name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import Hook
from ansible_collections.muster.agents.plugins.plugin_utils.plan import workloads_of
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy
from ansible_collections.muster.agents.plugins.plugin_utils.rotation import (
    CannotRotate,
    make_rotation,
    with_the_silent,
)


def agent(name: str, *secrets: str, **more: Any) -> dict[str, Any]:
    """As a host tells of it: the current release uses `secrets`, the one before it another."""
    sources = {one: {"from": "secret", "name": one} for one in secrets}
    sources["MQTT_PASSWORD"] = {"from": "mqtt_password", "name": f"{name}-agent"}
    return {
        "name": name,
        "base": name.partition("-")[0],
        "agent_id": f"{name}-agent",
        "releases": [
            {"current": False, "secrets": {"OLD_KEY": {"from": "secret", "name": "OLD_KEY"}}},
            {"current": True, "secrets": sources},
        ],
        **more,
    }


HOSTS = {
    "one": [agent("researcher", "OPENAI", "SERPER"), agent("writer-1", "OPENAI")],
    "two": [agent("writer-2", "OPENAI")],
}
VAULT = {"OPENAI", "SERPER", "UNUSED"}
FLEET = {name: Entry(name) for name in ("researcher", "writer", "planned")}


def rotated(
    names: list[str] | None = None, secrets: list[str] | None = None, **changes: Any
) -> dict[str, dict[str, list[str]]]:
    """host → agent → the variables whose values go there."""
    options: dict[str, Any] = {
        "fleet": FLEET,
        "rollout": Policy(),
        "complete": True,
        "vault": VAULT,
        **changes,
    }
    found = options.pop("found", HOSTS)
    plan = make_rotation(found, names or [], secrets or [], **options)
    return {
        host: {one["manifest"]["name"]: sorted(one["manifest"]["secrets"]) for one in several}
        for host in found
        if (several := workloads_of(plan, host))
    }


def refusal(names: list[str], secrets: list[str], **changes: Any) -> str:
    with pytest.raises(CannotRotate) as caught:
        rotated(names, secrets, **changes)
    return str(caught.value)


def test_a_secret_goes_to_every_agent_that_uses_it_and_no_other_secret_does() -> None:
    everyone = {"one": {"researcher": ["OPENAI"], "writer-1": ["OPENAI"]}, "two": {"writer-2": ["OPENAI"]}}
    assert rotated(secrets=["OPENAI"]) == everyone
    assert rotated(secrets=["SERPER"]) == {"one": {"researcher": ["SERPER"]}}


@pytest.mark.parametrize("name", ["writer-2", "writer-2-agent"])
def test_an_agent_gets_all_of_its_own_but_the_derived_password(name: str) -> None:
    assert rotated(["researcher"]) == {"one": {"researcher": ["OPENAI", "SERPER"]}}
    assert rotated([name]) == {"two": {"writer-2": ["OPENAI"]}}
    assert rotated(["writer"]) == {"one": {"writer-1": ["OPENAI"]}, "two": {"writer-2": ["OPENAI"]}}


def test_both_narrow_each_other() -> None:
    assert rotated(["researcher", "writer-2"], ["OPENAI"]) == {
        "one": {"researcher": ["OPENAI"]},
        "two": {"writer-2": ["OPENAI"]},
    }
    assert rotated(["all"], ["SERPER"]) == rotated(secrets=["SERPER"])


@pytest.mark.parametrize(
    ("names", "secrets", "words"),
    [
        ([], ["OPENAPI"], ["no secret 'OPENAPI'", "known are OPENAI, SERPER", "did you mean OPENAI?"]),
        ([], ["UNUSED"], ["no agent uses the secret 'UNUSED'", "known are OPENAI, SERPER"]),
        ([], ["OLD_KEY"], ["no secret 'OLD_KEY'", "known are OPENAI, SERPER"]),
        ([], ["MQTT_PASSWORD"], ["derived from fleet_credentials_key", "deploy.yml"]),
        (["reseacher"], [], ["no agent 'reseacher'", "planned, researcher", "did you mean researcher?"]),
        (["planned"], [], ["planned is on no host yet", "deploy.yml"]),
    ],
)
def test_what_is_unknown_or_unused_is_refused_with_what_there_is(
    names: list[str], secrets: list[str], words: list[str]
) -> None:
    told = refusal(names, secrets)
    assert [word for word in words if word not in told] == []


def test_a_secret_that_left_the_vault_is_named() -> None:
    assert "researcher on one uses SERPER, which has no value in agent_secrets" in refusal(
        ["researcher"], [], vault={"OPENAI"}
    )


def test_what_a_silent_host_may_hold_is_not_called_unknown() -> None:
    alone = {"found": {"two": HOSTS["two"]}, "complete": False}
    assert rotated(secrets=["SERPER"], **alone) == {}
    assert rotated(["researcher"], **alone) == {}
    assert "no secret 'TYPO'" in refusal([], ["TYPO"], **alone)


def test_the_policies_and_hooks_are_those_of_the_agents_concerned() -> None:
    hook = Hook("controller", ("true",), 5.0)
    fleet = {
        "researcher": Entry("researcher", rollout=Policy(canary=0)),
        "writer": Entry("writer", rollout=Policy(canary=2), hooks={"pre_release": hook}),
    }
    plan = make_rotation(HOSTS, ["writer"], [], VAULT, fleet, Policy(canary=3), complete=True)
    assert plan["rollout"]["canary"] == 3
    assert {name: one["canary"] for name, one in plan["rollouts"].items()} == {"writer": 2}
    assert list(plan["hooks"]) == ["writer"]


def test_a_host_that_did_not_say_what_it_uses_has_not_been_asked_for_it() -> None:
    lost = {"problem": {"kind": "unreachable", "msg": "h2: unreachable: timed out"}}
    staged = {"h1": {"here": ["writer"]}, "h2": {"here": []}}
    found = with_the_silent(staged, {"h1": {"agents": []}, "h2": lost})
    assert found == {"h1": staged["h1"], "h2": lost}
