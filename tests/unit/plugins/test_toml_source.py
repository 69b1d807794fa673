# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import string
import time
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from typing import Any

import pytest
import tomllib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils import toml_source

# --- documents made from a grammar --------------------------------------------------------------------------

KEYS = ["a", "b", "c", '"a"', "'b'", '"x y"', '"d.e"', "''", '"\\u00e9"', "1"]
COMMENTS = ["", "", " # note", '  # [odd] = """ \' { ']

key_parts = st.sampled_from(KEYS)
dotted_keys = st.lists(key_parts, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", " . "]).map(lambda dot: dot.join(parts))
)
scalars = st.sampled_from(
    [
        *[
            "0",
            "-17",
            "+1_000",
            "0xdead_beef",
            "0o755",
            "0b101",
            "1.5",
            "-0.0",
            "6.02e23",
            "1e-7",
            "inf",
            "-inf",
        ],
        *[
            "nan",
            "true",
            "false",
            "1979-05-27",
            "07:32:00.5",
            "1979-05-27T07:32:00Z",
            "1979-05-27 07:32:00-07:00",
        ],
        *[
            '""',
            "''",
            '"plain"',
            '"esc \\" \\\\ \\n \\u00e9 # ]}"',
            "'C:\\raw # \" ]'",
            '"[a]"',
            "'{ x = 1 }'",
        ],
        *['"""one line"""', "'''raw '' line'''", '""""quoted""""', "'''''two'''''", '"""a "" b \\""" c"""'],
        *['"""\n[a]\nb = 1 # no\n"""', "'''\n{ \\ }\n\n'''", '"""\\\n   trimmed \\\n  """'],
    ]
)
gaps = st.sampled_from(["", " ", "\n  ", " # , ]\n", "\n\n"])


