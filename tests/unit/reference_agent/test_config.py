# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_agent import config, effective_config, settings, toml_source
from muster_agent.errors import ConfigError

PUBLISHED = """\
[agent]
id = "researcher-agent"
description = "Research agent with web search capabilities"
capabilities = ["research", "web_search", "summarization"]

[mqtt]
broker_url = "mqtt://broker.example"  # resolved by whoever deploys
username_env = "MQTT_USERNAME"
password_env = "MQTT_PASSWORD"
heartbeat_interval_secs = 900

[llm]
provider = "openai"
model = "gpt-4o-mini"
api_key_env = "OPENAI_API_KEY"
system_prompt = \"\"\"You are a research agent.
[tools]
temperature = 100% {braces} \\\\ ${x}
\"\"\"
temperature = 0.7
max_tokens = 4000

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


def load(tmp_path: Path, text: str) -> config.AgentConfig:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [problem.replace(str(tmp_path) + "/", "") for problem in caught.value.problems]


def test_the_published_example_loads(tmp_path: Path) -> None:
    loaded = load(tmp_path, PUBLISHED)
    assert str(loaded.mqtt.broker) == "mqtt://broker.example:1883"
    assert (loaded.budget.max_tool_calls, loaded.budget.max_iterations, loaded.budget.max_cost_per_task) == (
        15,
        10,
        1.0,
    )
    assert [tool.implementation for tool in loaded.tools] == ["serper", "builtin"]
    assert sorted(loaded.env_names().values()) == [
        "MQTT_PASSWORD",
        "MQTT_USERNAME",
        "OPENAI_API_KEY",
        "SERPER_API_KEY",
    ]
    assert loaded.price() is not None
    assert "${x}" in loaded.llm.system_prompt


def test_the_real_agents_own_forms_load(tmp_path: Path) -> None:
    text = PUBLISHED.replace(
        'http_request = "builtin"', 'http_request = { impl = "builtin", config = { timeout_secs = 3 } }'
    )
    text = re.sub(r"\[budget\][^\[]*", "", text).replace("mqtt://broker.example", "mqtts://[::1]")
    loaded = load(tmp_path, text)
    assert loaded.tools[1].options["timeout_secs"] == 3
    assert (loaded.budget.max_tool_calls, loaded.budget.max_iterations) == (15, 8)
    assert str(loaded.mqtt.broker) == "mqtts://[::1]:8883"


def test_echo_needs_no_key_and_no_model(tmp_path: Path) -> None:
    text = PUBLISHED.replace('"openai"\nmodel = "gpt-4o-mini"\napi_key_env = "OPENAI_API_KEY"', '"echo"', 1)
    assert "llm.api_key_env" not in load(tmp_path, text).env_names()


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = PUBLISHED.replace("researcher-agent", "re/searcher").replace("0.7", "7.0").replace("= 900", "= 0")
    text = text.replace('http_request = "builtin"', 'file_read = "builtin"').replace('"llm"', '"gatekeeper"')
    assert [line.split(": ")[:2] for line in problems(tmp_path, text)] == [
        ["agent.toml:2", "agent.id"],
        ["agent.toml:10", "mqtt.heartbeat_interval_secs"],
        ["agent.toml:20", "llm.temperature"],
        ["agent.toml:25", "tools.file_read"],
        ["agent.toml:31", "routing.gatekeeper"],
    ]


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, PUBLISHED.replace("max_tokens = 4000", "max_tokens = "))
    assert line.startswith("agent.toml:21: not valid TOML: ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('api_key_env = "OPENAI_API_KEY"', 'api_key = "sk-canary-4711"'),
        ('"OPENAI_API_KEY"', '"sk-canary-4711"'),
        ("mqtt://broker.example", "mqtt://user:canary-4711@broker.example"),
        ('"mqtt://broker.example"', '"redis://canary-4711"'),
        ("max_iterations = 10\n\n[routing]", 'max_iterations = 10\ntoken = "canary-4711"\n[routing]'),
        ('api_key_env = "SERPER_API_KEY"', 'api_key = "canary-4711"'),
    ],
)
def test_a_pasted_secret_is_refused_and_not_repeated(tmp_path: Path, old: str, new: str) -> None:
    assert old in PUBLISHED
    found = problems(tmp_path, PUBLISHED.replace(old, new, 1))
    assert found
    assert "canary" not in "".join(found)


def test_an_unexpanded_placeholder_says_so(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, PUBLISHED.replace("mqtt://broker.example", "${MQTT_BROKER_URL}"))
    assert line.startswith("agent.toml:7: mqtt.broker_url: ${MQTT_BROKER_URL} was not expanded")


def test_unknown_keys_and_unknown_prices_are_hints(tmp_path: Path) -> None:
    text = PUBLISHED.replace("max_tokens", "max_token").replace('model = "gpt-4o-mini"', 'model = "private"')
    hints = " ".join(load(tmp_path, text).hints)
    assert "llm.max_token: is not a known key; did you mean max_tokens?" in hints
    assert "max_cost_per_task: cannot be enforced" in hints


TABLES = ["agent", "mqtt", "llm", "tools", "budget", "routing"]
KEYS = [
    "id",
    "broker_url",
    "provider",
    "http_request",
    "web_search",
    "max_iterations",
    "strategy",
    "llm",
    "api_key",
]
TEXT = st.text(max_size=4)
INNER = st.dictionaries(st.sampled_from(["impl", "config", "provider"]), TEXT, max_size=2)
VALUES = st.booleans() | st.integers() | st.floats() | TEXT | st.lists(st.integers(), max_size=2) | INNER


@given(
    st.dictionaries(st.sampled_from(TABLES), st.integers() | st.dictionaries(st.sampled_from(KEYS), VALUES))
)
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    report = config._Report("f", {})
    config._read(document, report)
    assert report.problems  # none of these is complete


@given(st.text())
def test_any_broker_url_is_parsed_or_refused(url: str) -> None:
    try:
        assert config.parse_broker_url(url).port > 0
    except ValueError as error:
        assert str(error)


def test_lines_of_keys_skip_multi_line_strings() -> None:
    lines = toml_source.key_lines(PUBLISHED)
    assert (lines["llm.temperature"], lines["tools"], lines["routing.llm.temperature"]) == (20, 23, 38)


def test_the_effective_config_shows_names_and_no_values(tmp_path: Path) -> None:
    shown = json.loads(
        effective_config.render(load(tmp_path, PUBLISHED), settings.read({"LOG_LEVEL": "WARN"}))
    )
    assert shown["llm"]["api_key_env"] == "OPENAI_API_KEY"
    assert shown["tools"]["web_search"]["options"] == {"max_results": 10}
    assert shown["environment"]["log_level"] == "warning"


def test_settings_report_every_bad_variable() -> None:
    env = {
        "HEALTH_PORT": "80a",
        "LOG_LEVEL": "loud",
        "LOG_FORMAT": "xml",
        "OPENAI_BASE_URL": "ftp://x",
        "SHUTDOWN_GRACE_SECS": "nan",
    }
    with pytest.raises(ConfigError) as caught:
        settings.read(env)
    assert [any(name in line for line in caught.value.problems) for name in env] == [True] * 5


def test_missing_secrets_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.secrets(load(tmp_path, PUBLISHED), {"OPENAI_API_KEY": "x", "MQTT_USERNAME": ""})
    assert [line.split()[1] for line in caught.value.problems] == [
        "MQTT_USERNAME",
        "MQTT_PASSWORD",
        "SERPER_API_KEY",
    ]
