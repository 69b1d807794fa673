# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a reader finds in the reference: small schemas as tables, and the pages in `docs/` as they are."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.formats import catalogue
from dev import ansible_files, collection_pages, reference, schema_parts
from dev.schema_tables import body, sections
from dev.shell import Failure


def written(folder: Path, schema: Any, name: str = "x.schema.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(schema))
    return path


def page(folder: Path, schema: Any) -> dict[str, list[str]]:
    """Each section's lines, by its path."""
    schema_parts.load.cache_clear()
    found = sections(schema_parts.document(written(folder, schema)))
    return {one.path: body(one, found) for one in found}


def rows(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """Type, required, default and meaning, by key."""
    found = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        cells = [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]
        found[re.sub(r"^\[(.*)\]\(.*\)$", r"\1", cells[0]).strip("`")] = tuple(cells[1:])
    return found


def only_row(folder: Path, schema: Any, **beside: Any) -> tuple[str, ...]:
    """The row of one key `it` with this schema."""
    return rows(page(folder, {"properties": {"it": schema}, **beside})[""])["it"]


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "type_", "meaning"),
    [
        ({"type": "number", "minimum": 0.0, "maximum": 2.0}, "number", "From 0.0 to 2.0."),
        ({"type": "integer", "maximum": 65535}, "whole number", "At most 65,535."),
        ({"type": "integer", "exclusiveMinimum": 0}, "whole number", "Above 0."),
        ({"enum": ["llm", "1", 1, None]}, "string, whole number or null", 'One of `llm`, `"1"`, `1`, `null`.'),
        ({"enum": ["fifo"]}, "string", "Always `fifo`."),
        ({"const": "agent"}, "string", "Always `agent`."),
        ({"type": "string", "minLength": 1, "maxLength": 63}, "string", "Not empty, at most 63 characters."),
        ({"type": "string", "pattern": "^a|b$"}, "string", r"Of the form `^a\|b$`."),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "list of strings", "At least 2 elements."),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "table of numbers", ""),
        ({"type": ["string", "null"], "not": {"const": ""}}, "string or null", 'Not `""`.'),
        ({"description": "Anything."}, "any", "Anything."),
        ({"description": "Gone.", "not": {}}, "–", "Gone. Must be absent."),
        (
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]},
            "string or whole number",
            "As a string: not empty. As a whole number: at least 1.",
        ),
        ({"type": "string", "examples": ["a", "b"]}, "string", "Examples: `a`, `b`."),
        ({"enum": ["a", "b"], "examples": ["a"]}, "string", "One of `a`, `b`."),
    ],
)  # fmt: skip
def test_a_value_is_said_in_words(tmp_path: Path, schema: Any, type_: str, meaning: str) -> None:
    assert only_row(tmp_path, schema) == (type_, "no", "", meaning)


def test_a_default_is_shown_as_it_is_written(tmp_path: Path) -> None:
    defaults = [900, False, "info", "1.0", "", [], {}, None]
    shown = [only_row(tmp_path, {"default": one})[2] for one in defaults]
    assert shown == ["`900`", "`false`", "`info`", '`"1.0"`', '`""`', "`[]`", "`{}`", ""]


def test_a_message_replaces_the_general_words_and_links_to_its_code(tmp_path: Path) -> None:
    inner = {"minimum": 1, "x-code": "MA507", "errorMessage": "write at least 1; with 0 it crashes"}
    schema = {"type": "integer", "description": "Seconds.", "allOf": [inner]}
    words = "Seconds. Write at least 1; with 0 it crashes ([MA507](../diagnostics.md#ma507))."
    assert only_row(tmp_path, schema)[3] == words


def test_what_stands_beside_a_reference_wins(tmp_path: Path) -> None:
    target = {"type": "string", "description": "General.", "default": "a", "minLength": 1}
    row = only_row(
        tmp_path, {"$ref": "#/$defs/one~1two", "description": "Special."}, **{"$defs": {"one/two": target}}
    )
    assert row == ("string", "no", "`a`", "Special. Not empty.")


