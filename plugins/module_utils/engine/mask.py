# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets out of texts that people or programs will read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

HIDDEN = "********"
# Shorter values (a port, "on") would blot out ordinary words without protecting anything.
SHORTEST = 6


def secret_values(secrets: Mapping[str, Mapping[str, str]]) -> list[str]:
    """All values worth hiding, longest first, also as they look inside JSON."""
    values = {
        value for variables in secrets.values() for value in variables.values() if len(value) >= SHORTEST
    }
    values |= {json.dumps(value, ensure_ascii=escaped)[1:-1] for value in values for escaped in (True, False)}
    return sorted(values, key=len, reverse=True)


def masked(text: str, values: Iterable[str]) -> str:
    for value in values:
        text = text.replace(value, HIDDEN)
    return text
