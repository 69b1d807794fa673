# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the inventory's files say what was found wrong with `fleet.writer.port`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.config_file import get, parse
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import WHERE
from ansible_collections.muster.agents.plugins.plugin_utils.reading import place_of
from ansible_collections.muster.agents.plugins.plugin_utils.source import Path, Source, SourceError

# Ansible's own; what the values behind them are is no matter here.
_TAGS = re.compile(r"!(?:vault-encrypted|vault|unsafe)(?=\s)")
# Where variables for all hosts stand in a file of variables, and in an inventory.
_PLAIN: Path = ()
_INVENTORY: Path = ("all", "vars")


class FleetPlaces:
    """Finds where variables stand. What is templated, encrypted or given on the command line has its path only.

    `fleet`: as Ansible has it; a file that defines another one is not where it came from. `variable_files`: those for all
    hosts, the one that wins last; `inventories`: files that may be YAML inventories, likewise. `shown`: a file's name for
    people.
    """

    def __init__(
        self,
        fleet: object,
        variable_files: Sequence[FilePath],
        inventories: Sequence[FilePath],
        shown: Callable[[FilePath], str],
    ) -> None:
        self._names = set(fleet) if isinstance(fleet, Mapping) else None
        self._files = [(path, _PLAIN) for path in reversed(variable_files)]
        self._files += [(path, _INVENTORY) for path in reversed(inventories)]
        self._shown = shown
        self._sources: dict[FilePath, Source | None] = {}

    def put(self, one: Diagnostic) -> Diagnostic:
        """The finding with its place, where it has none and a file says where."""
        if one.file:
            return one
        for path, at in self._files:
            source = self._source(path)
            variables = get(source.value, at) if source else None
            if source and self._defines(variables, one.path.partition(".")[0]):
                line, column = place_of(source, (*at, *path_in(variables, one.path)))
                # A place hides the path, which the message then says.
                message = f"{one.path}: {one.message}"
                return replace(one, file=self._shown(path), line=line, column=column, message=message)
        return one

    def _defines(self, variables: Any, name: str) -> bool:
        if not isinstance(variables, dict) or name not in variables:
            return False
        written = variables[name]
        return name != WHERE or not isinstance(written, dict) or set(written) == self._names

    def _source(self, path: FilePath) -> Source | None:
        if path not in self._sources:
            try:
                text = _TAGS.sub(lambda match: " " * len(match[0]), path.read_text("utf-8"))
                self._sources[path] = parse(text, path.suffix.lower())
            except (OSError, ValueError, SourceError):
                self._sources[path] = None
        return self._sources[path]


def path_in(document: Any, text: str) -> Path:
    """The path that a dotted text means here, as far as there are such keys; keys may hold dots themselves."""
    path: list[str | int] = []
    words = text.split(".")
    while words and isinstance(document, (dict, list)):
        if isinstance(document, list):
            if not words[0].isdecimal() or int(words[0]) >= len(document):
                break
            index = int(words[0])
            path.append(index)
            document, words = document[index], words[1:]
            continue
        length = next((end for end in range(len(words), 0, -1) if ".".join(words[:end]) in document), 0)
        if not length:
            break
        key = ".".join(words[:length])
        path.append(key)
        document, words = document[key], words[length:]
    return tuple(path)