def test_a_reference_to_a_file_beside_it_is_followed_from_there(tmp_path: Path) -> None:
    beside = {"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"type": "boolean", "description": "Of the other."}}}
    written(tmp_path, beside, "other.schema.json")
    row = only_row(tmp_path, {"$ref": "other.schema.json#/$defs/x"})
    assert row == ("true or false", "no", "", "Of the other.")


def test_types_that_are_only_converted_are_not_what_to_write(tmp_path: Path) -> None:
    message = "must be a whole number"
    quoted = {"if": {"type": "string"}, "then": {"pattern": "^[0-9]+$", "errorMessage": message}}
    schema = {"type": ["integer", "string"], "errorMessage": message, **quoted}
    assert only_row(tmp_path, schema)[0] == "whole number, also in quotes"
    lenient = {"if": {"type": ["string", "boolean"]}, "then": {"pattern": "^1$"}, "else": {"type": "integer"}}
    assert only_row(tmp_path, lenient)[0] == "whole number, also in quotes"
    truth = {"type": ["boolean", "string", "integer"], "pattern": "^(true|false|on|off)$", "maximum": 1}
    assert only_row(tmp_path, truth) == ("true or false, also in quotes", "no", "", "")


def test_a_placeholder_may_stand_for_one_of_the_choices(tmp_path: Path) -> None:
    schema = {"type": "string", "if": {"pattern": r"\$\{"}, "else": {"enum": ["a", "b"]}}
    assert only_row(tmp_path, schema)[3] == "One of `a`, `b`, or text with a placeholder."


def test_nothing_in_a_cell_is_read_as_markup(tmp_path: Path) -> None:
    described = "a|b, `c|d`, <NAME>, `<NAME>`, ${HOME} and *_env, SERVICE_URL_*"
    expected = r"a\|b, `c\|d`, &lt;NAME>, `<NAME>`, `${HOME}` and `*_env`, `SERVICE_URL_*`"
    assert only_row(tmp_path, {"description": described})[3] == expected


# --- which keys are needed ----------------------------------------------------------------------------------


def test_required_says_when(tmp_path: Path) -> None:
    keys = ("a", "b", "c", "d", "e", "f", "g")
    schema = {
        "properties": {key: {"type": "string"} for key in keys},
        "required": ["c"],
        "dependentRequired": {"b": ["a"]},
        "allOf": [
            {"anyOf": [{"required": ["e"]}, {"required": ["f"]}]},
            {
                "if": {"required": ["c"], "properties": {"c": {"const": "llm"}}},
                "then": {"required": ["d"]},
                "else": {"required": ["b"]},
            },
            {"if": {"not": {"required": ["g"]}}, "then": {"required": ["g"]}},
        ],
    }
    found = {key: row[1] for key, row in rows(page(tmp_path, schema)[""]).items()}
    assert found == {
        "c": "yes",
        "a": "with `b`",
        "b": "unless `c` is `llm`",
        "d": "where `c` is `llm`",
        "e": "this or `f`",
        "f": "this or `e`",
        "g": "yes",
    }
    assert next(iter(found)) == "c"  # required ones first


def test_why_one_key_is_needed_stands_in_its_row_and_why_several_are_below_the_table(tmp_path: Path) -> None:
    one = {"required": ["a"], "x-code": "MA202", "errorMessage": "nothing works without it"}
    several = {"required": ["a", "b"], "errorMessage": "both or neither"}
    schema = {"properties": {"a": {}, "b": {}}, "allOf": [one, several], "additionalProperties": False}
    lines = page(tmp_path, schema)[""]
    assert rows(lines)["a"][3] == "Nothing works without it ([MA202](../diagnostics.md#ma202))."
    assert lines[-2:] == ["", "- `a` and `b`: both or neither."]


def test_a_condition_on_another_key_is_said_before_what_follows_from_it(tmp_path: Path) -> None:
    schema = {
        "properties": {"role": {"enum": ["start", "exit"]}, "tools": {"type": "array"}},
        "if": {"required": ["role"], "properties": {"role": {"const": "exit"}}},
        "then": {"properties": {"tools": {"maxItems": 0, "errorMessage": "an exit calls no tools"}}},
    }
    assert rows(page(tmp_path, schema)[""])["tools"][3] == "Where `role` is `exit`: an exit calls no tools."


# --- sections -----------------------------------------------------------------------------------------------


def test_every_table_has_a_section_that_is_linked(tmp_path: Path) -> None:
    leaf = {"type": "object", "properties": {"x": {"type": "string"}}}
    schema = {
        "properties": {
            "table": {"type": "object", "properties": {"deep": leaf}},
            "listed": {"type": "array", "items": {"type": "object", "properties": {"y": {}}}},
            "named": {
                "type": "object",
                "additionalProperties": {"type": "object", "properties": {"z": {}}},
            },
        }
    }
    found = page(tmp_path, schema)
    assert list(found) == ["", "table", "table.deep", "listed[]", "named.<name>"]
    assert "| [`listed`](#listed) | list of tables |" in "\n".join(found[""])
    assert "| [`named`](#named-name) | table of tables |" in "\n".join(found[""])
    assert "| [`deep`](#table-deep) | table |" in "\n".join(found["table"])


def test_a_table_that_is_used_twice_or_holds_itself_has_one_section(tmp_path: Path) -> None:
    tree = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}
    use = {"$ref": "#/$defs/tree"}
    found = page(tmp_path, {"properties": {"one": use, "two": use}, "$defs": {"tree": tree}})
    assert list(found) == ["", "one"]
    assert "[`two`](#one)" in "\n".join(found[""])
    assert "[`below`](#one)" in "\n".join(found["one"])


