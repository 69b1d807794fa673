# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things stand in a TOML text, and edits that leave every other character alone.

``tomllib`` gives values without positions, and nothing in the standard library writes TOML. This module scans
a text that ``tomllib.loads`` has accepted: `locate` tells the position of every key, `override` merges values
into the text, `replace_strings` swaps single strings. A text that is not valid TOML may raise ValueError, but
never hangs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import Enum, auto
from typing import Any

import tomllib

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Span:
    """Character offsets of one key and of its value, each end exclusive.

    A table has its ``[header]`` as value (without one, the key part or the header that implies it); an array
    element, which has no key, has its value as key.
    """

    key_start: int
    key_end: int
    value_start: int
    value_end: int


def line_col(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def locate(text: str) -> dict[Path, Span]:
    """The span of every key path: tables, keys, elements of arrays (by index) and of arrays of tables."""
    spans: dict[Path, Span] = {}
    todo: list[tuple[Path, _Node]] = [((), _scan(text))]
    while todo:
        path, node = todo.pop()
        for name, child in node.children.items():
            here = (*path, name)
            key = (child.key_start, child.key_end)
            if node.kind is _Kind.ARRAY:
                key = (child.value_start, child.value_end)
            spans[here] = Span(*key, child.value_start, child.value_end)
            if child.children:
                todo.append((here, child))
    return spans


def deep_merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What `override` means, on values: tables merge key by key, None removes a key, all else replaces."""
    merged = dict(base)
    for name, value in overrides.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = deep_merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def override(text: str, overrides: Mapping[str, Any]) -> str:
    """The text with a nested mapping merged into it, as `deep_merge` does on values.

    Replaced values change in place, None removes a key with its line, new keys follow the last key of their
    table, and new tables come at the end. Values that are equal already keep their notation.

    Raises TypeError or ValueError for what TOML cannot hold (None in a list, a key that is no string).
    """
    return _Editor(text).override(overrides)


def replace_strings(text: str, replacements: Mapping[Path, str]) -> str:
    """The text with the strings at these paths replaced. Raises KeyError where no string stands."""
    root = _scan(text)
    eol = _line_ending(text)
    edits = []
    for path, value in replacements.items():
        node: _Node | None = root
        for name in path:
            node = node.children.get(name) if node else None
        if node is None or node.kind is not _Kind.SCALAR or text[node.value_start] not in "\"'":
            raise KeyError(path)
        edits.append(_replacement(text, node, value, eol))
    return _apply(text, edits)


def to_toml(value: Any) -> str:
    """One value in TOML notation, on one line. Raises TypeError or ValueError for what TOML cannot hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{_escape(value, _SINGLE_LINE_ESCAPES)}"'
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float.__repr__(value)
    if isinstance(value, Mapping):
        pairs = (f"{_key(name)} = {to_toml(item)}" for name, item in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, time) and value.tzinfo is not None:
        raise ValueError("TOML has no time of day with a time zone")
    if isinstance(value, (date, time)):
        return value.isoformat()
    raise TypeError(f"TOML has no form for a value of type {type(value).__name__}")


# --- writing ------------------------------------------------------------------------------------------------

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SINGLE_LINE_ESCAPES = re.compile(r'["\\\x00-\x1f\x7f\ud800-\udfff]')
# Inside """…""" a newline, a tab and a lone quote may stand as they are.
_MULTI_LINE_ESCAPES = re.compile(r'"(?="|\Z)|[\\\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]')
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(value: str, special: re.Pattern[str]) -> str:
    return special.sub(_escape_character, str(value))


def _escape_character(match: re.Match[str]) -> str:
    char = match[0]
    if "\ud800" <= char <= "\udfff":
        raise ValueError("TOML cannot hold a lone surrogate character")
    return _SHORT_ESCAPES.get(char) or f"\\u{ord(char):04x}"


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a TOML key is a string, not {type(name).__name__}")
    return name if _BARE_KEY.fullmatch(name) else to_toml(name)


def _same_value(old: str, value: Any) -> bool:
    return to_toml(tomllib.loads(f"x = {old}")["x"]) == to_toml(value)


def _line_ending(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    new: str


def _replacement(text: str, node: _Node, value: Any, eol: str) -> _Edit:
    """The value in place of the node's; a prompt that was written over several lines stays so."""
    if isinstance(value, str) and "\n" in value and text.startswith(('"""', "'''"), node.value_start):
        body = _escape(value, _MULTI_LINE_ESCAPES).replace("\n", eol)
        new = f'"""{eol}{body}"""'
    else:
        new = to_toml(value)
    return _Edit(node.value_start, node.value_end, new)


def _apply(text: str, edits: list[_Edit]) -> str:
    """All edits at once; they do not overlap, and those at one place keep their order."""
    pieces = []
    done = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += [text[done : edit.start], edit.new]
        done = edit.end
    return "".join([*pieces, text[done:]])


# --- the document as a tree ---------------------------------------------------------------------------------


class _Kind(Enum):
    TABLE = auto()  # has its own [header]; the root and each element of [[…]] too
    IMPLIED = auto()  # only named on the way to another header: `a` in [a.b]
    DOTTED = auto()  # only named on the way to a key: `a` in a.b = 1
    INLINE = auto()  # { … }
    TABLES = auto()  # all of the [[…]] of one name
    ARRAY = auto()
    SCALAR = auto()


@dataclass(eq=False, repr=False)
class _Node:
    kind: _Kind
    key_start: int
    key_end: int
    value_start: int
    value_end: int
    children: dict[str | int, _Node] = field(default_factory=dict)
    body: _Body | None = None  # where the keys of a TABLE, INLINE or DOTTED stand
    entry: _Entry | None = None  # of a value: its own; of a DOTTED: the last that goes through it
    prefix_end: int = 0  # of a DOTTED: where its part of that entry's key ends


@dataclass(eq=False, repr=False)
class _Entry:
    """One ``key = value``."""

    start: int
    body: _Body
    value: _Node | None = None
    removed: bool = False

    @property
    def end(self) -> int:
        return self.value.value_end if self.value else self.start


@dataclass(eq=False, repr=False)
class _Body:
    """What lists entries: a section of the document, from its header, or an inline table."""

    start: int  # of the header or the opening brace
    open_end: int  # behind it
    inline: bool = False
    entries: list[_Entry] = field(default_factory=list)
    added: list[str] = field(default_factory=list)  # what an edit adds, inline only


_SPACE = re.compile(r"[ \t]*+")
_TRIVIA = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_PART = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
# No possessive quantifier around the multi-line strings: before 3.11.5 (Debian 12 has 3.11.2) Python forgets where it was
# when the last alternative fails, https://github.com/python/cpython/issues/106052.
_SCALAR = re.compile(
    r'''"""(?:[^"\\]++|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']++|'{1,2}(?!'))*'{3,5}"""
    r'''|"(?:[^"\\\n]++|\\.)*+"'''
    r"""|'[^'\n]*+'"""
    r"""|\d{4}-\d\d-\d\d[ ]\d\d:[^\s,\]}\#]*+"""  # a date and a time may have a space between them
    r"""|[^\s,\[\]{}\#"'=]++""",
    re.DOTALL,
)


