# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The TOML configs of agent2389 (`agents/researcher.toml`), and of the built-in runtime `reference`, which reads the same.

What the program does with a key is taken from its source, https://github.com/2389-research/2389-agent-rust, where that
differs from its documents.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from typing import Any

import tomllib

from ansible_collections.muster.agents.plugins.module_utils.engine.envfile import NAME
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import ConfigFile, get, strings
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    HINT,
    WARNING,
    Code,
    did_you_mean,
    nearest,
)
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Format, Reading
from ansible_collections.muster.agents.plugins.plugin_utils.schema_check import probably_meant
from ansible_collections.muster.agents.plugins.plugin_utils.source import Path
from ansible_collections.muster.agents.plugins.plugin_utils.spec import (
    Mqtt,
    Place,
    SecretReference,
    Spec,
    Target,
)

CONFIG_NAME = "agent.toml"
REQUIRED_TABLES = ("agent", "mqtt", "llm")
TABLES = (*REQUIRED_TABLES, "tools", "budget", "routing")
# The tool reads this variable, whatever its table says.
_SEARCH_TOOL, _SEARCH_KEY = "web_search", "SERPER_API_KEY"
_NEXT_KEYS = frozenset({"next", "next_agent", "target", "targets", "agents", "fallback"})
_INPUT_TOPIC = re.compile(r"/*control/agents/([^/]+)/input/*")
_LEVELS = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_LOG_FORMATS = ("json", "pretty", "compact")
_REFERENCE_LEVELS = ("debug", "info", "warn", "warning", "error")
_REFERENCE_LOG_FORMATS = ("json", "pretty")
# Seconds, in both formats, where the config does not say.
_HEARTBEAT = 900.0


def recognise(name: str, document: Any) -> bool:
    """Two of the three tables that every such config has, also misspelt: enough to say what is wrong."""
    if not isinstance(document, dict):
        return False
    tables = [key for key, value in document.items() if isinstance(value, dict)]
    there = sum(table in tables for table in REQUIRED_TABLES)
    return there + sum(bool(nearest(table, tables)) for table in REQUIRED_TABLES if table not in tables) >= 2


def read(reading: Reading, *, own_tool_keys: bool = False) -> list[Spec]:
    """`own_tool_keys`: the program honours `api_key_env` inside a tool."""
    file = reading.main
    if file is None:
        return []
    ignored: list[tuple[str, Path]] = [("MA502", ("tools", tool)) for tool in reading.known.tools]
    ignored += [("MA202", (table,)) for table in _unknown_tables(reading, file)]
    reading.check(_typed(file), ignored=ignored)
    document = file.document
    _plain_tcp(reading, file)
    for table in REQUIRED_TABLES:
        if not isinstance(get(document, (table,)), dict):
            return []
    agent_id, url = get(document, ("agent", "id")), get(document, ("mqtt", "broker_url"))
    if not isinstance(agent_id, str) or not agent_id or not isinstance(url, str):
        return []
    return [
        Spec(
            format=reading.format.name,
            agent_id=agent_id,
            identity=("agent", "id"),
            place=Place(file, ("agent", "id")),
            description=str(get(document, ("agent", "description")) or ""),
            config_name=CONFIG_NAME,
            files={CONFIG_NAME: file},
            mqtt=Mqtt(
                url,
                _text(document, ("mqtt", "username_env")),
                _text(document, ("mqtt", "password_env")),
                _heartbeat(document),
            ),
            secrets=tuple(_secrets(file, own_tool_keys)),
            targets=tuple(_targets(file)),
        )
    ]


def _heartbeat(document: Any) -> float:
    value = get(document, ("mqtt", "heartbeat_interval_secs"))
    return float(value) if isinstance(value, int) and value > 0 else _HEARTBEAT


def _text(document: Any, path: Path) -> str | None:
    value = get(document, path)
    return value if isinstance(value, str) else None


_DATE_OR_TIME = re.compile(r"\d\d(?:-\d\d|:\d\d)")


def _typed(file: ConfigFile) -> ConfigFile:
    """The file as typed as the program reads it: a date is no text, and 2.0 no whole number."""
    has_dates = _DATE_OR_TIME.search(file.source.text)
    written = tomllib.loads(file.source.text) if has_dates else None
    return replace(file, document=_typed_value(file.document, written))