def test_a_value_that_is_a_word_or_a_table_has_both_forms(tmp_path: Path) -> None:
    form = {"required": ["impl"], "properties": {"impl": {"const": "builtin"}}}
    tool = {
        "type": ["string", "object"],
        "if": {"type": "string"},
        "then": {"const": "builtin"},
        "else": form,
    }
    found = page(tmp_path, {"properties": {"search": tool}})
    assert rows(found[""])["search"] == ("string or table", "no", "", "As a string: always `builtin`.")
    assert rows(found["search"])["impl"] == ("string", "yes", "", "Always `builtin`.")


def test_a_document_may_be_a_list_of_what_it_is(tmp_path: Path) -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}}}
    schema = {
        "type": ["object", "array"],
        "if": {"type": "array"},
        "then": {"items": {"$ref": "#/$defs/item"}},
        "else": {"$ref": "#/$defs/item"},
        "$defs": {"item": item},
    }
    assert list(page(tmp_path, schema)) == [""]


def test_below_a_table_stands_what_other_keys_may_be(tmp_path: Path) -> None:
    def notes(**schema: Any) -> list[str]:
        return [line for line in page(tmp_path, {"properties": {"a": {}}, **schema})[""] if line[0:2] == "- "]

    assert notes() == ["- Other keys may stand here."]
    assert notes(additionalProperties=False) == []
    refused = notes(additionalProperties=False, **{"x-unknown": "error"})
    assert refused == ["- Any other key is an error: the program refuses it."]
    own = notes(additionalProperties=False, patternProperties={"^x-": {"description": "Your own."}})
    assert own == ["- Keys that begin with `x-`: your own."]
    assert notes(propertyNames={"pattern": "^[a-z]+$"}) == ["- Names of keys: of the form `^[a-z]+$`."]


def test_what_there_are_no_words_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"x\.schema\.json: .* contains"):
        page(tmp_path, {"properties": {"a": {"type": "array", "contains": {}}}})
    with pytest.raises(Failure, match="no words for when it holds: at least 1"):
        page(tmp_path, {"properties": {"a": {"if": {"pattern": "x"}, "then": {"minimum": 1}}}})


# --- the pages ----------------------------------------------------------------------------------------------


def test_the_pages_are_up_to_date() -> None:
    stale = [str(path.name) for path in reference.differing(reference.DOCS, reference.pages())]
    assert stale == [], f"run {reference.COMMAND}"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reference, "DOCS", tmp_path / "docs")
    return tmp_path / "docs"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reference", *arguments])
    return reference.main()


