# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Configs in the published agent2389 format: read without a change, or refused with file, line and reason."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.configs import (
    Choice,
    Library,
    Result,
    read_config,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR, in_order
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Known, place_of
from ansible_collections.muster.agents.plugins.plugin_utils.render_config import render_config
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


def result(
    path: Path,
    text: str | bytes,
    overrides: Mapping[str, Any] | None = None,
    secret_names: tuple[str, ...] = (),
    placeholders: Mapping[str, str] | None = PLACEHOLDERS,
    tools: tuple[str, ...] = (),
    as_format: str = "",
) -> Result:
    path = path / "writer.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    known = Known(placeholders, frozenset(secret_names), frozenset(tools))
    choice = Choice(as_format, known=known, name="writer", overrides=overrides or {})
    return read_config(path, "agents/writer.toml", choice, Library())


def read(path: Path, text: str | bytes, **options: Any) -> Spec:
    """Of a config in which nothing is wrong."""
    found = result(path, text, **options)
    assert [str(one) for one in found.diagnostics] == []
    return found.specs[0]


def rendered(path: Path, text: str | bytes, **options: Any) -> str:
    spec = read(path, text, **options)
    return render_config(spec, spec.agent_id, options.get("placeholders", PLACEHOLDERS))["agent.toml"]


def refused(path: Path, text: str | bytes, **options: Any) -> list[str]:
    """What is wrong, of which something is an error."""
    found = in_order(result(path, text, **options).diagnostics)
    assert any(one.level == ERROR for one in found)
    return [str(one) for one in found]


def said(path: Path, text: str | bytes, **options: Any) -> list[str]:
    return [str(one) for one in in_order(result(path, text, **options).diagnostics)]


# --- what loads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_format", ["agent2389", "reference"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_the_examples_of_this_repository(path: Path, as_format: str) -> None:
    known = Known(PLACEHOLDERS)
    found = read_config(path, str(path), Choice(as_format, known=known), Library())
    assert [str(one) for one in found.diagnostics] == []
    assert found.specs[0].mqtt is not None
    assert found.specs[0].mqtt.url == URL


LOCATE = """
import sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.plugin_utils.toml_source import TomlSource
for path in sys.argv[1:]:
    assert TomlSource(Path(path).read_text("utf-8")).place(("llm", "system_prompt"))
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


# As published, and as the program that it is written for does not load it.
PUBLISHED = (
    CONFIG
    + """
[tools]
web_search = { impl = "serper", api_key_env = "SERPER_API_KEY" }
http_request = "builtin"

[budget]
max_cost_per_task = 1.0
max_iterations = 10

[routing]
strategy = "llm"
max_iterations = 10

