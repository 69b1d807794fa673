# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs where, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("AGENT", "HOST", "RELEASE", "CONFIG", "STATE", "READY", "UPTIME", "RESTARTS", "PORT")
_DIGITS = 8  # of a digest: enough to compare, and the table fits in 80 columns; JSON has them whole


def duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h02m`, `3d04h`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest word."""
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in [header, *rows]
    )


def status_table(
    agents: Sequence[Mapping[str, Any]], silent: Mapping[str, str], absent: Sequence[str] = ()
) -> str:
    """A header, a line for each agent, then what is wrong, in words. `silent`: host → why it gave no answer;
    `absent`: agents that should run and were found nowhere.
    """
    rows = [_row(agent) for agent in sorted(agents, key=lambda agent: (agent["name"], agent["host"]))]
    rows += [("?", host, *["-"] * (len(_COLUMNS) - 2)) for host in sorted(silent)]
    lines = text_table(_COLUMNS, rows).split("\n")
    notes = [f"{agent['name']} on {agent['host']}: {note}" for agent in agents for note in _notes(agent)]
    notes += [f"{host}: {reason}" for host, reason in sorted(silent.items())]
    notes += [f"{name}: on none of the hosts that answered" for name in absent]
    if not rows:
        notes.append("no agent runs on these hosts")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _notes(agent: Mapping[str, Any]) -> list[str]:
    held = agent["held"]
    return [
        *([f"held since {held['since']}{': ' if held['note'] else ''}{held['note']}"] if held else []),
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
        (agent["release"] or "-")[:_DIGITS],
        (agent["config_sha256"] or "-")[:_DIGITS],
        "held" if agent["held"] else agent["state"],
        "yes" if agent["ready"] else "NO",
        duration(agent["uptime_seconds"]),
        str(agent["restarts"]),
        str(agent["port"] or "-"),
    )