def _scan(text: str) -> _Node:
    return _Scanner(text).document()


class _Scanner:
    """Builds the tree in one pass; nesting costs no recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = _Node(_Kind.TABLE, 0, 0, 0, 0, body=_Body(0, 0))

    def document(self) -> _Node:
        table = self.root
        pos = self._match(_TRIVIA, 0)
        while pos < len(self.text):
            if self.text[pos] == "[":
                table, pos = self._header(pos)
            else:
                pos = self._entry(table, pos)
            pos = self._match(_TRIVIA, pos)
        return self.root

    def _match(self, pattern: re.Pattern[str], pos: int) -> int:
        match = pattern.match(self.text, pos)
        if match is None:
            raise self._error(pos)
        return match.end()

    def _expect(self, token: str, pos: int) -> int:
        if not self.text.startswith(token, pos):
            raise self._error(pos)
        return pos + len(token)

    def _error(self, pos: int) -> ValueError:
        line, column = line_col(self.text, pos)
        return ValueError(f"not valid TOML at line {line}, column {column}")

    def _key_parts(self, pos: int) -> tuple[list[tuple[str, int, int]], int]:
        """Name, start and end of each part of a dotted key, and the offset of what follows it."""
        parts = []
        while True:
            start = self._match(_SPACE, pos)
            end = self._match(_PART, start)
            raw = self.text[start:end]
            name = raw
            if raw[0] == "'":
                name = raw[1:-1]
            elif raw[0] == '"':
                name = tomllib.loads(f"x = {raw}")["x"] if "\\" in raw else raw[1:-1]
            parts.append((name, start, end))
            pos = self._match(_SPACE, end)
            if not self.text.startswith(".", pos):
                return parts, pos
            pos += 1

    def _header(self, start: int) -> tuple[_Node, int]:
        several = self.text.startswith("[[", start)
        parts, pos = self._key_parts(start + 1 + several)
        end = self._expect("]]" if several else "]", pos)
        node = self.root
        for name, key_start, key_end in parts[:-1]:
            if name not in node.children:
                node.children[name] = _Node(_Kind.IMPLIED, key_start, key_end, start, end)
            node = node.children[name]
            if node.kind is _Kind.TABLES:
                node = node.children[len(node.children) - 1]
        name, key_start, key_end = parts[-1]
        body = _Body(start, end)
        if several:
            tables = node.children.setdefault(name, _Node(_Kind.TABLES, key_start, key_end, start, end))
            table = _Node(_Kind.TABLE, key_start, key_end, start, end, body=body)
            tables.children[len(tables.children)] = table
        else:
            table = _Node(_Kind.TABLE, key_start, key_end, start, end, body=body)
            if name in node.children:  # only implied until now
                table.children = node.children[name].children
            node.children[name] = table
        return table, end

    def _slot(self, table: _Node, pos: int) -> tuple[_Node, int]:
        """Reads ``key =``; the node for the value that follows, and its offset."""
        if table.body is None:
            raise ValueError("a key outside of any table")
        parts, pos = self._key_parts(pos)
        pos = self._match(_SPACE, self._expect("=", pos))
        entry = _Entry(parts[0][1], table.body)
        table.body.entries.append(entry)
        parent = table
        for name, start, end in parts[:-1]:
            if name not in parent.children:
                parent.children[name] = _Node(_Kind.DOTTED, start, end, start, end)
            parent = parent.children[name]
            parent.kind = _Kind.DOTTED
            parent.body, parent.entry, parent.prefix_end = table.body, entry, end
        name, start, end = parts[-1]
        node = _Node(_Kind.SCALAR, start, end, pos, pos, entry=entry)
        entry.value = node
        parent.children[name] = node
        return node, pos

    def _entry(self, table: _Node, pos: int) -> int:
        """Reads one ``key = value`` with all that the value holds; the offset behind it."""
        node, pos = self._slot(table, pos)
        around: list[_Node] = []  # the arrays and inline tables that are open here, innermost last
        while True:
            opening = self.text[pos : pos + 1]
            if opening == "[":
                node.kind = _Kind.ARRAY
            elif opening == "{":
                node.kind = _Kind.INLINE
                node.body = _Body(pos, pos + 1, inline=True)
            node.value_start = pos
            if node.kind is _Kind.SCALAR:
                pos = node.value_end = self._match(_SCALAR, pos)
            else:
                around.append(node)
                pos += 1
            while around:
                pos = self._match(_TRIVIA, pos)
                if self.text.startswith(",", pos):
                    pos = self._match(_TRIVIA, pos + 1)
                outer = around[-1]
                if not self.text.startswith("]" if outer.kind is _Kind.ARRAY else "}", pos):
                    break
                pos = outer.value_end = pos + 1
                around.pop()
            else:
                return pos
            if outer.kind is _Kind.ARRAY:
                node = _Node(_Kind.SCALAR, pos, pos, pos, pos)
                outer.children[len(outer.children)] = node
            else:
                node, pos = self._slot(outer, pos)


# --- edits --------------------------------------------------------------------------------------------------

_TABLE_KINDS = (_Kind.TABLE, _Kind.IMPLIED, _Kind.DOTTED, _Kind.INLINE)
_VALUE_KINDS = (_Kind.SCALAR, _Kind.ARRAY, _Kind.INLINE)  # written behind one `key =`


class _Editor:
    """Turns one override into edits of one text."""

    def __init__(self, text: str) -> None:
        self.eol = _line_ending(text)
        # With every line ended, each insertion is a whole line; `override` takes this line end back.
        self.unended = bool(text) and not text.endswith("\n")
        self.text = text + self.eol if self.unended else text
        self.edits: list[_Edit] = []
        self.inline: dict[int, _Body] = {}  # the inline tables to take from or add to, by id
        self.sections: list[str] = []  # lines of new tables, for the end

    def override(self, overrides: Mapping[str, Any]) -> str:
        self._merge((), _scan(self.text), overrides)
        for body in self.inline.values():
            self._edit_inline(body)
        text = _apply(self.text, self.edits)
        if not text or text.endswith(self.eol * 2):
            del self.sections[:1]  # the blank line before the first new table
        text += "".join(line + self.eol for line in self.sections)
        return text.removesuffix(self.eol) if self.unended else text

    def _merge(self, path: tuple[str, ...], table: _Node, overrides: Mapping[str, Any]) -> None:
        new: dict[str, Any] = {}
        gone = 0
        for name, value in overrides.items():
            child = table.children.get(name)
            if child is None:
                new[name] = value
            elif isinstance(value, Mapping) and child.kind in _TABLE_KINDS:
                self._merge((*path, name), child, value)
            elif value is not None and child.kind in _VALUE_KINDS:
                self._replace(child, value)
            else:
                self._remove(child)
                gone += 1
                new[name] = value
        new = deep_merge({}, new)
        if new or (gone and gone == len(table.children)):
            self._add(path, table, new)

    def _replace(self, node: _Node, value: Any) -> None:
        if isinstance(value, Mapping):
            value = deep_merge({}, value)
        if not _same_value(self.text[node.value_start : node.value_end], value):
            self.edits.append(_replacement(self.text, node, value, self.eol))

    def _remove(self, node: _Node) -> None:
        """Takes a key away, with every section and line that belongs to it."""
        sections = set()
        entries: list[_Entry] = []
        todo = [node]
        while todo:
            node = todo.pop()
            if node.kind in _VALUE_KINDS:
                entries += [node.entry] if node.entry else []
                continue
            if node.kind is _Kind.TABLE and node.body:
                body = node.body
                sections.add(id(body))
                self._remove_lines(body.start, body.entries[-1].end if body.entries else body.open_end)
            todo += node.children.values()
        for entry in entries:
            if entry.body.inline:
                entry.removed = True
                self.inline[id(entry.body)] = entry.body
            elif id(entry.body) not in sections:
                self._remove_lines(entry.start, entry.end)

    def _add(self, path: tuple[str, ...], table: _Node, new: dict[str, Any]) -> None:
        """Adds keys to a table; without any, the table itself, all of whose keys have been removed."""
        if table.kind is _Kind.IMPLIED:
            self.sections += _section(path, new)
        elif table.kind is _Kind.TABLE and table.body:
            tables = {name: value for name, value in new.items() if isinstance(value, dict)}
            plain = [f"{_key(name)} = {to_toml(value)}" for name, value in new.items() if name not in tables]
            entries = table.body.entries
            self._insert_lines(plain, table.body, entries[-1] if entries else None)
            for name, value in tables.items():
                self.sections += _section((*path, name), value)
        elif table.body:
            prefix = ""
            if table.kind is _Kind.DOTTED and table.entry:
                prefix = self.text[table.entry.start : table.prefix_end]
            dot = prefix and f"{prefix}."
            entries_text = [f"{dot}{_key(name)} = {to_toml(value)}" for name, value in new.items()]
            if not new and prefix:
                entries_text = [f"{prefix} = {{}}"]
            if table.body.inline:
                table.body.added += entries_text
                self.inline[id(table.body)] = table.body
            else:
                self._insert_lines(entries_text, table.body, table.entry)

    def _insert_lines(self, lines: list[str], body: _Body, last: _Entry | None) -> None:
        """Inserts lines behind an entry, indented like it, or at the top of a section."""
        if last:
            indent = self.text[self._line_start(last.start) : last.start]
            pos = self._line_end(last.end)
        else:
            indent = ""
            pos = self._line_end(body.open_end) if body.open_end else 0  # the root has no header
        self.edits += [_Edit(pos, pos, indent + line + self.eol) for line in lines]

    def _remove_lines(self, start: int, end: int) -> None:
        self.edits.append(_Edit(self._line_start(start), self._line_end(end), ""))

    def _line_start(self, pos: int) -> int:
        return self.text.rfind("\n", 0, pos) + 1

    def _line_end(self, pos: int) -> int:
        return self.text.index("\n", pos) + 1

    def _edit_inline(self, body: _Body) -> None:
        kept = False
        entries = body.entries
        for index, entry in enumerate(entries):
            if not entry.removed:
                kept = True
            elif kept:  # goes with the comma before it
                self.edits.append(_Edit(entries[index - 1].end, entry.end, ""))
            else:  # goes with the comma behind it
                end = entries[index + 1].start if index + 1 < len(entries) else entry.end
                self.edits.append(_Edit(entry.start, end, ""))
        if body.added:
            new = ", ".join(body.added)
            if not entries:
                self.edits.append(_Edit(body.open_end, body.open_end, f" {new} "))
            else:
                pos = entries[-1].end
                self.edits.append(_Edit(pos, pos, f", {new}" if kept else new))


def _section(path: tuple[str, ...], table: dict[str, Any]) -> Iterator[str]:
    """The lines of a new table: a blank one, header, keys, then its sub-tables in the same way."""
    tables = {name: value for name, value in table.items() if isinstance(value, dict)}
    if len(tables) < len(table) or not table:
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for name, value in table.items():
        if name not in tables:
            yield f"{_key(name)} = {to_toml(value)}"
    for name, value in tables.items():
        yield from _section((*path, name), value)
