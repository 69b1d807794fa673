# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads an agent2389 config (`agents/researcher.toml`) into a Spec.

The user's bytes stay as they are except where a placeholder is resolved in a setting or the fleet overrides a key.
Prompts are never looked into: they may teach shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

import tomllib

from ansible_collections.muster.agents.plugins.module_utils.engine.envfile import NAME
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import SAFE_NAME
from ansible_collections.muster.agents.plugins.plugin_utils import toml_source
from ansible_collections.muster.agents.plugins.plugin_utils.problems import InputError, Problem
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Mqtt, SecretReference, Spec

CONFIG_NAME = "agent.toml"
_LARGEST = 1 << 20
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PROSE = frozenset({"system_prompt", "prompt", "instruction", "description"})
_SECRET_KEY = re.compile(r"(?:^|_)(api_?key|password|secret|token)$", re.IGNORECASE)
# The tool needs this variable whether or not its table says so.
_SEARCH_TOOL, _SEARCH_KEY = "web_search", "SERPER_API_KEY"

Path_ = tuple[Union[str, int], ...]


def read(
    path: Path,
    source: str,
    overrides: Mapping[str, Any],
    placeholders: Mapping[str, str],
    secret_names: frozenset[str],
) -> Spec:
    """`source` is the path as people know it. Raises InputError with every problem found."""
    original = _load_text(path, source)
    _parse(original, source)
    try:
        text = toml_source.override(original, dict(overrides)) if overrides else original
    except (TypeError, ValueError) as error:
        raise InputError([Problem(source, f"the fleet's overrides do not fit: {error}")]) from None
    places = _Places(source, original)
    problems: list[Problem] = []
    text = _resolve(text, places, placeholders, secret_names, problems)
    document = _parse(text, source)
    problems += _check(document, places)
    if problems:
        raise InputError(problems)
    mqtt = document["mqtt"]
    return Spec(
        source=source,
        agent_id=document["agent"]["id"],
        description=document["agent"]["description"],
        config_name=CONFIG_NAME,
        text=text,
        mqtt=Mqtt(mqtt["broker_url"], mqtt.get("username_env"), mqtt.get("password_env")),
        secrets=tuple(_secrets(document, places)),
    )


def read_id(path: Path, source: str) -> str:
    """Only the id, as the file has it. Raises InputError."""
    document = _parse(_load_text(path, source), source)
    agent = document.get("agent")
    found = agent.get("id") if isinstance(agent, dict) else None
    if not isinstance(found, str):
        raise InputError([Problem(f"{source}:1", "agent.id is missing; write id under [agent]")])
    return found


