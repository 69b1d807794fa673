# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Environment files: what is written is what systemd, and the engine itself, will read."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import envfile
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from tests.unit.plugins.builders import few

# Surrogates aside, which no UTF-8 file can hold.
texts = st.text(
    st.one_of(
        st.sampled_from("\"'\\$`#%;=! \t{}~é\u2028\u2029\x85\x7f"), st.characters(exclude_categories=["Cs"])
    )
)
printable = texts.filter(str.isprintable)

# systemd.exec(5): inside double quotes a backslash comes before these four and before nothing else.
WRITTEN = {
    "plain": 'V="plain"\n',
    "": 'V=""\n',
    "two words": 'V="two words"\n',
    'say "hi"': 'V="say \\"hi\\""\n',
    "back\\slash": 'V="back\\\\slash"\n',
    "$HOME `id`": 'V="\\$HOME \\`id\\`"\n',
    "# no comment; 100%": 'V="# no comment; 100%"\n',
    "it's": 'V="it\'s"\n',
    "grüße 日本": 'V="grüße 日本"\n',
    "tab\there": 'V="tab\there"\n',
}

# One process for all: reads the path of an environment file a line, answers with its variables as JSON.
LOADER = """
import ctypes, json, sys

texts = ctypes.POINTER(ctypes.c_char_p)
systemd = ctypes.CDLL(sys.argv[1])
systemd.strv_env_clean_with_callback.restype = texts
for line in sys.stdin:
    found = texts()
    code = systemd.load_env_file(None, line.rstrip("\\n").encode(), ctypes.byref(found))
    if code < 0:
        sys.exit(f"load_env_file: {code}")
    # As systemd does for EnvironmentFile=: what it holds invalid is dropped.
    found = systemd.strv_env_clean_with_callback(found, None, None)
    count = 0
    while found[count] is not None:
        count += 1
    print(json.dumps([found[index].decode() for index in range(count)]), flush=True)
"""

ReadBySystemd = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def read_by_systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadBySystemd]:
    """The variables of a text as systemd's own parser reads them."""
    libraries = sorted(Path("/usr/lib").glob("*-linux-gnu*/systemd/libsystemd-shared-*.so"))
    if not libraries:
        pytest.skip("systemd is not installed here")
    path = tmp_path_factory.mktemp("systemd") / "env"
    with subprocess.Popen(
        [sys.executable, "-c", LOADER, str(libraries[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def read(text: str) -> dict[str, str]:
            path.write_text(text, "utf-8")
            print(path, file=asked, flush=True)
            return dict(entry.partition("=")[::2] for entry in json.loads(answers.readline()))

        yield read
        asked.close()


@few
@given(printable)
def test_any_printable_value_survives(value: str) -> None:
    assert envfile.parse(envfile.render({"SECRET": value})) == {"SECRET": value}


@few
@given(st.dictionaries(st.sampled_from(["A", "B", "_c", "D_1"]), texts))
def test_what_is_not_refused_survives(variables: dict[str, str]) -> None:
    try:
        text = envfile.render(variables)
    except EngineError:
        assert any(
            unicodedata.category(character) == "Cc" for value in variables.values() for character in value
        )
    else:
        assert envfile.parse(text) == variables


@pytest.mark.parametrize("value", WRITTEN)
def test_it_is_quoted_as_systemd_documents_it(value: str) -> None:
    assert envfile.render({"V": value}) == WRITTEN[value]


def test_systemd_reads_what_the_table_says(read_by_systemd: ReadBySystemd) -> None:
    values = {f"V{number}": value for number, value in enumerate(WRITTEN)}
    assert read_by_systemd(envfile.render(values)) == values


@few
@given(st.lists(printable, min_size=1, max_size=8))
def test_systemd_reads_any_printable_value(read_by_systemd: ReadBySystemd, values: list[str]) -> None:
    variables = {f"V{number}": value for number, value in enumerate(values)}
    assert read_by_systemd(envfile.render(variables)) == variables


@pytest.mark.parametrize("character", [chr(code) for code in range(32) if code != 9], ids=ascii)
def test_a_line_break_or_control_character_is_refused(character: str) -> None:
    with pytest.raises(EngineError, match="API_KEY holds a line break or control character"):
        envfile.render({"API_KEY": f"canary{character}tail"})


@pytest.mark.parametrize("value", ["canary\n", "can\nary", "\rcanary", "canary\0", "canary\x1b[0m"])
def test_a_refusal_names_the_variable_and_not_its_value(value: str) -> None:
    with pytest.raises(EngineError, match="API_KEY") as refusal:
        envfile.render({"API_KEY": value, "OTHER": "other-canary"})
    assert "can" not in str(refusal.value).replace("cannot", "")
    assert "other-canary" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "É", "A\n", "A\0"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match="not a name"):
        envfile.render({name: "value"})


def test_the_order_of_the_variables_does_not_matter() -> None:
    assert envfile.render({"B": "2", "A": "1"}) == envfile.render({"A": "1", "B": "2"}) == 'A="1"\nB="2"\n'
