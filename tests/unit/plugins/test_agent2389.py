# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Configs in the published agent2389 format: read without a change, or refused with file, line and reason."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError
from ansible_collections.muster.agents.plugins.plugin_utils.readers import agent2389
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Mqtt, Spec
from tests.unit.plugins.builders import REPOSITORY, with_collection

URL = "mqtt://broker.example:1883"
PLACEHOLDERS = {"MQTT_BROKER_URL": URL, "AGENT_PORT": "20001"}
EXAMPLES = sorted((REPOSITORY / "agents").rglob("*.toml"))

# Every sort of thing that must survive: comments, odd spacing, a prompt that teaches shell.
CONFIG = '''# The head of the file.
[agent]
id   =   "writer-agent"     # spaced out
description = "Writes"

[mqtt]
broker_url = "${MQTT_BROKER_URL}"  # from the broker group
username_env = "MQTT_USERNAME"
password_env = "MQTT_PASSWORD"

[llm]
provider = "openai"
model = 'gpt-4o-mini'
api_key_env = "OPENAI_API_KEY"
system_prompt = """Say ${HOME} and {{ braces }}, 100 %, a \\\\ and "quotes".
Never expand $(this) or ${UNKNOWN:-default}. Grüße, 日本.\t
"""
'''


def read(
    path: Path,
    text: str | bytes,
    overrides: Mapping[str, Any] | None = None,
    secret_names: tuple[str, ...] = (),
    placeholders: Mapping[str, str] = PLACEHOLDERS,
) -> Spec:
    path = path / "writer.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return agent2389.read(path, "agents/writer.toml", overrides or {}, placeholders, frozenset(secret_names))


def refused(path: Path, text: str | bytes, **options: Any) -> list[str]:
    with pytest.raises(InputError) as refusal:
        read(path, text, **options)
    return [str(problem) for problem in refusal.value.problems]


# --- what loads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_this_repository_load(path: Path) -> None:
    spec = agent2389.read(path, str(path), {}, PLACEHOLDERS, frozenset())
    assert spec.mqtt.url == URL
    assert spec.agent_id == agent2389.read_id(path, str(path))