[routing.llm]
provider = "openai"
model = "gpt-4o-mini"
temperature = 0.1
"""
)


def test_the_published_example_is_refused_for_agent2389(tmp_path: Path) -> None:
    assert [one.partition(" ")[2][:13] for one in refused(tmp_path, PUBLISHED)] == [
        "error MA503: ",
        "warning MA201",
        "error MA504: ",
        "warning MA201",
    ]


def test_how_often_an_agent_gives_a_sign_of_life_is_read(tmp_path: Path) -> None:
    text = PUBLISHED.replace("[mqtt]\n", "[mqtt]\nheartbeat_interval_secs = 60\n")
    spec = read(tmp_path, text, as_format="reference")
    assert spec.mqtt is not None and spec.mqtt.heartbeat == 60.0


def test_the_published_example_is_what_the_reference_agent_takes(tmp_path: Path) -> None:
    spec = read(tmp_path, PUBLISHED, as_format="reference")
    assert (spec.agent_id, spec.description) == ("writer-agent", "Writes")
    assert spec.mqtt == Mqtt(URL, "MQTT_USERNAME", "MQTT_PASSWORD", 900.0)
    places = [(one.variable, place_of(one.place.file.source, one.place.path)) for one in spec.secrets]
    assert places == [
        ("MQTT_USERNAME", (8, 1)),
        ("MQTT_PASSWORD", (9, 1)),
        ("OPENAI_API_KEY", (14, 1)),
        ("SERPER_API_KEY", (20, 33)),
    ]


def test_all_but_the_placeholder_stays_byte_for_byte(tmp_path: Path) -> None:
    assert rendered(tmp_path, CONFIG) == CONFIG.replace("${MQTT_BROKER_URL}", URL)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_without_placeholders_nothing_changes_at_all(tmp_path: Path, ending: str) -> None:
    text = CONFIG.replace("${MQTT_BROKER_URL}", URL).replace("\n", ending)
    assert rendered(tmp_path, text) == text


def test_an_override_changes_its_key_and_no_other_line(tmp_path: Path) -> None:
    overrides = {"llm": {"provider": "echo", "api_key_env": None}}  # as the reference agent takes it
    before = CONFIG.replace("${MQTT_BROKER_URL}", URL).splitlines()
    after = rendered(tmp_path, CONFIG, overrides=overrides, as_format="reference").splitlines()
    expected = [
        'provider = "echo"' if line.startswith("provider") else line
        for line in before
        if not line.startswith("api_key_env")
    ]
    assert after == expected


def test_a_key_that_an_override_removes_is_no_secret_any_more(tmp_path: Path) -> None:
    overrides = {"llm": {"provider": "echo", "api_key_env": None}}
    spec = read(tmp_path, CONFIG, overrides=overrides, as_format="reference")
    assert [one.variable for one in spec.secrets] == ["MQTT_USERNAME", "MQTT_PASSWORD"]


@pytest.mark.parametrize("tool", ['web_search = "builtin"', 'web_search = { impl = "builtin" }'])
def test_the_search_tool_needs_its_key_also_where_it_does_not_say_so(tmp_path: Path, tool: str) -> None:
    secret = read(tmp_path, f"{CONFIG}\n[tools]\n{tool}\n").secrets[-1]
    line = CONFIG.count("\n") + 3
    assert (secret.variable, place_of(secret.place.file.source, secret.place.path)) == (
        "SERPER_API_KEY",
        (line, 1),
    )


# --- placeholders -------------------------------------------------------------------------------------------


def test_a_default_is_used_where_nothing_gives_a_value(tmp_path: Path) -> None:
    text = CONFIG.replace("gpt-4o-mini", "${MODEL:-small}-${AGENT_PORT:-1}")
    assert tomllib.loads(rendered(tmp_path, text))["llm"]["model"] == "small-20001"


@pytest.mark.parametrize("value", ['a"b', "back\\slash", "it's", "${MQTT_BROKER_URL}", "two\nlines", "日本"])
def test_a_value_is_quoted_and_not_looked_into(tmp_path: Path, value: str) -> None:
    text = CONFIG.replace("gpt-4o-mini", "${MODEL}")
    found = rendered(tmp_path, text, placeholders={**PLACEHOLDERS, "MODEL": value})
    assert tomllib.loads(found)["llm"]["model"] == value


def test_an_unresolved_placeholder_is_placed_and_says_what_to_do(tmp_path: Path) -> None:
    assert refused(tmp_path, CONFIG.replace("gpt-4o-mini", "${MODEL}")) == [
        "agents/writer.toml:13:10: error MA303: llm.model: nothing gives ${MODEL} a value; "
        "set it in fleet.writer.environment"
    ]


@pytest.mark.parametrize("default", ["", ":-", ":-none"])
def test_a_secret_in_a_placeholder_is_refused(tmp_path: Path, default: str) -> None:
    text = CONFIG.replace("gpt-4o-mini", "x-${CANARY" + default + "}")
    # Also where the environment would give it a value.
    environment = {**PLACEHOLDERS, "CANARY": "x"}
    (found,) = refused(tmp_path, text, secret_names=("CANARY",), placeholders=environment)
    assert found.startswith(
        "agents/writer.toml:13:12: error MA302: llm.model: ${CANARY} would write the secret CANARY into"
    )


def test_without_an_inventory_a_placeholder_is_a_hint_at_most(tmp_path: Path) -> None:
    text = CONFIG.replace("gpt-4o-mini", "${MODEL}")
    (found,) = said(tmp_path, text, placeholders=None)
    assert found.startswith("agents/writer.toml:13:10: hint MA303: ")


def test_a_prompt_may_teach_shell(tmp_path: Path) -> None:
    """`${HOME}` is nothing to say a word about; a name that a deploy fills in elsewhere may be a mistake."""
    (found,) = said(tmp_path, CONFIG.replace("${HOME}", "${MQTT_BROKER_URL}"))
    assert found.startswith(
        "agents/writer.toml:15:24: hint MA304: llm.system_prompt: ${MQTT_BROKER_URL} stays"
    )


# --- secrets that are not references ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["api_key", "apikey", "API_KEY", "password", "client_secret", "auth_token", "openai_api_key"],
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    (problem,) = refused(tmp_path, f'{CONFIG}{key} = "sk-canary-0123456789"\n')
    line = CONFIG.count("\n") + 1
    assert problem.startswith(f"agents/writer.toml:{line}:")
    assert f"error MA301: llm.{key} " in problem
    assert "canary" not in problem


def test_a_literal_secret_from_an_override_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, CONFIG, overrides={"llm": {"api_key": "sk-canary-0123456789"}})
    assert problem.startswith("fleet.writer.overrides.llm.api_key: error MA301: ")
    assert "canary" not in problem


@pytest.mark.parametrize("value", ["sk-canary-0123456789", "canary value", "canary/+=="])
def test_a_key_pasted_where_a_name_belongs_is_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    text = CONFIG.replace('api_key_env = "OPENAI_API_KEY"', f'api_key_env = "{value}"')
    (problem,) = refused(tmp_path, text)
    assert problem.startswith("agents/writer.toml:14:")
    assert "llm.api_key_env" in problem
    assert "canary" not in problem


def test_ordinary_keys_are_no_secrets(tmp_path: Path) -> None:
    found = said(tmp_path, f'{CONFIG}tokenizer = "x"\nsecretary = "y"\napi_key = ""\n')
    assert all(" warning MA201: " in one for one in found)


# --- what is refused ----------------------------------------------------------------------------------------


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    assert refused(tmp_path, "[agent]\n[mqtt]\n") == [
        "agents/writer.toml:1:1: error MA202: llm is missing",
        "agents/writer.toml:1:2: error MA202: agent.description is missing",
        "agents/writer.toml:1:2: error MA202: agent.id is missing",
        "agents/writer.toml:2:2: error MA202: mqtt.broker_url is missing",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"writer-agent"', '".."', "3:1: error MA508: agent.id: an id begins with"),
        ('"writer-agent"', '"-x"', "3:1: error MA508: agent.id: an id begins with"),
        ('"writer-agent"', '"a/b"', "3:1: error MA508: agent.id: an id begins with"),
        ('"writer-agent"', '"a\\n"', "3:1: error MA508: agent.id: an id begins with"),
        ('"writer-agent"', '""', "3:1: error MA508: agent.id: an id begins with"),
        ('"writer-agent"', "3", "3:1: error MA203: agent.id is 3; it must be a string"),
        ("${MQTT_BROKER_URL}", "broker:1883", "7:1: error MA506: mqtt.broker_url: write mqtt://host:port"),
        ("${MQTT_BROKER_URL}", "ssl://broker", "7:1: error MA506: mqtt.broker_url: write mqtt://host:port"),
        ("${MQTT_BROKER_URL}", "tcp://broker", "7:1: hint MA510: mqtt.broker_url: tcp:// is taken for plain"),
        (
            "[mqtt]\n",
            "[mqtt]\nheartbeat_interval_secs = 0\n",
            "7:1: error MA507: mqtt.heartbeat_interval_secs: ",
        ),
        (
            "[mqtt]\n",
            "[mqtt]\nheartbeat_interval_secs = true\n",
            "7:1: error MA203: mqtt.heartbeat_interval_secs is true",
        ),
        (
            "[mqtt]\n",
            "[mqtt]\nhartbeat_interval_secs = 9\n",
            "7:1: warning MA201: mqtt.hartbeat_interval_secs is not a key",
        ),
        (
            '"openai"',
            '"cohere"',
            '12:1: error MA205: llm.provider is "cohere"; it must be one of "openai", "anthropic"',
        ),
        (
            "[llm]\n",
            "[llm]\ntemperature = 3.5\n",
            "12:1: error MA204: llm.temperature is 3.5; it must be between 0.0 and 2.0",
        ),
        (
            "[llm]\n",
            "[llm]\ntemperature = true\n",
            "12:1: error MA203: llm.temperature is true; it must be a number",
        ),
        (
            "[llm]\n",
            '[llm]\nmax_tokens = "9"\n',
            "12:1: error MA203: llm.max_tokens is a string; it must be a whole number",
        ),
        (
            "[llm]\n",
            "[llm]\nmax_tokens = -1\n",
            "12:1: error MA204: llm.max_tokens is -1; it must be between 1 and",
        ),
        ("# The head of the file.\n", "budget = 3\n", "1:1: error MA203: budget is 3; it must be a table"),
        ("# The head of the file.\n", "tools = []\n", "1:1: error MA501: tools: write one table [tools]"),
        (
            "# The head of the file.\n",
            "tols.web_search = 1\n",
            "1:1: warning MA201: tols is not a table of agent2389",
        ),
        ("# The head of the file.\n", "mine.x = 1\n", "1:1: hint MA201: mine is not a table of agent2389"),
    ],
)
def test_a_value_that_cannot_be_is_placed(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (found,) = said(tmp_path, CONFIG.replace(old, new, 1))
    assert found.startswith(f"agents/writer.toml:{problem}")


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ('[tools]\necho = "builtin"', "2:1: error MA502: tools.echo: agent2389 has only the tools"),
        ('[tools]\nweb_serch = "builtin"', "2:1: error MA502: tools.web_serch: agent2389 has only"),
        ('[tools]\nweb_search = "serper"', '2:1: error MA503: tools.web_search: write "builtin"'),
        ('[tools]\nfile_read = { impl = "x" }', '2:15: error MA503: tools.file_read.impl: write "builtin"'),
        ("[tools]\nfile_read = {}", "2:1: error MA202: tools.file_read.impl is missing"),
        ("[tools]\nfile_read = 3", "2:1: error MA203: tools.file_read is 3; it must be a string or a table"),
        (
            '[tools.file_read]\nimpl = "builtin"\nconfig = { allowed_paths = ["/"] }',
            "3:12: warning MA201: tools.file_read.config.allowed_paths is not a key of agent2389, which ignores it",
        ),
        ('[[tools]]\nname = "echo"', "1:3: error MA501: tools: write one table [tools]"),
        ("[budget]\nmax_iterations = 3", "1:2: error MA504: budget.max_tool_calls is missing: "),
        (
            "[budget]\nmax_iterations = 3\nmax_tool_cals = 3",
            "3:1: error MA201: budget.max_tool_cals is not a key of agent2389, which ignores it; "
            "budget.max_tool_calls is missing (did you mean max_tool_calls?)",
        ),
        ('[routing]\nstrategy = "llm"', "1:2: error MA505: routing.llm is missing: "),
        ('[routing]\nstrategy = "gatekeeper"', "1:2: error MA505: routing.gatekeeper is missing: "),
        ('[routing]\nstrategy = "LLM"', '2:1: error MA205: routing.strategy is "LLM"; it must be one of'),
        ("[routing]\nmax_iterations = 1", "1:2: error MA202: routing.strategy is missing"),
    ],
)
def test_a_table_that_does_not_load_is_placed(tmp_path: Path, tables: str, problem: str) -> None:
    head = CONFIG.count("\n")
    line, _, rest = problem.partition(":")
    (found,) = said(tmp_path, f"{CONFIG}{tables}\n")
    assert found.startswith(f"agents/writer.toml:{head + int(line)}:{rest}")


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        *(
            (url, True)
            for url in (
                "mqtt://h",
                "MQTTS://h:8883",
                "mqtt://[::1]:1883",
                "mqtt://h/",
                "mqtt://h:",
                "Tcp://h",
            )
        ),
        *((f"mqtt://h:{port}", True) for port in ("1", "65535", "01883", "${PORT:-1883}")),
        *((f"mqtt://h:{port}", False) for port in ("0", "65536", "99999", "x", "-1", "1883x", "1883:1884")),
        *(
            (url, False)
            for url in ("mqtt://:1883", "mqtt://", "mqtt://[::1", "mqtt://::1:1883", "mqtt://[h]")
        ),
        *(
            (url, False)
            for url in ("mqtt://a|b", "mqtt://a b", "mqtt:/h", "mqqt://h", "h:1883", "mqtt://h:1,h:2")
        ),
    ],
)
def test_an_address_that_nothing_can_connect_to_is_refused(tmp_path: Path, url: str, fits: bool) -> None:
    found = result(tmp_path, CONFIG.replace("${MQTT_BROKER_URL}", url)).diagnostics
    errors = [(one.code, one.line, one.column) for one in found if one.level == ERROR]
    assert errors == ([] if fits else [("MA506", 7, 1)])


@pytest.mark.parametrize("as_format", ["agent2389", "reference"])
@pytest.mark.parametrize("value", ["4000.0", "4e3", "1_000.0"])
def test_a_whole_number_has_no_point(tmp_path: Path, value: str, as_format: str) -> None:
    """To JSON Schema 4000.0 is whole; both programs refuse it."""
    text = CONFIG.replace("[llm]\n", f"[llm]\nmax_tokens = {value}\n")
    (found,) = refused(tmp_path, text, as_format=as_format)
    number = float(value)
    assert found == (
        f"agents/writer.toml:12:1: error MA203: llm.max_tokens is {number}; "
        "it must be a whole number, written without a point"
    )


@pytest.mark.parametrize("value", ["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00"])
def test_a_date_is_no_string(tmp_path: Path, value: str) -> None:
    (found,) = refused(tmp_path, CONFIG.replace('"Writes"', value))
    assert found == (
        "agents/writer.toml:4:1: error MA203: agent.description is a date or time; it must be a string"
    )
    kept = "[agent]\n# Ignored, whatever it is: 1979-05-27\ncreated = 1979-05-27\n"
    (found,) = said(tmp_path, CONFIG.replace("[agent]\n", kept))
    assert found.startswith("agents/writer.toml:4:1: warning MA201: agent.created is not a key")


@pytest.mark.parametrize(
    ("old", "new", "place", "meant"),
    [
        ("[agent]", "[agents]", "2:2", "agent"),
        ("[agent]", "[AGENT]", "2:2", "agent"),
        ("[mqtt]", "[mqttt]", "6:2", "mqtt"),
        ("[llm]", "[LLM]", "11:2", "llm"),
        ("[llm]", "[lm]", "11:2", "llm"),
    ],
)
def test_a_misspelt_table_is_one_mistake(tmp_path: Path, old: str, new: str, place: str, meant: str) -> None:
    name = new.strip("[]")
    assert refused(tmp_path, CONFIG.replace(old, new)) == [
        f"agents/writer.toml:{place}: error MA201: {name} is not a table of agent2389, which ignores it; "
        f"{meant} is missing (did you mean {meant}?)"
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "meant"),
    [
        ("id   =", "ID =", "3:1", "agent.id"),
        ("id   =", "di =", "3:1", "agent.id"),
        ("description", "DESCRIPTION", "4:1", "agent.description"),
        ("broker_url =", "brokerUrl =", "7:1", "mqtt.broker_url"),
        ("broker_url =", "broker-url =", "7:1", "mqtt.broker_url"),
        ("broker_url =", "broker =", "7:1", "mqtt.broker_url"),
        ("provider =", "Provider =", "12:1", "llm.provider"),
        ("model =", "model_name =", "13:1", "llm.model"),
        ("api_key_env", "apiKeyEnv", "14:1", "llm.api_key_env"),
        ("system_prompt", "prompt", "15:1", "llm.system_prompt"),
    ],
)
def test_a_required_key_by_another_name_is_one_mistake(
    tmp_path: Path, old: str, new: str, place: str, meant: str
) -> None:
    (found,) = refused(tmp_path, CONFIG.replace(old, new, 1))
    assert found.startswith(
        f"agents/writer.toml:{place}: error MA201: {meant.partition('.')[0]}.{new.split()[0]} is not a key"
    )
    assert found.endswith(f"; {meant} is missing (did you mean {meant.partition('.')[2]}?)")


@pytest.mark.parametrize("written", ["Builtin", "bultin", "built-in"])
def test_a_misspelt_implementation_has_a_suggestion(tmp_path: Path, written: str) -> None:
    for tool in (f'"{written}"', f'{{ impl = "{written}" }}'):
        (found,) = refused(tmp_path, f"{CONFIG}[tools]\nfile_read = {tool}\n")
        assert " error MA503: " in found
        assert found.endswith("(did you mean builtin?)")


def test_a_key_outside_of_every_table_is_no_table(tmp_path: Path) -> None:
    (found,) = said(tmp_path, f'agent_id = "x"\n{CONFIG}')
    assert found == "agents/writer.toml:1:1: hint MA201: agent_id is not a key of agent2389, which ignores it"


def test_an_optional_key_in_another_case_has_a_suggestion(tmp_path: Path) -> None:
    (found,) = said(tmp_path, CONFIG.replace("[llm]\n", "[llm]\nMaxTokens = 5\n"))
    assert found.endswith(
        "warning MA201: llm.MaxTokens is not a key of agent2389, which ignores it (did you mean max_tokens?)"
    )


def test_a_build_of_ones_own_may_have_more_tools(tmp_path: Path) -> None:
    text = f'{CONFIG}[tools]\necho = "builtin"\n'
    assert read(tmp_path, text, tools=("echo",))


def test_who_work_is_handed_to_is_read_from_the_routing(tmp_path: Path) -> None:
    text = f'{CONFIG}[routing]\nstrategy = "llm"\nnext = ["judge", "/control/agents/editor-agent/input"]\n'
    (spec,) = result(tmp_path, f'{text}[routing.llm]\nprovider = "openai"\nmodel = "m"\n').specs
    assert [one.agent_id for one in spec.targets] == ["judge", "editor-agent"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[agent]\nid = "x\n', "2:8"),
        ("[agent]\nid == 3\n", "2:5"),
        ("\n\n[agent\n", "3:7"),
        ("\ufeff" + CONFIG, "1:1"),
        ("a = [1,\n", "2:1"),
    ],
)
def test_bad_toml_is_placed_by_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    (found,) = refused(tmp_path, text)
    assert found.startswith(f"agents/writer.toml:{place}: error MA103: ")
    assert "at line" not in found


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a = 1\na = 2\n", "agents/writer.toml:2:1: error MA105: "),
        (b"a = \0\n", "agents/writer.toml:1:5: error MA102: is a binary file"),
        (b"\xff\xfe[\0a\0", "agents/writer.toml: error MA102: is UTF-16; save it as UTF-8"),
        (CONFIG.encode("latin-1", "replace"), "agents/writer.toml:16:48: error MA102: is not UTF-8 here"),
        (b"#" * (1 << 20) + b"\n", "agents/writer.toml: error MA102: is 1 MiB large"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "agents/writer.toml:1:68: error MA104: "),
        (b"", "agents/writer.toml:1:1: error MA110: "),
    ],
)
def test_what_is_no_config_at_all_is_said_to_be_none(tmp_path: Path, data: bytes, problem: str) -> None:
    (found,) = refused(tmp_path, data)
    assert found.startswith(problem)


@pytest.mark.parametrize("depth", [50, 60, 70, 200, 300, 400, 450, 480])
def test_nesting_never_ends_in_a_traceback(tmp_path: Path, depth: int) -> None:
    nested = f"{'[' * depth}1{']' * depth}"
    found = said(tmp_path, f"deep = {nested}\n{CONFIG}")
    assert len(found) == 1
    assert ("MA104" in found[0]) == (depth > 63)


def test_a_folder_and_a_missing_file_are_said_to_be_that(tmp_path: Path) -> None:
    choice = Choice("agent2389")
    (found,) = read_config(tmp_path, "agents/x", choice, Library()).diagnostics
    assert str(found) == "agents/x: error MA101: is a folder; agent2389 reads a file"
    (found,) = read_config(tmp_path / "absent", "agents/x", choice, Library()).diagnostics
    assert str(found) == "agents/x: error MA101: does not exist"


@pytest.mark.parametrize("overrides", [{"llm": {"stop": [None]}}, {"llm": {3: "x"}}])
def test_an_override_that_toml_cannot_hold_is_a_problem_and_no_traceback(
    tmp_path: Path, overrides: dict[str, Any]
) -> None:
    assert (
        "fleet.writer.overrides: error MA403: do not fit" in refused(tmp_path, CONFIG, overrides=overrides)[0]
    )


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


def spec_or_findings(folder: Path, data: bytes) -> None:
    found = result(folder, data, secret_names=("OPENAI_API_KEY",), as_format="agent2389")
    assert all(one.file == "agents/writer.toml" for one in found.diagnostics)
    if not any(one.level == ERROR for one in found.diagnostics):
        (spec,) = found.specs
        text = render_config(spec, "other-id", PLACEHOLDERS)["agent.toml"]
        assert tomllib.loads(text)["agent"]["id"] == "other-id"


@given(st.binary(max_size=200))
def test_random_bytes_give_a_spec_or_findings(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    spec_or_findings(tmp_path_factory.getbasetemp(), data)


@given(st.lists(pieces, max_size=25))
def test_a_scrambled_config_gives_a_spec_or_findings(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    spec_or_findings(tmp_path_factory.getbasetemp(), "".join(lines).encode())


@given(st.data())
def test_a_config_with_one_line_changed_gives_a_spec_or_findings(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = CONFIG.splitlines(keepends=True)
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(pieces | st.text(max_size=20))
    text = "".join(lines)
    spec_or_findings(tmp_path_factory.getbasetemp(), text.encode("utf-8", "replace"))
