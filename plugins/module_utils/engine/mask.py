# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets out of texts that people or programs will read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

HIDDEN = "********"
# Shorter values (a port, "on") would blot out ordinary words without protecting anything.
SHORTEST = 6
_CUT = "…"


def secret_values(secrets: Mapping[str, Mapping[str, str]]) -> list[str]:
    """All values worth hiding, longest first, also as they look inside JSON and in a text that was shortened."""
    values = {
        value for variables in secrets.values() for value in variables.values() if len(value) >= SHORTEST
    }
    values |= {json.dumps(value, ensure_ascii=escaped)[1:-1] for value in values for escaped in (True, False)}
    values |= {line for line in map(_on_one_line, values) if len(line) >= SHORTEST}
    return sorted(values, key=len, reverse=True)


def masked(text: str, values: Iterable[str]) -> str:
    hide = list(values)
    for value in hide:
        text = text.replace(value, HIDDEN)
    *cut, rest = text.split(_CUT)
    return "".join(_without_beginning(part, hide) + _CUT for part in cut) + rest


def shortened(text: str, most: int) -> str:
    """One line of `most` characters, in which `masked` finds a secret also where only its beginning is left."""
    line = _on_one_line(text)
    return line if len(line) <= most else line[:most] + _CUT


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _without_beginning(text: str, values: Iterable[str]) -> str:
    """The text, and if it ends with the beginning of a secret, without that."""
    lengths = (
        length
        for value in values
        for length in range(min(len(value) - 1, len(text)), SHORTEST - 1, -1)
        if text.endswith(value[:length])
    )
    longest = max(lengths, default=0)
    return text[:-longest] + HIDDEN if longest else text