LOCATE = """
import sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.plugin_utils import toml_source
for path in sys.argv[1:]:
    toml_source.locate(Path(path).read_text("utf-8"))
"""
PYTHONS = [
    "/usr/bin/python3",
    *sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("3.1[1-9].*/bin/python"))),
]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_examples_load_with_every_python_that_a_controller_may_have(python: str) -> None:
    """Debian 12's own 3.11.2 has another idea of some regular expressions than 3.11.5 and newer."""
    version = [python, "-c", "import sys; print(sys.version_info >= (3, 11))"]
    if not Path(python).exists() or subprocess.check_output(version, text=True) != "True\n":
        pytest.skip("not a Python for controllers")
    command = [python, "-c", LOCATE, *map(str, EXAMPLES)]
    done = subprocess.run(command, env=with_collection(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_published_example_loads() -> None:
    path = REPOSITORY / "agents/researcher.toml"
    spec = agent2389.read(path, "agents/researcher.toml", {}, PLACEHOLDERS, frozenset())
    assert spec.agent_id == "researcher-agent"
    assert spec.description == "Research agent with web search capabilities"
    assert spec.mqtt == Mqtt(URL, "MQTT_USERNAME", "MQTT_PASSWORD")
    lines = path.read_text("utf-8").splitlines()
    assert [(one.variable, one.field, one.where) for one in spec.secrets] == [
        (
            variable,
            field,
            f"agents/researcher.toml:{1 + next(n for n, line in enumerate(lines) if variable in line)}",
        )
        for variable, field in [
            ("MQTT_USERNAME", "mqtt.username_env"),
            ("MQTT_PASSWORD", "mqtt.password_env"),
            ("OPENAI_API_KEY", "llm.api_key_env"),
            ("SERPER_API_KEY", "tools.web_search.api_key_env"),
        ]
    ]


def test_all_but_the_placeholder_stays_byte_for_byte(tmp_path: Path) -> None:
    assert read(tmp_path, CONFIG).text == CONFIG.replace("${MQTT_BROKER_URL}", URL)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_without_placeholders_nothing_changes_at_all(tmp_path: Path, ending: str) -> None:
    text = CONFIG.replace("${MQTT_BROKER_URL}", URL).replace("\n", ending)
    assert read(tmp_path, text).text == text


def test_an_override_changes_its_key_and_no_other_line(tmp_path: Path) -> None:
    overrides = {"llm": {"provider": "echo", "api_key_env": None}}
    before = CONFIG.replace("${MQTT_BROKER_URL}", URL).splitlines()
    after = read(tmp_path, CONFIG, overrides=overrides).text.splitlines()
    expected = [
        'provider = "echo"' if line.startswith("provider") else line
        for line in before
        if not line.startswith("api_key_env")
    ]
    assert after == expected


def test_a_key_that_an_override_removes_is_no_secret_any_more(tmp_path: Path) -> None:
    spec = read(tmp_path, CONFIG, overrides={"llm": {"api_key_env": None}})
    assert [one.variable for one in spec.secrets] == ["MQTT_USERNAME", "MQTT_PASSWORD"]


@pytest.mark.parametrize("tool", ['web_search = "builtin"', 'web_search = { impl = "builtin" }'])
def test_the_search_tool_needs_its_key_also_where_it_does_not_say_so(tmp_path: Path, tool: str) -> None:
    (secret,) = [
        one for one in read(tmp_path, f"{CONFIG}\n[tools]\n{tool}\n").secrets if "tools" in one.field
    ]
    line = CONFIG.count("\n") + 3
    assert (secret.variable, secret.where) == ("SERPER_API_KEY", f"agents/writer.toml:{line}")


# --- placeholders -------------------------------------------------------------------------------------------


def test_a_default_is_used_where_nothing_gives_a_value(tmp_path: Path) -> None:
    text = CONFIG.replace("gpt-4o-mini", "${MODEL:-small}-${AGENT_PORT:-1}")
    assert tomllib.loads(read(tmp_path, text).text)["llm"]["model"] == "small-20001"


@pytest.mark.parametrize("value", ['a"b', "back\\slash", "it's", "${MQTT_BROKER_URL}", "two\nlines", "日本"])
def test_a_value_is_quoted_and_not_looked_into(tmp_path: Path, value: str) -> None:
    text = CONFIG.replace("gpt-4o-mini", "${MODEL}")
    found = read(tmp_path, text, placeholders={**PLACEHOLDERS, "MODEL": value}).text
    assert tomllib.loads(found)["llm"]["model"] == value


def test_an_unresolved_placeholder_is_placed_and_says_what_to_do(tmp_path: Path) -> None:
    assert refused(tmp_path, CONFIG.replace("gpt-4o-mini", "${MODEL}")) == [
        "agents/writer.toml:13: llm.model: nothing gives ${MODEL} a value; set it in fleet.<agent>.environment"
    ]


def test_a_secret_in_a_placeholder_is_refused(tmp_path: Path) -> None:
    """Even where the environment holds its value, which is then not repeated."""
    text = CONFIG.replace("gpt-4o-mini", "${OPENAI_API_KEY}")
    found = refused(
        tmp_path,
        text,
        secret_names=("OPENAI_API_KEY",),
        placeholders={**PLACEHOLDERS, "OPENAI_API_KEY": "canary-value"},
    )
    assert found == [
        "agents/writer.toml:13: llm.model would put the secret OPENAI_API_KEY into the config; "
        "name the variable in a `*_env` field"
    ]


# --- secrets that are not references ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["api_key", "apikey", "API_KEY", "password", "client_secret", "auth_token", "token", "openai_api_key"],
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    (problem,) = refused(tmp_path, f'{CONFIG}{key} = "sk-canary-0123456789"\n')
    line = CONFIG.count("\n") + 1
    assert problem.startswith(f"agents/writer.toml:{line}: llm.{key} holds a literal secret; ")
    assert "canary" not in problem


def test_a_literal_secret_from_an_override_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, CONFIG, overrides={"llm": {"api_key": "sk-canary-0123456789"}})
    assert "llm.api_key holds a literal secret" in problem
    assert "canary" not in problem


@pytest.mark.parametrize("value", ["sk-canary-0123456789", "canary value", "canary/+=="])
def test_a_key_pasted_where_a_name_belongs_is_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    text = CONFIG.replace('api_key_env = "OPENAI_API_KEY"', f'api_key_env = "{value}"')
    (problem,) = refused(tmp_path, text)
    assert problem.startswith("agents/writer.toml:14: llm.api_key_env ")
    assert "canary" not in problem


def test_ordinary_keys_are_no_secrets(tmp_path: Path) -> None:
    assert read(tmp_path, f'{CONFIG}max_tokens = "4000"\ntokenizer = "x"\nsecretary = "y"\napi_key = ""\n')


# --- what is refused ----------------------------------------------------------------------------------------


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    assert refused(tmp_path, "[agent]\n[mqtt]\n") == [
        "agents/writer.toml:1: agent.description is missing; write description under [agent]",
        "agents/writer.toml:1: agent.id is missing; write id under [agent]",
        "agents/writer.toml:1: llm.model is missing; write model under [llm]",
        "agents/writer.toml:1: llm.provider is missing; write provider under [llm]",
        "agents/writer.toml:1: llm.system_prompt is missing; write system_prompt under [llm]",
        "agents/writer.toml:2: mqtt.broker_url is missing; write broker_url under [mqtt]",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"writer-agent"', '".."', "3: agent.id '..' is not safe"),
        ('"writer-agent"', '"-x"', "3: agent.id '-x' is not safe"),
        ('"writer-agent"', '"a/b"', "3: agent.id 'a/b' is not safe"),
        ('"writer-agent"', '""', "3: agent.id '' is not safe"),
        ('"writer-agent"', "3", "3: agent.id must be a string"),
        ("${MQTT_BROKER_URL}", "broker:1883", "7: mqtt.broker_url must be mqtt://host:port"),
        ("${MQTT_BROKER_URL}", "http://broker", "7: mqtt.broker_url must be mqtt://host:port"),
        (
            "[mqtt]\n",
            "[mqtt]\nheartbeat_interval_secs = 0\n",
            "7: mqtt.heartbeat_interval_secs must be at least 1",
        ),
        ("[mqtt]\n", "[mqtt]\nheartbeat_interval_secs = true\n", "7: mqtt.heartbeat_interval_secs must be"),
        (
            "[llm]\n",
            "[llm]\ntemperature = 2.5\n",
            "12: llm.temperature is 2.5; it must be between 0.0 and 2.0",
        ),
        ("[llm]\n", "[llm]\ntemperature = nan\n", "12: llm.temperature is nan; it must be"),
        ("[llm]\n", "[llm]\ntemperature = true\n", "12: llm.temperature is True; it must be"),
        ("# The head of the file.\n", "budget = 3\n", "1: [budget] must be a table"),
        ("# The head of the file.\n", "tools = []\n", "1: [tools] must be a table"),
    ],
)
def test_a_value_that_cannot_be_is_placed(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (found,) = refused(tmp_path, CONFIG.replace(old, new, 1))
    assert found.startswith(f"agents/writer.toml:{problem}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[agent]\nid = "x\n', "2:8"),
        ("[agent]\nid == 3\n", "2:5"),
        ("\n\n[agent\n", "3:7"),
        ("a = 1\na = 2\n", "2:6"),
        ("\ufeff" + CONFIG, "1:1"),
        ("a = [1,\n", "2"),
        ("a = \0\n", "1:5"),
    ],
)
def test_bad_toml_is_placed_by_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    (found,) = refused(tmp_path, text)
    assert found.startswith(f"agents/writer.toml:{place}: not valid TOML: ")
    assert "at line" not in found
    path = tmp_path / "writer.toml"
    with pytest.raises(InputError, match=re.escape(f"agents/writer.toml:{place}: ")):
        agent2389.read_id(path, "agents/writer.toml")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff\xfe[\0a\0", "agents/writer.toml: byte 0 is not UTF-8"),
        (CONFIG.encode("latin-1", "replace"), "agents/writer.toml: byte "),
        (b"#" * (1 << 20) + b"\n", "agents/writer.toml: is larger than 1048576 bytes"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "agents/writer.toml: is nested too deeply"),
        (b"", "agents/writer.toml:1: "),
    ],
)
def test_what_is_no_config_at_all_is_said_to_be_none(tmp_path: Path, data: bytes, problem: str) -> None:
    assert refused(tmp_path, data)[0].startswith(problem)


