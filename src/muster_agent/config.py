# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The published agent config: its model, and the reader that reports every problem of a file at once.

Tables and keys are those of the public agent (`[agent] [mqtt] [llm] [tools] [budget] [routing]`). A literal
secret is refused, and no value of a key that looks like one is ever repeated in a message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from muster_agent import toml_source
from muster_agent.errors import ConfigError
from muster_agent.llm import prices
from muster_agent.protocol import topics

PROVIDERS = ("openai", "anthropic", "echo")
TOOL_IMPLEMENTATIONS = {"http_request": ("builtin",), "web_search": ("builtin", "serper")}
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(
    r"(^|[_-])(api[_-]?key|key|secret|token|password|passwd|credentials?)$", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True)
class BrokerUrl:
    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(frozen=True)
class AgentSection:
    id: str
    description: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class MqttSection:
    broker: BrokerUrl
    username_env: str | None = None
    password_env: str | None = None
    heartbeat_interval_secs: int = 900


@dataclass(frozen=True)
class LlmSection:
    provider: str
    model: str
    system_prompt: str
    api_key_env: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class ToolSection:
    """One declared tool: its implementation, the variable with its key, its own options."""

    name: str
    implementation: str
    api_key_env: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BudgetSection:
    """Limits of one task. The cost is in US dollars, the prices in US dollars per 1000 tokens."""

    max_tool_calls: int = 15
    max_iterations: int = 8
    max_cost_per_task: float | None = None
    price_per_1k_input: float | None = None
    price_per_1k_output: float | None = None


@dataclass(frozen=True)
class RoutingSection:
    strategy: str
    max_iterations: int = 10


@dataclass(frozen=True)
class AgentConfig:
    agent: AgentSection
    mqtt: MqttSection
    llm: LlmSection
    tools: tuple[ToolSection, ...]
    budget: BudgetSection
    routing: RoutingSection | None
    hints: tuple[str, ...] = ()

    def price(self) -> prices.Price | None:
        """What the configured model costs, if that is known: the config's own price goes first."""
        budget = self.budget
        if budget.price_per_1k_input is not None and budget.price_per_1k_output is not None:
            return prices.Price(budget.price_per_1k_input, budget.price_per_1k_output)
        return prices.lookup(self.llm.provider, self.llm.model)

    def env_names(self) -> dict[str, str]:
        """Variables that this config needs, by the field that names each."""
        found = {"mqtt.username_env": self.mqtt.username_env, "mqtt.password_env": self.mqtt.password_env}
        if self.llm.provider != "echo":
            found["llm.api_key_env"] = self.llm.api_key_env
        found.update({f"tools.{tool.name}.api_key_env": tool.api_key_env for tool in self.tools})
        return {where: name for where, name in found.items() if name is not None}


def load(path: Path) -> AgentConfig:
    """Reads and checks a config file. Raises ConfigError with one line per problem, all at once."""
    document, lines = toml_source.read(path)
    report = _Report(str(path), lines)
    config = _read(document, report)
    if report.problems:
        raise ConfigError(report.problems)
    return config


class _Report:
    """Collects problems (which refuse the file) and hints (which do not), each with its place."""

    def __init__(self, file: str, lines: Mapping[str, int]) -> None:
        self._file = file
        self._lines = lines
        self.problems: list[str] = []
        self.hints: list[str] = []

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"{self._place(where)}: {where}: {text}")

    def hint(self, where: str, text: str) -> None:
        self.hints.append(f"{self._place(where)}: {where}: {text}")

    def _place(self, where: str) -> str:
        # A key inside an inline table has no line of its own: the nearest parent that has one is named.
        while where:
            if where in self._lines:
                return f"{self._file}:{self._lines[where]}"
            where = where.rpartition(".")[0]
        return self._file


