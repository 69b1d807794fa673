# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""TOML text and where each key stands in it, so that every problem can be told as file:line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from muster_agent.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.\-\s\"']+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"']+)\s*=")
_POSITION = re.compile(r"^(.*?) \(at line (\d+), column \d+\)$", re.DOTALL)


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The document and the line of each of its `table.key`. Raises ConfigError with file:line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return tomllib.loads(text), key_lines(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.match(str(error))
        where, reason = (f"{path}:{match.group(2)}", match.group(1)) if match else (str(path), str(error))
        raise ConfigError([f"{where}: not valid TOML: {reason}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: nested too deeply"]) from None


def key_lines(text: str) -> dict[str, int]:
    """Lines (from 1) of the tables and of the keys that start a line, by dotted name."""
    lines: dict[str, int] = {}
    table, quote = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        if quote is not None:
            quote = None if line.count(quote) % 2 else quote
            continue
        header, key = _TABLE.match(line), _KEY.match(line)
        if header:
            table = _bare(header.group(1))
            lines.setdefault(table, number)
        elif key:
            name = _bare(key.group(1))
            lines.setdefault(f"{table}.{name}" if table else name, number)
        quote = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), None)
    return lines


def _bare(name: str) -> str:
    return re.sub(r"[\s\"']", "", name)
