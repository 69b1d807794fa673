# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd's EnvironmentFile= syntax: written so that any printable value survives, and read back.

Source: systemd.exec(5). Inside double quotes only these four characters need a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import EngineError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = re.compile(r'(["\\$`])')
_UNESCAPED = re.compile(r'\\(["\\$`])')


def quote(value: str) -> str:
    return '"' + _ESCAPED.sub(r"\\\1", value) + '"'


def render(variables: Mapping[str, str]) -> str:
    """One `NAME="value"` a line, sorted. Raises EngineError naming the variable, never its value."""
    lines = []
    for name in sorted(variables):
        if not NAME.fullmatch(name):
            raise EngineError(f"{name!r} is not a name for an environment variable")
        if any(ord(character) < 32 and character != "\t" for character in variables[name]):
            raise EngineError(
                f"{name} holds a line break or control character; an environment file cannot carry it"
            )
        lines.append(f"{name}={quote(variables[name])}\n")
    return "".join(lines)


def parse(text: str) -> dict[str, str]:
    """What `render` wrote."""
    variables = {}
    for line in text.split("\n"):  # and at nothing else that Unicode calls a line's end
        name, found, value = line.partition("=")
        if found and len(value) >= 2 and value[0] == value[-1] == '"':
            variables[name] = _UNESCAPED.sub(r"\1", value[1:-1])
    return variables
