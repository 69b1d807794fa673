# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts a status speaks against, and why: what makes Ansible's recap and exit code as honest as the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOT_WELL = "not_well"


def verdicts(
    answered: Mapping[str, Sequence[Mapping[str, Any]]],
    silent: Mapping[str, Mapping[str, str]],
    absent: Sequence[str],
    fewer: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """host → its problem (`kind`, `msg`), for each host that is not as it should be.

    `answered` has the agents of every host that told, `silent` the problems of those that did not. What is `absent`, or of
    which there are `fewer` instances, is no host's own: where all hosts answered the first says so, and else nobody knows.
    """
    complaints = {host: _complaints(agents) for host, agents in answered.items()}
    if complaints and not silent:
        missing = [f"on no host: {', '.join(absent)}"] if absent else []
        missing += [f"{name}: {found} instances" for name, found in fewer.items()]
        next(iter(complaints.values())).extend(missing)
    found = {
        host: {"kind": NOT_WELL, "msg": f"{host}: {'; '.join(why)}"}
        for host, why in complaints.items()
        if why
    }
    return found | {host: dict(problem) for host, problem in silent.items()}


def is_half_moved(agent: Mapping[str, Any]) -> bool:
    """Stopped for a move to another host that nobody finished; unlike what a person holds, that needs somebody."""
    return bool((agent["held"] or {}).get("moves_to"))


def _complaints(agents: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = (
        ("not ready", [one["name"] for one in agents if not one["ready"] and not one["held"]]),
        (
            "ready, and not well",
            [f"{one['name']} ({one['ill']})" for one in agents if one["ready"] and one["ill"]],
        ),
        ("stopped in the middle of a move", [one["name"] for one in agents if is_half_moved(one)]),
        ("changed by hand", [one["name"] for one in agents if one["drift"]]),
    )
    return [f"{what}: {', '.join(sorted(who))}" for what, who in parts if who]