@pytest.mark.parametrize("depth", [50, 200, 300, 400, 450, 480])
def test_nesting_never_ends_in_a_traceback(tmp_path: Path, depth: int) -> None:
    nested = f"{'[' * depth}1{']' * depth}"
    try:
        assert read(tmp_path, f"deep = {nested}\n{CONFIG}")
    except InputError as error:
        assert "nested too deeply" in str(error)


def test_a_directory_and_a_missing_file_are_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="agents/x: Is a directory"):
        agent2389.read(tmp_path, "agents/x", {}, {}, frozenset())
    with pytest.raises(InputError, match="agents/x: No such file"):
        agent2389.read(tmp_path / "absent", "agents/x", {}, {}, frozenset())


@pytest.mark.parametrize("text", ["", "[agent]\n", "[agent]\nid = 3\n", 'agent = "x"\n'])
def test_a_config_without_an_id_says_where_to_write_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(InputError, match=r"x\.toml:1: agent\.id is missing; write id under \[agent\]"):
        agent2389.read_id(tmp_path / "x.toml", "x.toml")


@pytest.mark.parametrize(
    "overrides",
    [{"llm": {"stop": [None]}}, {"llm": {3: "x"}}],
)
def test_an_override_that_toml_cannot_hold_is_a_problem_and_no_traceback(
    tmp_path: Path, overrides: dict[str, Any]
) -> None:
    assert "overrides" in refused(tmp_path, CONFIG, overrides=overrides)[0]


