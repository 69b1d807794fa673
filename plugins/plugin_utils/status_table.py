# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs where, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine import status
from ansible_collections.muster.agents.plugins.module_utils.engine.table import moment, short, table
from ansible_collections.muster.agents.plugins.plugin_utils.status_verdicts import is_half_moved

_COLUMNS = ("AGENT", "HOST", "RELEASE", "SINCE", "STATE", "UPTIME", "RESTARTS", "PORT")


def status_table(
    agents: Sequence[Mapping[str, Any]],
    silent: Mapping[str, str],
    absent: Sequence[str] = (),
    fewer: Mapping[str, str] | None = None,
) -> str:
    """A header, a line for each agent, then what is wrong, in words. SINCE is when its release became current, in this
    machine's time, for the hosts may differ in theirs. `silent`: host → why it gave no answer;
    `absent`: agents that should run and were found nowhere; `fewer`: how many instances were found of those that lack some.
    """
    rows = [_row(agent) for agent in sorted(agents, key=lambda agent: (agent["name"], agent["host"]))]
    rows += [("?", host, *["-"] * (len(_COLUMNS) - 2)) for host in sorted(silent)]
    lines = table(_COLUMNS, rows).split("\n")
    notes = [f"{agent['name']} on {agent['host']}: {note}" for agent in agents for note in _notes(agent)]
    notes += [f"{host}: {reason}" for host, reason in sorted(silent.items())]
    notes += [f"{name}: on none of the hosts that answered" for name in absent]
    notes += [
        f"{name}: {found} instances on the hosts that answered" for name, found in (fewer or {}).items()
    ]
    if not rows:
        notes.append("no agent runs on these hosts")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _notes(agent: Mapping[str, Any]) -> list[str]:
    held = agent["held"]
    return [
        *(
            [f"held since {moment(held['since'])}{': ' if held['note'] else ''}{held['note']}"]
            if held
            else []
        ),
        *(["deploy again to finish the move"] if is_half_moved(agent) else []),
        *([agent["detail"]] if agent["detail"] and not held else []),
        *([f"drift: {', '.join(agent['drift'])}"] if agent["drift"] else []),
        *([f"overridden by {', '.join(agent['overrides'])}, which stays"] if agent["overrides"] else []),
        *(
            ["a release is unfinished; `muster resume` or the next deploy ends it"]
            if agent["unfinished"]
            else []
        ),
    ]


def _row(agent: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        agent["name"],
        agent["host"],
        short(agent["release"]),
        moment(agent["since"]),
        status.state_words(agent),
        status.uptime(agent),
        str(agent["restarts"]),
        str(agent["port"] or "-"),
    )