def arrays(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def build(pair: tuple[list[str], str]) -> str:
        elements, gap = pair
        return f"[{gap}{f'{gap},{gap}'.join(elements)}{gap}{',' if elements else ''}{gap}]"

    return st.tuples(st.lists(items, max_size=3), gaps).map(build)


def inline_tables(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(dotted_keys, items), max_size=3)
    spaces = st.sampled_from(["", " "])

    def build(pair: tuple[list[tuple[str, str]], str]) -> str:
        entries, space = pair
        inner = f"{space},{space}".join(f"{name}{space}={space}{value}" for name, value in entries)
        return f"{{{space}{inner}{space}}}"

    return st.tuples(members, spaces).map(build)


values = st.recursive(scalars, lambda items: arrays(items) | inline_tables(items), max_leaves=6)
statements = st.one_of(
    st.tuples(
        st.sampled_from(["", "  "]),
        dotted_keys,
        st.sampled_from(["=", " = "]),
        values,
        st.sampled_from(COMMENTS),
    ).map("".join),
    st.tuples(dotted_keys, st.sampled_from(COMMENTS)).map(lambda pair: f"[{pair[0]}]{pair[1]}"),
    st.tuples(dotted_keys, st.sampled_from(COMMENTS)).map(lambda pair: f"[[ {pair[0]} ]]{pair[1]}"),
    st.sampled_from(["", "# a comment = 1", "   "]),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid TOML: a statement that would make the text invalid is left out."""
    text = ""
    for statement in draw(st.lists(statements, max_size=14)):
        longer = f"{text}{statement}\n"
        if is_toml(longer):
            text = longer
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
python_scalars = st.one_of(
    st.text(),
    st.text(alphabet="\"'\\\n\r\t # ab"),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.datetimes(timezones=st.none() | zones),
    st.dates(),
    st.times(),
)
names = st.sampled_from(["a", "b", "c", "x y", "d.e", "", "\u00e9", "1", "new"])
plain_values = st.recursive(
    python_scalars,
    lambda items: st.lists(items, max_size=3) | st.dictionaries(names, items, max_size=3),
    max_leaves=5,
)
override_dicts = st.dictionaries(
    names,
    st.recursive(
        st.none() | plain_values, lambda items: st.dictionaries(names, items, max_size=3), max_leaves=8
    ),
    max_size=4,
)


def exact(value: Any) -> Any:
    """A form whose equality tells 1 from True and 1.0, and holds for nan."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, (date, time_of_day)):  # their `fold` is nothing that a text could hold
        return (type(value).__name__, value.isoformat())
    return (type(value).__name__, repr(value))


def leaves(value: Any, path: toml_source.Path = ()) -> dict[toml_source.Path, Any]:
    """Every path of a parsed document with its value."""
    found = {path: value} if path else {}
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            found |= {(*path, name): item} | leaves(item, (*path, name))
        else:
            found[(*path, name)] = item
    return found


thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

# --- locate -------------------------------------------------------------------------------------------------


@thorough
@given(documents())
def test_every_path_is_located_and_every_value_stands_in_its_span(text: str) -> None:
    expected = leaves(tomllib.loads(text))
    spans = toml_source.locate(text)
    assert set(spans) == set(expected)
    for path, span in spans.items():
        value = expected[path]
        source = text[span.value_start : span.value_end]
        if not isinstance(value, (dict, list)) or source.startswith("{"):
            assert exact(tomllib.loads(f"x = {source}")["x"]) == exact(value)
        name = path[-1]
        if isinstance(name, str):
            assert list(tomllib.loads(f"{text[span.key_start : span.key_end]} = 1")) == [name]


def test_positions_of_a_document_with_everything() -> None:
    text = (
        "# head\r\n"
        "title = 'x' # trailing\r\n"
        "[agent] # the agent\r\n"
        'id = "researcher"\r\n'
        "llm . model = 1979-05-27 07:32:00\r\n"
        "[[tasks]]\r\n"
        "name = 1\r\n"
        "[[tasks]]\r\n"
        "  list = [ # c\r\n    1, {k = 'v'},\r\n  ]\r\n"
    )
    spans = toml_source.locate(text)

    def value(*path: str | int) -> str:
        return text[spans[path].value_start : spans[path].value_end]

    assert toml_source.line_col(text, spans["agent", "id"].value_start) == (4, 6)
    assert toml_source.line_col(text, 0) == (1, 1)
    assert value("agent") == "[agent]"
    assert value("agent", "llm") == "llm"
    assert value("agent", "llm", "model") == "1979-05-27 07:32:00"
    assert value("tasks", 1) == "[[tasks]]"
    assert toml_source.line_col(text, spans["tasks", 1].key_start) == (8, 3)
    assert value("tasks", 1, "list", 1) == "{k = 'v'}"
    assert value("tasks", 1, "list", 1, "k") == "'v'"
    assert value("tasks", 1, "list", 0) == "1"


@settings(max_examples=300, deadline=1000)
@given(st.text(alphabet="a.=[]{}\"'\\\n\r #,1", max_size=40))
def test_a_text_that_is_not_toml_ends_too(text: str) -> None:
    try:
        toml_source.locate(text)
    except ValueError:
        assert not is_toml(text)


def test_nesting_beyond_the_recursion_limit() -> None:
    depth = 20_000
    root = toml_source.override(f"x = {'[' * depth}{']' * depth}\ny = 1\n", {"y": 2})
    assert root.endswith("]\ny = 2\n")
    shallow = f"x = {'[' * 1500}{']' * 1500}"
    assert max(map(len, toml_source.locate(shallow))) == 1500


def seconds(text: str) -> float:
    best = float("inf")
    for _attempt in range(3):
        start = time.process_time()
        toml_source.locate(text)
        toml_source.override(text, {"t5": {"k": 2}, "new": {"k": 1}})
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "block",
    [
        '[t{n}]\nk = 1 # comment\ns = """\nline {n}\n"""\na.b = [1, 2, {{x = 1}}]\n',
        "k{n} = 1\n",
        "[[t]]\nname = '{n}'\n",
        "# {n}\n\n",
    ],
)
def test_time_grows_with_the_size(block: str) -> None:
    small = "".join(block.format(n=n) for n in range(1_000))
    large = "".join(block.format(n=n) for n in range(8_000))
    assert seconds(large) < 8 * 4 * seconds(small) + 0.05


def test_time_grows_with_the_size_of_one_line() -> None:
    small, large = (
        "x = {" + ", ".join(f"k{n} = [{n}]" for n in range(size)) + "}" for size in (1_000, 8_000)
    )
    assert seconds(large) < 8 * 4 * seconds(small) + 0.05


# --- override -----------------------------------------------------------------------------------------------


@thorough
@given(documents(), override_dicts)
def test_override_is_deep_merge_on_the_text(text: str, overrides: dict[str, Any]) -> None:
    merged = toml_source.override(text, overrides)
    assert exact(tomllib.loads(merged)) == exact(toml_source.deep_merge(tomllib.loads(text), overrides))
    assert toml_source.override(merged, overrides) == merged


@thorough
@given(documents(), st.data())
def test_override_of_what_stands_there_changes_no_character(text: str, data: st.DataObject) -> None:
    parsed = tomllib.loads(text)
    chosen = data.draw(st.sets(st.sampled_from(sorted(parsed)))) if parsed else set()
    same = {name: parsed[name] for name in chosen if not has_tables_in_arrays(text, name)}
    assert toml_source.override(text, same) == text


def has_tables_in_arrays(text: str, name: str) -> bool:
    return any(
        path[0] == name and text.startswith("[[", span.value_start)
        for path, span in toml_source.locate(text).items()
    )


@thorough
@given(documents(), override_dicts)
def test_lines_that_no_override_reaches_survive(text: str, overrides: dict[str, Any]) -> None:
    eol = "\r\n" if "\r\n" in text else "\n"
    guard = f"# guard{eol}[guard]  # 1{eol}{eol}prompt = '''{eol}a = 1{eol}'''  {eol}# end{eol}"
    joined = (text if text.endswith("\n") or not text else text + eol) + guard
    assert guard in toml_source.override(joined, overrides)


CONFIG = '''\
# The researcher
[agent]
id = "researcher"   # stable
description = "d"

[llm]
provider = "openai"
system_prompt = """
Say "hi" to {name}.
100 % done \\\\ ok
"""
# sampling
temperature = 0.70

[tools]
http = "builtin"
web = { impl = "builtin", config = { max = 1, rate.limit = 2 } }
'''


def changed(overrides: dict[str, Any], text: str = CONFIG) -> list[str]:
    """The lines that differ, as `-old` and `+new`."""
    old, new = text.splitlines(True), toml_source.override(text, overrides).splitlines(True)
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return [f"-{line}" for line in old] + [f"+{line}" for line in new]


def test_a_value_is_replaced_in_place() -> None:
    assert changed({"agent": {"id": "r-2"}}) == [
        '-id = "researcher"   # stable\n',
        '+id = "r-2"   # stable\n',
    ]
    assert changed({"llm": {"temperature": 0.7}}) == []


def test_a_multi_line_prompt_stays_multi_line() -> None:
    assert changed({"llm": {"system_prompt": 'One\n"""two" \\\n'}}) == [
        '-Say "hi" to {name}.\n',
        "-100 % done \\\\ ok\n",
        "+One\n",
        '+\\"\\""two" \\\\\n',
    ]


def test_none_removes_the_line() -> None:
    assert changed({"llm": {"temperature": None}}) == ["-temperature = 0.70\n"]
    assert changed({"llm": {"absent": None}, "nowhere": None}) == []


def test_a_new_key_follows_the_last_of_its_table() -> None:
    assert changed({"agent": {"extra": True}}) == ["+extra = true\n"]
    text = toml_source.override(CONFIG, {"agent": {"extra": True}})
    assert 'description = "d"\nextra = true\n\n[llm]' in text


def test_a_new_table_comes_at_the_end() -> None:
    assert changed({"budget": {"max_tool_calls": 3, "per": {"day": 1}}, "mqtt": {"tls": {"on": True}}}) == [
        *["+\n", "+[budget]\n", "+max_tool_calls = 3\n", "+\n", "+[budget.per]\n", "+day = 1\n"],
        *["+\n", "+[mqtt.tls]\n", "+on = true\n"],
    ]


def test_inside_inline_tables() -> None:
    assert changed(
        {"tools": {"web": {"config": {"max": 9, "rate": {"burst": 1}}, "impl": None, "on": True}}}
    )[1:] == ["+web = { config = { max = 9, rate.limit = 2, rate.burst = 1 }, on = true }\n"]
    assert changed({"tools": {"web": {"config": {"rate": {"limit": None}}}}})[1:] == [
        '+web = { impl = "builtin", config = { max = 1, rate = {} } }\n'
    ]


def test_a_table_and_a_value_replace_each_other() -> None:
    assert changed({"tools": {"http": {"impl": "x"}}})[1:] == ['+http = { impl = "x" }\n']
    text = toml_source.override(CONFIG, {"tools": 1})
    assert text.startswith("tools = 1\n# The researcher\n")
    assert "web" not in text


def test_a_table_that_a_header_implies_first_and_a_dotted_key_later() -> None:
    text = "[a.b.c]\n[a]\nb.d = 1\n"
    assert toml_source.override(text, {"a": {"b": {"e": 2}}}) == text + "b.e = 2\n"


def test_crlf_and_a_missing_last_line_end_are_kept() -> None:
    assert toml_source.override("[a]\r\nb = 1", {"a": {"c": 2}, "d": {"e": 3}}) == (
        "[a]\r\nb = 1\r\nc = 2\r\n\r\n[d]\r\ne = 3"
    )
    assert toml_source.override("", {"a": {"b": 1}}) == "[a]\nb = 1\n"


# --- strings and values -------------------------------------------------------------------------------------


@thorough
@given(documents(), st.data())
def test_replace_strings_changes_just_those(text: str, data: st.DataObject) -> None:
    parsed = leaves(tomllib.loads(text))
    strings = [path for path, value in parsed.items() if isinstance(value, str)]
    chosen = data.draw(st.sets(st.sampled_from(strings))) if strings else set()
    replacements = {path: data.draw(st.text(alphabet=string.printable)) for path in sorted(chosen, key=repr)}
    after = leaves(tomllib.loads(toml_source.replace_strings(text, replacements)))
    for path, value in parsed.items():
        if not isinstance(value, (dict, list)):
            assert exact(after[path]) == exact(replacements.get(path, value))
    assert set(after) == set(parsed)


@pytest.mark.parametrize(
    "path", [("agent",), ("agent", "nope"), ("llm", "temperature"), ("tools", "web"), ()]
)
def test_replace_strings_wants_a_string(path: toml_source.Path) -> None:
    with pytest.raises(KeyError):
        toml_source.replace_strings(CONFIG, {path: "x"})


@settings(max_examples=300, deadline=None)
@given(plain_values)
def test_to_toml_is_read_back(value: Any) -> None:
    assert exact(tomllib.loads(f"x = {toml_source.to_toml(value)}")["x"]) == exact(value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        ([None], TypeError),
        ({1: 2}, TypeError),
        (b"x", TypeError),
        ("\ud800", ValueError),
        (time_of_day(1, tzinfo=timezone.utc), ValueError),
    ],
)
def test_what_toml_cannot_hold(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        toml_source.to_toml(value)


def test_dates() -> None:
    assert (
        toml_source.to_toml([date(1, 2, 3), datetime(2024, 1, 2, 3, 4)])
        == "[0001-02-03, 2024-01-02T03:04:00]"
    )