# --- anything -----------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        *CONFIG.splitlines(keepends=True),
        "[tools]\n",
        "[[tools]]\n",
        "[llm.more]\n",
        'web_search = { impl = "x" }\n',
        'a.b = "${X}"\n',
        'x_env = ""\n',
        "x_env = 3\n",
        'api_key = ["x"]\n',
        "id = 1979-05-27\n",
        "\ufeff",
        "\r",
        '"""',
        "'",
        "${",
        "\\",
    ]
)


def spec_or_problems(folder: Path, data: bytes) -> None:
    try:
        spec = read(folder, data, secret_names=("OPENAI_API_KEY",))
    except InputError as error:
        assert error.problems
        assert all(problem.where.startswith("agents/writer.toml") for problem in error.problems)
    else:
        assert tomllib.loads(spec.text)["agent"]["id"] == spec.agent_id


@given(st.binary(max_size=200))
def test_random_bytes_give_a_spec_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    spec_or_problems(tmp_path_factory.getbasetemp(), data)


@given(st.lists(pieces, max_size=25))
def test_a_scrambled_config_gives_a_spec_or_problems(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    spec_or_problems(tmp_path_factory.getbasetemp(), "".join(lines).encode())


@given(st.data())
def test_a_config_with_one_line_changed_gives_a_spec_or_problems(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = CONFIG.splitlines(keepends=True)
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(pieces | st.text(max_size=20))
    text = "".join(lines)
    spec_or_problems(tmp_path_factory.getbasetemp(), text.encode("utf-8", "replace"))