def test_it_writes_what_differs_and_only_that(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--check") == 1
    assert not elsewhere.exists()
    assert run(monkeypatch) == 0
    capsys.readouterr()
    assert run(monkeypatch, "--check") == 0
    assert capsys.readouterr().out == ""
    (elsewhere / "diagnostics.md").write_text("old")
    gone = elsewhere / "formats" / "gone.md"
    gone.write_text("a format that was removed")
    assert run(monkeypatch, "--check") == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.endswith(" differs") for line in told] == [True, True]
    assert os.path.basename(told[0].removesuffix(" differs")) == "diagnostics.md"
    assert run(monkeypatch) == 0
    assert not gone.exists()
    assert run(monkeypatch, "--check") == 0


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every page, by its path below `docs/`."""
    return {os.path.relpath(path, reference.DOCS): text for path, text in reference.pages().items()}


def test_every_code_has_a_section_that_the_table_leads_to(texts: dict[str, str]) -> None:
    text = texts["diagnostics.md"]
    for one in catalogue().values():
        assert f"| [{one.number}](#{one.number.lower()}) | {one.level} |" in text
        assert f'### <a id="{one.number.lower()}"></a>{one.number} ' in text
        assert one.explanation in text


def test_every_link_leads_somewhere(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        assert len(re.findall('<a id="([^"]+)">', text)) == len(set(re.findall('<a id="([^"]+)">', text)))
        prose_only = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_only):
            path, _, anchor = target.partition("#")
            where = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if where.endswith(".md"):
                assert not anchor or f'<a id="{anchor}">' in texts[where], f"{name}: {target}"
            else:
                assert (reference.DOCS / where).exists(), f"{name}: {target}"


def test_every_row_has_the_cells_of_its_table(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        heads = 0
        for line in text.splitlines():
            if not line.startswith("|"):
                heads = 0
                continue
            bars = len(re.findall(r"(?<!\\)\|", line))
            heads = heads or bars
            assert bars == heads, f"{name}: {line}"


def test_every_format_with_a_schema_has_a_page_with_all_its_schemas(texts: dict[str, str]) -> None:
    linked = "\n".join(text for name, text in texts.items() if name.startswith(("formats", "reference")))
    for one in reference.described():
        assert f"formats/{one.name}.md" in texts
    for schema in reference.SCHEMAS.glob("*.schema.json"):
        assert f"{schema.name}`" in linked


def test_every_playbook_module_and_role_has_its_section(texts: dict[str, str]) -> None:
    for page, found in (
        (
            "playbooks",
            [path for path in ansible_files.playbooks() if path.name not in ("plan.yml", "pool.yml")],
        ),
        ("modules", ansible_files.modules()),
        ("roles", ansible_files.roles()),
    ):
        for path in found:
            assert f'## <a id="{path.stem}"></a>' in texts[f"reference/{page}.md"]
    assert "| `agent_keep_releases` | int | `5` |" in texts["reference/roles.md"]
    assert "| `deadline` | float | `30.0` |" in texts["reference/modules.md"]
    rollback = texts["reference/playbooks.md"].partition('<a id="rollback">')[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", rollback, re.MULTILINE) == ["agent", "release"]
    assert "Reads of the inventory: `fleet`, `fleet_report`." in rollback


def test_a_variable_that_nobody_tells_of_is_named() -> None:
    known = reference.load(reference.SCHEMAS / "fleet.schema.json")["properties"]
    with pytest.raises(Failure, match=r"deploy\.yml reads fail_on_drift: describe it"):
        collection_pages.playbooks_page([name for name in known if name != "fail_on_drift"])


def test_ansibles_markup_becomes_markdown() -> None:
    text = "With O(path), C(f(x)) is V(true), see M(muster.agents.agent_plan) and RV(msg)."
    expected = "With `path`, `f(x)` is `true`, see [`agent_plan`](#agent_plan) and `msg`."
    assert collection_pages._words(text) == expected
