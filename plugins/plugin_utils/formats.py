# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The formats there are: every module of `readers/` that ends in `FORMATS`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.muster.agents.plugins.plugin_utils import codes
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Code
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Format

_READERS = "ansible_collections.muster.agents.plugins.plugin_utils.readers"


class _Formats(Mapping[str, Format]):
    """By name. A file in `readers/` is all that it takes to add one.

    Ansible compiles a collection's modules anew in every run, so a reader is imported only when all before it were not
    the one that is looked for: a fleet of TOML configs never pays for the others.
    """

    def __init__(self) -> None:
        folder = Path(__file__).resolve().parent / "readers"
        self._unread = sorted((path.stem for path in folder.glob("[a-z]*.py")), reverse=True)
        self._found: dict[str, Format] = {}

    def _read_one(self) -> None:
        module = importlib.import_module(f"{_READERS}.{self._unread.pop()}")
        self._found.update({one.name: one for one in module.FORMATS})

    def __getitem__(self, name: str) -> Format:
        while name not in self._found and self._unread:
            self._read_one()
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        seen = 0
        while seen < len(self._found) or self._unread:
            if seen == len(self._found):
                self._read_one()
            yield list(self._found)[seen]
            seen += 1

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Catalogue(Mapping[str, Code]):
    """Every code there is, by number; those of all formats first, so that their readers are not needed."""

    def __init__(self) -> None:
        self._general = {code.number: code for code in codes.GENERAL}

    def __getitem__(self, number: str) -> Code:
        if number in self._general:
            return self._general[number]
        for one in formats().values():
            for code in one.codes:
                if code.number == number:
                    return code
        raise KeyError(number)

    def __iter__(self) -> Iterator[str]:
        yield from self._general
        yield from dict.fromkeys(code.number for one in formats().values() for code in one.codes)

    def __len__(self) -> int:
        return len(list(iter(self)))


@functools.lru_cache(maxsize=1)
def formats() -> Mapping[str, Format]:
    return _Formats()


@functools.lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Code]:
    return _Catalogue()
