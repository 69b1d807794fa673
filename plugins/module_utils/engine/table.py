# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plain tables, times and durations for people."""

from __future__ import annotations

import datetime
import shutil
import sys
import time
from collections.abc import Iterable, Sequence

DIGITS = 8  # of a digest: enough to tell releases apart, and accepted wherever a release is asked for
_NARROWEST = 20


def table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Columns as wide as their contents, numbers to the right. Lines are cut at `width`, None leaves them whole."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    columns = [{line[index] for line in lines[1:]} - {"-"} for index in range(len(header))]
    numeric = [bool(words) and all(word.isdigit() for word in words) for words in columns]
    shown = [
        "  ".join(
            word.rjust(wide) if right else word.ljust(wide)
            for word, wide, right in zip(line, widths, numeric)
        ).rstrip()
        for line in lines
    ]
    return "\n".join(
        line if width is None or len(line) <= width else line[: width - 1] + "…" for line in shown
    )


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None for a file or a pipe, which gets everything."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


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


def written(seconds: float) -> str:
    """A moment (seconds since the epoch) as the history writes it: `2026-11-21T13:55:29Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def epoch(text: str | None) -> float | None:
    """The reverse, also of times with an offset; None where it is no time."""
    try:
        return datetime.datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None


def moment(text: str | None) -> str:
    """A written time as people read it: to the minute, in the host's own time."""
    seconds = epoch(text)
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def short(release: str | None) -> str:
    return (release or "-")[:DIGITS]
