# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order a fleet's hosts switch: a canary, then growing waves, and when a rollout stops.

A wave is a part of the hosts that have something to switch. Sizes are as in Ansible's `serial`: a number of hosts, or a share
of all of them. An agent with a policy of its own is divided by that one, and shares the waves of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    did_you_mean,
    fleet_error,
)

_LONGEST_PAUSE = 86400


@dataclass(frozen=True)
class Policy:
    """`canary` hosts go first, `then` says how many follow in each wave (the last one again until all are done).

    Above `max_failed` hosts the rollout stops; `revert_switched` then takes the others back, too. `pause` in seconds.
    """

    canary: int = 1
    then: tuple[int | str, ...] = ("100%",)
    max_failed: int = 0
    pause: float = 0.0
    revert_switched: bool = False

    def sizes(self, hosts: int) -> Iterator[int]:
        """Of each wave, for so many hosts in all; it does not end."""
        if self.canary:
            yield self.canary
        for size in self.then:
            yield _hosts(size, hosts)
        while True:
            yield _hosts(self.then[-1], hosts)


def _hosts(size: int | str, hosts: int) -> int:
    return size if isinstance(size, int) else max(1, hosts * int(size.rstrip("%")) // 100)


def read_policy(
    raw: object, where: str, problems: list[Diagnostic], default: Policy | None = None, agent: str = ""
) -> Policy:
    """A policy as a person wrote it; what it leaves out is as in `default`. Every mistake is added to `problems`, as MA403."""
    policy = default or Policy()
    if raw is None:
        return policy
    if not isinstance(raw, Mapping):
        message = "must be a mapping such as {canary: 1, then: [25%, 100%], max_failed: 0}"
        problems.append(fleet_error("MA403", where, message, agent=agent))
        return policy
    known = tuple(Policy.__dataclass_fields__)
    found: dict[str, Any] = {}
    for key, value in raw.items():
        place = f"{where}.{key}"
        if key not in known:
            message = f"unknown; known are {', '.join(known)}"
            problems.append(fleet_error("MA402", place, message, did_you_mean(str(key), known), agent=agent))
        elif (complaint := _complaint(key, value)) is not None:
            problems.append(fleet_error("MA403", place, complaint, agent=agent))
        else:
            found[key] = tuple(value) if key == "then" else value
    return replace(policy, **found)


def _complaint(key: str, value: object) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key in ("canary", "max_failed"):
        return None if whole and int(value) >= 0 else "must be a whole number of hosts, 0 or more"  # type: ignore[call-overload]
    if key == "pause":
        good = (
            isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST_PAUSE
        )
        return None if good else f"must be a number of seconds from 0 to {_LONGEST_PAUSE}"
    if key == "revert_switched":
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, (list, tuple)) and value and all(map(_is_size, value)):
        return None
    return "must be a list of sizes, each a number of hosts or a share of them: [25%, 100%]"


def _is_size(value: object) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"[1-9][0-9]?%|100%", value))
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def waves(
    pending: Mapping[str, Sequence[str]], policies: Mapping[str, Policy], default: Policy
) -> list[dict[str, list[str]]]:
    """Each wave: host → the agents that it switches then.

    `pending`: host → agents by their key in the fleet, hosts in the order in which they are to go. `policies`: those of agents
    that have their own.
    """
    found: list[dict[str, list[str]]] = []
    for own in (None, *policies):
        policy = default if own is None else policies[own]
        concerned = {
            host: [name for name in names if (name == own if own else name not in policies)]
            for host, names in pending.items()
        }
        hosts = [host for host, names in concerned.items() if names]
        for index, part in enumerate(_parts(hosts, policy)):
            while len(found) <= index:
                found.append({})
            for host in part:
                found[index].setdefault(host, []).extend(concerned[host])
    return found


def _parts(hosts: Sequence[str], policy: Policy) -> Iterator[Sequence[str]]:
    done = 0
    for size in policy.sizes(len(hosts)):
        if done >= len(hosts):
            return
        yield hosts[done : done + size]
        done += size


def exceeded(failed: Iterable[tuple[str, str]], policies: Mapping[str, Policy], default: Policy) -> str:
    """Why the rollout stops, "" while it goes on. `failed`: (host, agent's key in the fleet) of all that went wrong."""
    by_policy: dict[str, set[str]] = {}
    for host, name in failed:
        by_policy.setdefault(name if name in policies else "", set()).add(host)
    for name, hosts in sorted(by_policy.items()):
        allowed = (policies[name] if name else default).max_failed
        if len(hosts) > allowed:
            what = f" of {name}" if name else ""
            return (
                f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}{what} failed, max_failed is {allowed}"
            )
    return ""