class _Table:
    """One table being read: typed getters that report, then `done` reports what nobody asked for."""

    def __init__(self, report: _Report, name: str, values: Any) -> None:
        self.report = report
        self.name = name
        self.present = values is not None
        self._asked: list[str] = []
        if values is not None and not isinstance(values, dict):
            report.problem(name, "must be a table")
            values = None
        self._values: dict[str, Any] = values or {}

    def at(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def take(self, key: str) -> Any:
        self._asked.append(key)
        return self._values.get(key)

    def table(self, key: str) -> _Table:
        return _Table(self.report, self.at(key), self.take(key))

    def names(self) -> list[str]:
        return list(self._values)

    def text(self, key: str, *, required: bool = True, empty: bool = False) -> str:
        value = self.take(key)
        if value is None:
            if required:
                self.report.problem(self.at(key), "is missing")
            return ""
        if not isinstance(value, str):
            self.report.problem(self.at(key), "must be a string")
            return ""
        if not empty and not value.strip():
            self.report.problem(self.at(key), "must not be empty")
        return value

    def one_of(self, key: str, choices: Sequence[str]) -> str:
        value = self.text(key)
        if value and value not in choices:
            self.report.problem(self.at(key), f"must be one of {', '.join(choices)}")
        return value

    def env_name(self, key: str, *, required: bool = False) -> str | None:
        """The name of an environment variable. A pasted secret must not be repeated, so no value ever is."""
        value = self.text(key, required=required)
        if value and not _ENV_NAME.fullmatch(value):
            self.report.problem(
                self.at(key), "must be the name of an environment variable (the value is not shown)"
            )
        return value or None

    def number(self, key: str, low: float, high: float | None = None) -> float | None:
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.report.problem(self.at(key), "must be a number")
            return None
        if not (low <= value and (high is None or value <= high)) or value == float("inf"):
            limits = f"from {low:g} to {high:g}" if high is not None else f"at least {low:g}"
            self.report.problem(self.at(key), f"must be {limits}")
            return None
        return float(value)

    def whole(self, key: str, default: int, low: int = 1, high: int = 2**31) -> int:
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.report.problem(self.at(key), f"must be a whole number from {low} to {high}")
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.report.problem(self.at(key), "must be a list of strings")
            return ()
        return tuple(value)

    def done(self) -> None:
        for key, value in self._values.items():
            if key in self._asked:
                continue
            if _SECRET_KEY.search(key) and isinstance(value, str):
                self.report.problem(
                    self.at(key),
                    "a secret does not belong in the config; name an environment variable in a *_env key "
                    "(the value is not shown)",
                )
                continue
            near = difflib.get_close_matches(key, self._asked, n=1)
            self.report.hint(
                self.at(key), "is not a known key" + (f"; did you mean {near[0]}?" if near else "")
            )


def _read(document: dict[str, Any], report: _Report) -> AgentConfig:
    root = _Table(report, "", document)
    agent = _read_agent(_required(root, "agent"))
    mqtt = _read_mqtt(_required(root, "mqtt"))
    llm = _read_llm(_required(root, "llm"))
    tools = _read_tools(root.table("tools"))
    budget = _read_budget(root.table("budget"))
    routing = _read_routing(root.table("routing"))
    root.done()
    config = AgentConfig(agent, mqtt, llm, tools, budget, routing)
    if budget.max_cost_per_task is not None and llm.provider != "echo" and config.price() is None:
        report.hint(
            "budget.max_cost_per_task",
            "cannot be enforced: the price of this model is not known; set budget.price_per_1k_input and price_per_1k_output",
        )
    return AgentConfig(agent, mqtt, llm, tools, budget, routing, tuple(report.hints))


def _required(root: _Table, name: str) -> _Table:
    table = root.table(name)
    if not table.present:
        root.report.problem(name, f"table [{name}] is missing")
    return table


def _read_agent(table: _Table) -> AgentSection:
    if not table.present:
        return AgentSection("", "")
    agent_id = table.text("id")
    if agent_id and not topics.is_agent_id(agent_id):
        table.report.problem(table.at("id"), "may hold only letters, digits, '.', '_' and '-'")
    section = AgentSection(agent_id, table.text("description"), table.texts("capabilities"))
    table.done()
    return section


def _read_mqtt(table: _Table) -> MqttSection:
    nowhere = BrokerUrl("", 0, tls=False)
    if not table.present:
        return MqttSection(nowhere)
    url = table.text("broker_url")
    broker = nowhere
    if url:
        try:
            broker = parse_broker_url(url)
        except ValueError as error:
            table.report.problem(table.at("broker_url"), str(error))
    section = MqttSection(
        broker=broker,
        username_env=table.env_name("username_env"),
        password_env=table.env_name("password_env"),
        heartbeat_interval_secs=table.whole("heartbeat_interval_secs", 900, high=86400),
    )
    if section.password_env and not section.username_env:
        table.report.problem(table.at("password_env"), "needs username_env too")
    table.done()
    return section


def parse_broker_url(url: str) -> BrokerUrl:
    """`mqtt://host[:1883]` or `mqtts://host[:8883]`. Raises ValueError that never repeats credentials."""
    if _PLACEHOLDER.search(url):
        names = ", ".join(_PLACEHOLDER.findall(url))
        raise ValueError(f"{names} was not expanded: whoever deploys this config has to resolve it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL of the form mqtt://host:port") from None
    if parts.scheme not in MQTT_PORTS:
        raise ValueError("must start with mqtt:// or mqtts://")
    if "@" in parts.netloc:
        raise ValueError("must hold no credentials; name variables in username_env and password_env")
    if (
        not host
        or port == 0
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or re.search(r"\s", url)
    ):
        raise ValueError("is not a URL of the form mqtt://host:port")
    return BrokerUrl(host, port or MQTT_PORTS[parts.scheme], tls=parts.scheme == "mqtts")


def _read_llm(table: _Table) -> LlmSection:
    if not table.present:
        return LlmSection("", "", "")
    provider = table.one_of("provider", PROVIDERS)
    live = provider != "echo"
    section = LlmSection(
        provider=provider,
        model=table.text("model", required=live) or "echo",
        system_prompt=table.text("system_prompt", empty=True),
        api_key_env=table.env_name("api_key_env", required=live),
        temperature=table.number("temperature", 0, 2),
        max_tokens=table.whole("max_tokens", 0) or None,
    )
    table.done()
    return section


def _read_tools(table: _Table) -> tuple[ToolSection, ...]:
    tools = []
    for name in table.names():
        if name not in TOOL_IMPLEMENTATIONS:
            table.take(name)
            table.report.problem(
                table.at(name), f"is not a tool of this agent: {', '.join(TOOL_IMPLEMENTATIONS)}"
            )
            continue
        tools.append(_read_tool(table, name))
    return tuple(tools)


def _read_tool(table: _Table, name: str) -> ToolSection:
    value = table.take(name)
    where = table.at(name)
    inner = _Table(table.report, where, {"impl": value} if isinstance(value, str) else value)
    implementation = inner.one_of("impl", TOOL_IMPLEMENTATIONS[name])
    options = inner.table("config")
    api_key_env = (inner.env_name("api_key_env") or "SERPER_API_KEY") if name == "web_search" else None
    read: dict[str, Any] = {}
    if name == "http_request":
        read["allowed_hosts"] = options.texts("allowed_hosts")
        read["max_response_size"] = options.whole("max_response_size", 128 * 1024, high=16 * 1024 * 1024)
        read["timeout_secs"] = options.whole("timeout_secs", 30, high=300)
    else:
        read["max_results"] = options.whole("max_results", 10, high=20)
    options.done()
    inner.done()
    return ToolSection(name, implementation, api_key_env, read)


def _read_budget(table: _Table) -> BudgetSection:
    section = BudgetSection(
        max_tool_calls=table.whole("max_tool_calls", 15, low=0, high=10000),
        max_iterations=table.whole("max_iterations", 8, high=1000),
        max_cost_per_task=table.number("max_cost_per_task", 0),
        price_per_1k_input=table.number("price_per_1k_input", 0),
        price_per_1k_output=table.number("price_per_1k_output", 0),
    )
    if (section.price_per_1k_input is None) != (section.price_per_1k_output is None):
        table.report.problem(table.name, "price_per_1k_input and price_per_1k_output go together")
    table.done()
    return section


def _read_routing(table: _Table) -> RoutingSection | None:
    if not table.present:
        return None
    strategy = table.one_of("strategy", ("llm", "gatekeeper"))
    section = RoutingSection(strategy, table.whole("max_iterations", 10, high=1000))
    llm, gatekeeper = table.table("llm"), table.table("gatekeeper")
    if strategy in ("llm", "gatekeeper") and not {"llm": llm, "gatekeeper": gatekeeper}[strategy].present:
        table.report.problem(
            table.at(strategy), f'strategy = "{strategy}" needs a table [routing.{strategy}]'
        )
    if llm.present:
        llm.one_of("provider", PROVIDERS)
        llm.text("model")
        llm.number("temperature", 0, 2)
        llm.done()
    if gatekeeper.present:
        gatekeeper.text("url")
        gatekeeper.whole("timeout_ms", 5000)
        gatekeeper.whole("retry_attempts", 3, low=0, high=100)
        gatekeeper.done()
    table.report.hint(
        table.name, "is accepted and not acted on: this agent forwards along the task's own `next`"
    )
    table.done()
    return section
