# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One file of a config: its text as it stands, and its document as the agent will get it."""

from __future__ import annotations

import codecs
import errno
import importlib
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.source import Path, Source, SourceError

LARGEST = 1 << 20
# Imported when a file needs it: Ansible compiles a collection's modules anew in every run.
_BY_ENDING = {".toml": "toml_source", ".yaml": "yaml_source", ".yml": "yaml_source", ".json": "json_source"}
_CLASSES = {"toml_source": "TomlSource", "yaml_source": "YamlSource", "json_source": "JsonSource"}
_PACKAGE = "ansible_collections.muster.agents.plugins.plugin_utils"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, eq=False)
class ConfigFile:
    """`shown` is the path as people know it, `name` the file's own. `source` is the text as it stands.

    `overrides` are the fleet's for this file, `written` is the value after them. `document` is that with known placeholders
    in settings resolved; `placeholders` has, by path, the settings' strings that held one, as written.
    """

    path: FilePath
    shown: str
    name: str
    source: Source
    written: Any
    document: Any
    overrides: dict[str, Any] = field(default_factory=dict)
    placeholders: dict[Path, str] = field(default_factory=dict)


def load_source(path: FilePath) -> Source:
    """The file as a document. Raises SourceError for whatever is wrong with it; only regular files are opened."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceError("MA101", "is a folder, not a file", 0, 0)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("MA101", "is not a regular file", 0, 0)
        if status.st_size > LARGEST:
            size = f"{status.st_size / LARGEST:.0f} MiB"
            raise SourceError("MA102", f"is {size} large; an agent config has at most 1 MiB", 0, 0)
        data = path.read_bytes()
    except OSError as error:
        raise SourceError("MA101", _reason(error), 0, 0) from None
    except ValueError:  # a NUL in the name
        raise SourceError("MA101", "has a name that no file can have", 0, 0) from None
    return parse(_decode(data), path.suffix.lower())


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "its links lead in a circle"
    if error.errno == errno.ENOENT:
        return "does not exist"
    return f"cannot be opened: {error.strerror}"


def _decode(data: bytes) -> str:
    if data.startswith(_UTF_16):
        raise SourceError("MA102", "is UTF-16; save it as UTF-8", 0, 0)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise SourceError("MA102", "is not UTF-8 here; save it as UTF-8", line, column) from None
    nul = text.find("\0")
    if nul >= 0:
        line, column = text.count("\n", 0, nul) + 1, nul - text.rfind("\n", 0, nul)
        raise SourceError("MA102", "is a binary file", line, column)
    return text


def parse(text: str, ending: str) -> Source:
    """By the file's ending; where that says nothing, by whichever notation the text is valid in."""
    if ending in _BY_ENDING:
        return _notation(_BY_ENDING[ending])(text)
    for name in ("json_source", "toml_source"):
        try:
            return _notation(name)(text)
        except SourceError:
            continue
    return _notation("yaml_source")(text)


def _notation(module: str) -> Callable[[str], Source]:
    found: Callable[[str], Source] = getattr(
        importlib.import_module(f"{_PACKAGE}.{module}"), _CLASSES[module]
    )
    return found


PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)(?::-([^}]*))?\}")


def resolve(
    document: Any,
    prose: frozenset[str],
    value_of: Callable[[str], str | None],
) -> tuple[Any, dict[Path, str]]:
    """The document with `${NAME}` and `${NAME:-default}` in settings replaced where a value is known.

    Also every setting that holds a placeholder, by path, as written. Strings below a key of `prose` stay as they are.
    """
    found = {
        path: value
        for path, value in strings(document)
        if "${" in value and not is_prose(path, prose) and PLACEHOLDER.search(value)
    }
    for path, value in found.items():
        document = _with(document, path, substitute(value, value_of))
    return document, found


def substitute(text: str, value_of: Callable[[str], str | None]) -> str:
    """Placeholders without a value and without a default stay."""

    def one(match: re.Match[str]) -> str:
        value = value_of(match[1])
        if value is None:
            value = match[2]
        return match[0] if value is None else value

    return PLACEHOLDER.sub(one, text)


def is_prose(path: Path, prose: frozenset[str]) -> bool:
    return any(part in prose for part in path)


def strings(document: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every string value with its path, in the order of the document."""
    if isinstance(document, str):
        yield path, document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from strings(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from strings(value, (*path, index))


def keys(document: Any) -> set[str]:
    """Every key, at any depth."""
    if isinstance(document, dict):
        return {str(key) for key in document}.union(*map(keys, document.values()))
    return set().union(*map(keys, document)) if isinstance(document, list) else set()


def _with(document: Any, path: Path, value: Any) -> Any:
    """The document with one value replaced; what is not on the way is shared with the old one."""
    if not path:
        return value
    changed: Any = list(document) if isinstance(document, list) else dict(document)
    changed[path[0]] = _with(document[path[0]], path[1:], value)
    return changed


def get(document: Any, path: Path) -> Any:
    """The value at a path; None where there is none."""
    for part in path:
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and 0 <= part < len(document):
            document = document[part]
        else:
            return None
    return document


def dotted(path: Path) -> str:
    """`llm.temperature`, `environment[2].value`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
