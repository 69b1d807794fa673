# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reference in `docs/`: every finding from the catalogue, every format from its JSON Schemas, the variables of the fleet,
playbooks, roles and modules.

`python -m dev.reference` writes the pages; with `--check` it only names those that differ, and exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dev import ROOT, collection_pages
from dev.markdown import prose, sentence, table
from dev.schema_parts import Node, codes, document, first, load
from dev.schema_tables import body, sections, type_words
from dev.shell import Failure

sys.path.append(str(ROOT / "collections"))  # a clone is no installed collection

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Code
from ansible_collections.muster.agents.plugins.plugin_utils.formats import catalogue, formats
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Format

DOCS = ROOT / "docs"
SCHEMAS = ROOT / "plugins" / "plugin_utils" / "schemas"
COMMAND = "python -m dev.reference"
_FLEET = SCHEMAS / "fleet.schema.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Write the reference pages of the documentation."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    check: bool = parser.parse_args().check
    try:
        wanted = pages()
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    differ = differing(DOCS, wanted)
    for path in differ:
        print(f"{os.path.relpath(path, ROOT)}{' differs' if check else ''}")
    if check:
        return 1 if differ else 0
    for path in differ:
        write(path, wanted.get(path))
    return 0


def differing(docs: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """The pages that are not as they should be, also those of what is gone."""
    there = {docs / "diagnostics.md", *(docs / "formats").glob("*.md"), *(docs / "reference").glob("*.md")}
    texts = {path: path.read_text("utf-8") if path.exists() else None for path in {*there, *wanted}}
    return sorted(path for path, text in texts.items() if text != wanted.get(path))


def write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def pages() -> dict[Path, str]:
    """Every page's text, by its file."""
    found = {DOCS / "diagnostics.md": diagnostics_page(catalogue().values(), families())}
    for one in described():
        found[DOCS / "formats" / f"{one.name}.md"] = format_page(one)
    folder = DOCS / "reference"
    variables = load(_FLEET)["properties"]
    found[folder / "fleet.md"] = fleet_page()
    found[folder / "playbooks.md"] = _page("the playbooks", collection_pages.playbooks_page(variables))
    found[folder / "roles.md"] = _page(
        "`meta/argument_specs.yml` of the roles", collection_pages.roles_page()
    )
    found[folder / "modules.md"] = _page("the modules' documentation", collection_pages.modules_page())
    return found


def _page(source: str, lines: Iterable[str]) -> str:
    return "\n".join(
        [f"<!-- Made by `{COMMAND}` from {source}: edit that, not this page. -->", "", *lines, ""]
    )


# --- findings -----------------------------------------------------------------------------------------------

# By the first digit; the formats' own follow.
_GENERAL = {
    "1": "Files that cannot be read",
    "2": "Values that do not fit the schema",
    "3": "Secrets, placeholders, versions",
    "4": "The fleet",
}

_INTRODUCTION = """
Everything that can be wrong with an agent config or a fleet has a code, a level and a place:

```text
agents/researcher.toml:14:1: error MA204: llm.temperature is 3.5; it must be between 0.0 and 2.0
```

Codes never change their meaning and are never used again.

## Levels

- **error**: it does not work, or not as it is written. Nothing is deployed.
- **warning**: it works, and most likely does something else than was meant. It counts as an error with `fleet_strict: true`
  in the inventory, with `strict: true` of the module `muster.agents.agent_config`, or with `muster-agent-config --strict`.
- **hint**: worth knowing; it never stops anything.

A finding may have another level than the one listed here, where its place says more.

## Silencing

What is meant to be as it is can be silenced, by code and with the reason, in the inventory. For all agents:

```yaml
fleet_silence:
  MA201: our build of the program reads these keys
```

For one agent, in its entry of the fleet:

```yaml
fleet:
  researcher:
    silence:
      MA303: set by the host's own environment file
```

Files that cannot be read (MA1xx) and literal secrets (MA301) cannot be silenced.

## For code hosts

`ansible-playbook playbooks/validate.yml -e sarif=muster.sarif`, the module's option `sarif` and `muster-agent-config --sarif`
also write the findings as SARIF 2.1.0, which code hosts show in pull requests. Each finding's rule is its code.
"""


@dataclass(frozen=True)
class Family:
    """Codes that belong together. `page`: where their format is described."""

    title: str
    page: str = ""


def families() -> dict[str, Family]:
    """By a code's number without its last two digits: `MA5`."""
    found = {f"MA{digit}": Family(title) for digit, title in _GENERAL.items()}
    for one in described():
        for own in one.codes:
            found.setdefault(own.number[:-2], Family(title(one), f"formats/{one.name}.md"))
    return found


def diagnostics_page(every: Iterable[Code], grouped: Mapping[str, Family]) -> str:
    ordered = sorted(every, key=lambda one: one.number)
    lines = ["# Diagnostics", *_INTRODUCTION.splitlines(), "", "## All codes", ""]
    lines += table(("Code", "Level", "What"), (_code_row(one, "") for one in ordered))
    for family, members in groupby(ordered, key=lambda one: one.number[:-2]):
        named = grouped[family]
        lines += ["", f"## {named.title}"]
        lines += ["", f"The keys of this format: [{named.page}]({named.page})."] if named.page else []
        for one in members:
            lines += ["", f'### <a id="{one.number.lower()}"></a>{one.number} {prose(one.title)}', ""]
            lines += [f"Level: {one.level}.", "", one.explanation]
    return _page("`codes.py` and the readers", lines)


def _code_row(one: Code, page: str) -> tuple[str, str, str]:
    return f"[{one.number}]({page}#{one.number.lower()})", one.level, prose(one.title)


# --- formats ------------------------------------------------------------------------------------------------

_EDITORS = {
    ".toml": """
In TOML, write the path to the schema into the first line; editors with Taplo (Even Better TOML) then check while you type:

```toml
#:schema {path}
```
""",
    ".yaml": """
In YAML, write the path to the schema into the first line; editors with the YAML language server then check while you type:

```yaml
# yaml-language-server: $schema={path}
```
""",
    ".json": """
In JSON, an editor is told in its settings which schema a file has; in VS Code:

```json
{{"json.schemas": [{{"fileMatch": ["{match}"], "url": "./{path}"}}]}}
```
""",
}
# The other ending of a notation.
_ALSO = {".yaml": ".yml"}


def described() -> list[Format]:
    """The formats with a schema of the collection's own; a runtime's own schema has no page here."""
    return [one for one in formats().values() if one.schema]


def schema_files(one: Format) -> list[Path]:
    """The format's own schema, then those of its other files: `<schema>-<file>`, unless it is another format's."""
    own = SCHEMAS / f"{one.schema}.schema.json"
    others = {SCHEMAS / f"{other.schema}.schema.json" for other in described()}
    return [own, *sorted(set(SCHEMAS.glob(f"{one.schema}-*.schema.json")) - others)]


def title(one: Format) -> str:
    """A page's title: the schema's; the program's name where there are several."""
    files = schema_files(one)
    return str(load(files[0])["title"]) if len(files) == 1 else f"{one.title} configs"


def format_page(one: Format) -> str:
    files = schema_files(one)
    lines = [f"# {title(one)}", *_introduction(one, files)]
    for file in files:
        lines += _tables(file, prefix=_part_name(one, file) if len(files) > 1 else "")
    own = {code.number for code in one.codes} | {number for file in files for number in codes(file)}
    shown = [code for code in catalogue().values() if code.number in own and code.number >= "MA5"]
    lines += ["", "## Findings of this format", ""]
    lines += table(("Code", "Level", "What"), (_code_row(code, "../diagnostics.md") for code in shown))
    return _page(", ".join(f"`{file.name}`" for file in files), lines)


def fleet_page() -> str:
    """The variables of the fleet, from the schema that editors also use."""
    lines = [f"# {load(_FLEET)['title']}", "", prose(first(document(_FLEET), "description", ""))]
    return _page(f"`{_FLEET.name}`", [*lines, *_tables(_FLEET, prefix="")])


def _introduction(one: Format, files: Sequence[Path]) -> Iterator[str]:
    if len(files) == 1:
        yield from ("", prose(first(document(files[0]), "description", "")))
    yield ""
    yield f"Name of the format: `{one.name}`."
    if one.file_names:
        what = (
            "Recognised, by their content, among files named"
            if not one.folder
            else "A folder with files named"
        )
        yield f"{what} {', '.join(f'`{name}`' for name in one.file_names)}."
    yield from (
        "Keys that no table lists are ignored by the program, and reported"
        " ([MA201](../diagnostics.md#ma201)), unless a table says otherwise.",
        "",
        "## In an editor",
    )
    path = os.path.relpath(files[0], ROOT)
    for ending in _endings(one):
        match = next(name for name in one.file_names or [f"*{ending}"] if name.endswith(ending))
        yield from _EDITORS[ending].format(path=path, match=match).rstrip().splitlines()
    yield ""
    yield "The path is as seen from the collection's folder; write it as seen from the config."
    if len(files) > 1:
        yield ""
        yield "Each file has its own schema:"
        yield ""
        yield from table(("File", "Schema"), (_schema_row(one, file) for file in files))


def _endings(one: Format) -> list[str]:
    """The notations that the format is written in.

    A format that is never recognised by itself is written like those that it shares its reader with.
    """
    shares = [other for other in described() if other.recognise.__module__ == one.recognise.__module__]
    names = one.file_names or [name for other in shares for name in other.file_names]
    endings = {Path(name).suffix for name in names}
    return [ending for ending in _EDITORS if endings & {ending, _ALSO.get(ending)}]


def _part_name(one: Format, file: Path) -> str:
    """What an anchor of a page with several schemas begins with."""
    name = file.name.removesuffix(".schema.json").removeprefix(one.schema).strip("-")
    return name or one.schema


def _schema_row(one: Format, file: Path) -> tuple[str, str]:
    return f"[{load(file)['title']}](#{_part_name(one, file)})", _schema_link(file)


def _schema_link(file: Path) -> str:
    return f"[`{file.name}`]({os.path.relpath(file, DOCS / 'formats')})"


def _tables(file: Path, prefix: str) -> Iterator[str]:
    """All sections of one schema; with a prefix, below a heading of its own."""
    root = document(file)
    level = "##"
    if prefix:
        yield from (
            "",
            f'## <a id="{prefix}"></a>{load(file)["title"]}',
            "",
            prose(first(root, "description", "")),
        )
        level = "###"
    found = sections(root, prefix)
    for one in found:
        yield ""
        if one.path or not prefix:
            yield f'{level} <a id="{one.anchor}"></a>{f"`{one.path}`" if one.path else "The whole document"}'
            yield ""
        yield from _about(one.path, one.node)
        yield from body(one, found)


def _about(path: str, node: Node) -> Iterator[str]:
    """A sentence on what the table is, where neither the page nor the table above says it."""
    words = type_words(node)
    if path and first(node, "description"):
        yield from (prose(first(node, "description")), "")
    elif not path and words != "table":
        yield from (sentence(f"a {words}"), "")


if __name__ == "__main__":
    raise SystemExit(main())