def _typed_value(value: Any, written: Any) -> Any:
    """`written`: what TOML has there, before any override."""
    if isinstance(written, (date, time)) and value == written.isoformat():
        return written
    if isinstance(value, float) and value.is_integer():
        return Decimal(repr(value))
    if isinstance(value, dict):
        below = written if isinstance(written, dict) else {}
        return {key: _typed_value(one, below.get(key)) for key, one in value.items()}
    if isinstance(value, list):
        elements = (
            written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
        )
        return list(map(_typed_value, value, elements))
    return value


def _unknown_tables(reading: Reading, file: ConfigFile) -> list[str]:
    """Tables of one's own are fine; one whose name is nearly a real one was meant to be it.

    Returns the required tables that stand there misspelt: that they are missing is then said.
    """
    document = file.document if isinstance(file.document, dict) else {}
    absent = [table for table in TABLES if table not in document]
    misspelt = []
    for name in document:
        if name in TABLES:
            continue
        is_table = isinstance(document[name], (dict, list))
        meant = probably_meant(name, absent) if is_table else None
        message = (
            f"{name} is not a {'table' if is_table else 'key'} of {reading.format.title}, which ignores it"
        )
        level = WARNING if meant else HINT
        if meant in REQUIRED_TABLES:
            message, level = f"{message}; {meant} is missing", ERROR
            misspelt.append(meant)
        suggestion = f"did you mean {meant}?" if meant else None
        reading.report("MA201", file, (name,), message, suggestion=suggestion, level=level)
    return misspelt


def _plain_tcp(reading: Reading, file: ConfigFile) -> None:
    path = ("mqtt", "broker_url")
    url = _text(file.document, path)
    if url and url.lower().startswith("tcp://"):
        message = "mqtt.broker_url: tcp:// is taken for plain MQTT; write mqtt://, or mqtts:// for TLS"
        reading.report("MA510", file, path, message)


def _secrets(file: ConfigFile, own_tool_keys: bool) -> Iterator[SecretReference]:
    seen = set()
    named = [
        (path, value)
        for path, value in strings(file.document)
        # What is no variable's name may be the secret itself: it is never carried on.
        if str(path[-1]).endswith("_env") and NAME.fullmatch(value) and (own_tool_keys or path[0] != "tools")
    ]
    for path, value in named:
        if value not in seen:
            seen.add(value)
            yield SecretReference(value, Place(file, path))
    tool = ("tools", _SEARCH_TOOL)
    has_own = any(path[:2] == tool for path, _value in named)
    if get(file.document, tool) is not None and not has_own and _SEARCH_KEY not in seen:
        yield SecretReference(_SEARCH_KEY, Place(file, tool))


def _targets(file: ConfigFile) -> Iterator[Target]:
    """Agents that the config hands work to by name: ids, or topics with an id in them."""
    for path, value in strings(get(file.document, ("routing",)), ("routing",)):
        if any(part in _NEXT_KEYS for part in path[1:]) and value:
            topic = _INPUT_TOPIC.fullmatch(value)
            yield Target(topic[1] if topic else value, Place(file, path))


def check_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str, str | None]]:
    """(code, variable, message, suggestion) for what the program silently replaces by a default."""
    level = environment.get("LOG_LEVEL", "info")
    if level.upper() not in _LEVELS:
        meant = "WARN" if level.lower() == "warning" else None
        message = (
            f"{level!r} is not a level of agent2389, which then logs at INFO; it has {', '.join(_LEVELS)}"
        )
        yield "MA509", "LOG_LEVEL", message, f"did you mean {meant}?" if meant else None
    log_format = environment.get("LOG_FORMAT", "json")
    if log_format.lower() not in _LOG_FORMATS:
        message = f"{log_format!r} is not a log format of agent2389; it has {', '.join(_LOG_FORMATS)}"
        yield "MA509", "LOG_FORMAT", message, did_you_mean(log_format, _LOG_FORMATS)
    port = environment.get("HEALTH_PORT", "8080")
    if not (port.isdecimal() and 0 < int(port) < 65536):
        yield "MA509", "HEALTH_PORT", f"{port!r} is no port; agent2389 would silently use 8080", None