def _load_text(path: Path, source: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError([Problem(source, f"is larger than {_LARGEST} bytes; that is no agent config")])
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError([Problem(source, f"byte {error.start} is not UTF-8")]) from None
    except OSError as error:
        raise InputError([Problem(source, f"{error.strerror}")]) from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        reason = re.sub(r" \(at .*\)$", "", str(error))
        place = f"{at.group(1)}:{at.group(2)}" if at else str(text.count("\n") + 1)
        raise InputError([Problem(f"{source}:{place}", f"not valid TOML: {reason}")]) from None
    except RecursionError:
        raise InputError([Problem(source, "is nested too deeply")]) from None


class _Places:
    """Where a key stands in the file as its person sees it."""

    def __init__(self, source: str, text: str) -> None:
        self._source, self._text = source, text
        self._spans = toml_source.locate(text)

    def of(self, path: Path_) -> str:
        """`file:line` of the key, of its nearest table when the key is absent."""
        while path and path not in self._spans:
            path = path[:-1]
        line = toml_source.line_col(self._text, self._spans[path].key_start)[0] if path else 1
        return f"{self._source}:{line}"


def _strings(value: object, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _dotted(path: Path_) -> str:
    return ".".join(str(part) for part in path)


def _resolve(
    text: str,
    places: _Places,
    placeholders: Mapping[str, str],
    secret_names: frozenset[str],
    problems: list[Problem],
) -> str:
    """`${NAME}` and `${NAME:-default}` in settings, from the agent's environment and what the fleet derives."""
    replaced = {}
    for path, value in _strings(_parse(text, "")):
        if path[-1] in _PROSE or "${" not in value:
            continue

        def one(match: re.Match[str], path: Path_ = path) -> str:
            name, default = match.group(1), match.group(2)
            if name in secret_names:
                message = f"{_dotted(path)} would put the secret {name} into the config; name the variable in a `*_env` field"
                problems.append(Problem(places.of(path), message))
            elif name not in placeholders and default is None:
                message = (
                    f"{_dotted(path)}: nothing gives ${{{name}}} a value; set it in fleet.<agent>.environment"
                )
                problems.append(Problem(places.of(path), message))
            return str(placeholders.get(name, default or ""))

        replaced[path] = _PLACEHOLDER.sub(one, value)
    return toml_source.replace_strings(text, replaced) if replaced else text


_REQUIRED: tuple[Path_, ...] = (
    ("agent", "id"),
    ("agent", "description"),
    ("mqtt", "broker_url"),
    ("llm", "provider"),
    ("llm", "model"),
    ("llm", "system_prompt"),
)


def _get(document: object, path: Path_) -> object:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _check(document: dict[str, Any], places: _Places) -> Iterator[Problem]:
    """What must hold before anything can be planned; the runtime's own check on the host looks deeper."""
    for table in ("agent", "mqtt", "llm", "tools", "budget", "routing"):
        if table in document and not isinstance(document[table], dict):
            yield Problem(places.of((table,)), f"[{table}] must be a table")
            return
    for path in _REQUIRED:
        value = _get(document, path)
        if value is None:
            yield Problem(places.of(path), f"{_dotted(path)} is missing; write {path[-1]} under [{path[0]}]")
        elif not isinstance(value, str):
            yield Problem(places.of(path), f"{_dotted(path)} must be a string")
    agent_id = _get(document, ("agent", "id"))
    if isinstance(agent_id, str) and not SAFE_NAME.fullmatch(agent_id):
        message = f"agent.id {agent_id!r} is not safe as a unit's name: letters, digits, `.`, `_`, `-`, letter or digit first"
        yield Problem(places.of(("agent", "id")), message)
    url = _get(document, ("mqtt", "broker_url"))
    if isinstance(url, str) and not re.match(r"(mqtts?)://[^/\s]", url):
        yield Problem(
            places.of(("mqtt", "broker_url")), "mqtt.broker_url must be mqtt://host:port, or mqtts:// for TLS"
        )
    heartbeat = _get(document, ("mqtt", "heartbeat_interval_secs"))
    if heartbeat is not None and (
        isinstance(heartbeat, bool) or not isinstance(heartbeat, int) or heartbeat < 1
    ):
        yield Problem(
            places.of(("mqtt", "heartbeat_interval_secs")), "mqtt.heartbeat_interval_secs must be at least 1"
        )
    temperature = _get(document, ("llm", "temperature"))
    if temperature is not None and (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not 0 <= temperature <= 2
    ):
        message = f"llm.temperature is {temperature!r}; it must be between 0.0 and 2.0"
        yield Problem(places.of(("llm", "temperature")), message)
    for path, value in _strings(document):
        key = str(path[-1])
        if value and _SECRET_KEY.search(key):
            message = f"{_dotted(path)} holds a literal secret; name a variable in `{key}_env` and put the value in the vault"
            yield Problem(places.of(path), message)
        if key.endswith("_env") and not NAME.fullmatch(value):
            # What stands there may be the secret itself: it is not repeated.
            message = f"{_dotted(path)} must be the name of a variable, such as OPENAI_API_KEY; its value belongs in the vault"
            yield Problem(places.of(path), message)


def _secrets(document: dict[str, Any], places: _Places) -> Iterator[SecretReference]:
    seen = set()
    for path, value in _strings(document):
        if str(path[-1]).endswith("_env") and value not in seen:
            seen.add(value)
            yield SecretReference(value, _dotted(path), places.of(path))
    tool = _get(document, ("tools", _SEARCH_TOOL))
    named = isinstance(tool, dict) and any(str(path[-1]).endswith("_env") for path, value in _strings(tool))
    if tool is not None and not named and _SEARCH_KEY not in seen:
        yield SecretReference(_SEARCH_KEY, f"tools.{_SEARCH_TOOL}", places.of(("tools", _SEARCH_TOOL)))
