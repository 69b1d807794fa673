# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose secrets a rotation renews: a plan of nothing but the agents that use them, each on the release that it has.

Which secrets an agent uses is what its current release on its host says, not what its config in the fleet says by now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import did_you_mean
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry
from ansible_collections.muster.agents.plugins.plugin_utils.hooks import CONTROLLER
from ansible_collections.muster.agents.plugins.plugin_utils.plan import (
    DERIVED_PASSWORD,
    SECRET,
    Plan,
    as_document,
    hooks_of,
)
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy

Agent = Mapping[str, Any]


class CannotRotate(Exception):
    """What a person asked to rotate is not known, not used, or has no value; nothing was changed."""


def make_rotation(
    found: Mapping[str, Sequence[Agent]],
    names: Sequence[str],
    secrets: Sequence[str],
    vault: Collection[str],
    fleet: Mapping[str, Entry],
    rollout: Policy,
    *,
    complete: bool,
) -> dict[str, Any]:
    """A plan as `agent_plan` gives it, for the rotation of these agents' secrets and of these secrets of any agent.

    `found`: host → its agents as `agent_releases` gives them. `names` of agents and `secrets` may each be empty, for all.
    `vault`: the names in `agent_secrets`. `complete`: every host answered, so that what is not seen is nowhere. Raises
    CannotRotate.
    """
    everybody = [one for agents in found.values() for one in agents]
    _refuse_unknown_agents(names, everybody, fleet, complete=complete)
    _refuse_unknown_secrets(secrets, everybody, vault, complete=complete)
    hosts: dict[str, list[dict[str, Any]]] = {}
    for host, agents in found.items():
        for agent in agents:
            chosen = _chosen(agent, names, secrets)
            if lost := sorted(set(chosen) - set(vault)):
                raise CannotRotate(
                    f"{agent['name']} on {host} uses {', '.join(lost)}, which has no value in agent_secrets; nothing was changed"
                )
            if chosen:
                hosts.setdefault(host, []).append({"manifest": _manifest(agent, chosen)})
    keys = {one["manifest"]["base"] for several in hosts.values() for one in several} & set(fleet)
    plan = Plan(
        names=[],
        fleet=[],
        pool=list(found),
        ids=[],
        rollout=rollout,
        rollouts={key: policy for key in sorted(keys) if (policy := fleet[key].rollout)},
        hooks={key: here for key in sorted(keys) if (here := hooks_of(fleet[key], CONTROLLER))},
        hosts=hosts,
    )
    return {**as_document(plan), "brokers": [], "rotation": True}


def with_the_silent(
    staged: Mapping[str, Mapping[str, Any]], looked: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The results of staging, by host, without those of hosts that had not said which secrets they use: they were asked for
    none of them, and what they say of that is no answer."""
    return {**staged, **{host: one for host, one in looked.items() if "agents" not in one}}


def _manifest(agent: Agent, secrets: Mapping[str, Any]) -> dict[str, Any]:
    """As much of the manifest as the controller needs; the host has the whole."""
    return {
        "kind": "agent",
        "name": agent["name"],
        "base": agent["base"],
        "gate": {"agent_id": agent["agent_id"]},
        "secrets": dict(secrets),
    }


def _chosen(agent: Agent, names: Sequence[str], secrets: Sequence[str]) -> dict[str, Any]:
    """variable → source, of what is to be renewed for this agent."""
    if names and "all" not in names and not set(names) & set(_known_as(agent)):
        return {}
    return {
        variable: source
        for variable, source in _secrets(agent).items()
        if source["from"] == SECRET and (not secrets or source["name"] in secrets)
    }


def _known_as(agent: Agent) -> list[str]:
    return [agent[key] for key in ("name", "base", "agent_id") if agent[key]]


def _secrets(agent: Agent) -> Mapping[str, Mapping[str, str]]:
    """Of the current release."""
    return next((one["secrets"] for one in agent["releases"] if one["current"]), {})


def _refuse_unknown_agents(
    names: Sequence[str], everybody: Iterable[Agent], fleet: Mapping[str, Entry], *, complete: bool
) -> None:
    here = {word for agent in everybody for word in _known_as(agent)}
    known = sorted(here | set(fleet))
    for name in names:
        if name == "all" or name in here:
            continue
        if name not in fleet:
            raise CannotRotate(_unknown(f"no agent {name!r} in the fleet or on these hosts", name, known))
        if complete:
            raise CannotRotate(f"{name} is on no host yet; deploy.yml starts it with the secrets of today")


def _refuse_unknown_secrets(
    secrets: Sequence[str], everybody: Iterable[Agent], vault: Collection[str], *, complete: bool
) -> None:
    sources = [(variable, one) for agent in everybody for variable, one in _secrets(agent).items()]
    used = {one["name"] for _variable, one in sources if one["from"] == SECRET}
    derived = {variable for variable, one in sources if one["from"] == DERIVED_PASSWORD}
    for name in secrets:
        if name in derived - used:
            raise CannotRotate(
                f"{name} is derived from fleet_credentials_key: change that, and run deploy.yml, which tells the broker too"
            )
        if name not in used and name not in vault:
            raise CannotRotate(_unknown(f"no secret {name!r}", name, sorted(used)))
        if name not in used and complete:
            raise CannotRotate(_unknown(f"no agent uses the secret {name!r}", name, sorted(used)))


def _unknown(message: str, word: str, known: Sequence[str]) -> str:
    hint = did_you_mean(word, known)
    return f"{message}; known are {', '.join(known) or 'none'}" + (f" ({hint})" if hint else "")