def check_reference_environment(
    environment: Mapping[str, str],
) -> Iterator[tuple[str, str, str, str | None]]:
    """(code, variable, message, suggestion) for what the reference agent does not start with."""
    for variable, known, default in (
        ("LOG_LEVEL", _REFERENCE_LEVELS, "info"),
        ("LOG_FORMAT", _REFERENCE_LOG_FORMATS, "json"),
    ):
        value = environment.get(variable, default)
        if value.lower() not in known:
            message = f"{value!r} is none of the reference agent's: {', '.join(known)}; it does not start"
            yield "MA511", variable, message, did_you_mean(value.lower(), known)
    port = environment.get("HEALTH_PORT", "8080")
    if not (port.isdecimal() and 0 < int(port) < 65536):
        yield "MA511", "HEALTH_PORT", f"{port!r} is no port; the reference agent does not start", None


CODES = (
    Code(
        "MA501",
        ERROR,
        "must be one table",
        "`[tools]` maps names to implementations. A list of `[[tools]]`, as in older documents, does not load.",
    ),
    Code(
        "MA502",
        ERROR,
        "is a tool that the program does not have",
        "agent2389 has `http_request`, `file_read`, `file_write` and `web_search`. With another name it passes its own"
        " check (`config`) and dies at the start. A build of your own that has more names them in its runtime:"
        " `agent_runtimes.<name>.tools: [echo]`.",
    ),
    Code(
        "MA503",
        ERROR,
        "is an implementation that the program does not have",
        '`"builtin"` is the only one of agent2389; the published `impl = "serper"` passes its own check and dies at the'
        " start. The reference agent takes both.",
    ),
    Code(
        "MA504",
        ERROR,
        "is missing from the budget",
        "A `[budget]` that is there must hold both `max_tool_calls` and `max_iterations`; the published example, with"
        " `max_cost_per_task` and without `max_tool_calls`, does not load. Without the table they are 15 and 8. The"
        " reference agent has a default for each.",
    ),
    Code(
        "MA505",
        ERROR,
        "is missing from the routing",
        '`strategy = "llm"` needs `[routing.llm]`, `strategy = "gatekeeper"` needs `[routing.gatekeeper]`.',
    ),
    Code(
        "MA506",
        ERROR,
        "is no address of a broker",
        "`mqtts://` is how TLS is asked for. agent2389 takes every other scheme, `ssl://` and `https://` too, for plain MQTT"
        " without a word.",
    ),
    Code(
        "MA507",
        ERROR,
        "is an interval that ends the heartbeat",
        "With `heartbeat_interval_secs = 0` the heartbeat crashes as soon as it begins: the agent works on, and its status is"
        " never sent again. The default is 900.",
    ),
    Code(
        "MA508",
        ERROR,
        "is not safe as an id",
        "agent2389 admits `.`, `..` and `-x`; as a name of a file, a unit or a user of the broker they are dangerous.",
    ),
    Code(
        "MA509",
        WARNING,
        "is a value that the program silently replaces",
        "`warning` is not a level (`WARN` is), an unknown level means INFO, and a port that is no number means 8080.",
    ),
    Code(
        "MA511",
        ERROR,
        "is a value that the reference agent refuses",
        "It knows the levels `debug`, `info`, `warn` and `error`, and the log formats `json` and `pretty`.",
    ),
    Code("MA510", HINT, "is plain MQTT by another name", "`tcp://` works, and is not encrypted."),
)

_PROSE = frozenset({"system_prompt", "prompt", "instruction", "instructions", "description"})

FORMATS = (
    Format(
        name="agent2389",
        title="agent2389",
        schema="agent2389",
        file_names=("*.toml",),
        recognise=recognise,
        read=read,
        prose=_PROSE,
        codes=CODES,
        check_environment=check_environment,
    ),
    Format(
        name="reference",
        title="the reference agent",
        schema="reference",
        file_names=(),
        recognise=lambda name, document: False,
        read=functools.partial(read, own_tool_keys=True),
        prose=_PROSE,
        check_environment=check_reference_environment,
    ),
)
