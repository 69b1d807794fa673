# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is looked for in every config, whatever its format: literal secrets, and placeholders that go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.muster.agents.plugins.plugin_utils import checked_before
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import (
    PLACEHOLDER,
    ConfigFile,
    dotted,
    get,
    is_prose,
    keys,
    strings,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    HINT,
    Diagnostic,
    did_you_mean,
)
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Known, Reading

_SHORTEST_HIDDEN, _LONGEST_LOOKED_AT = 8, 200
_WORD = re.compile(r"[^\s\"'=:,]{16,}")
# What the planner gives every agent, beside what the fleet says.
DERIVED = ("AGENT_NAME", "AGENT_PORT", "HEALTH_PORT", "LOG_FORMAT", "LOG_LEVEL", "MQTT_BROKER_URL")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE
)


def check_content(reading: Reading) -> None:
    """Reports on every file that the reading opened, and sees to it that no finding repeats a secret."""
    secrets: set[str] = set()
    for file in reading.opened.values():
        secrets |= _literal_secrets(reading, file)
        _placeholders(reading, file)
        _placeholders_in_prose(reading, file)
    if secrets:
        hidden = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))))
        reading.diagnostics = [_without(hidden, one) for one in reading.diagnostics]


def _without(hidden: re.Pattern[str], one: Diagnostic) -> Diagnostic:
    suggestion = hidden.sub("(hidden)", one.suggestion) if one.suggestion else None
    message, path = hidden.sub("(hidden)", one.message), hidden.sub("(hidden)", one.path)
    return replace(one, message=message, path=path, suggestion=suggestion)


def _literal_secrets(reading: Reading, file: ConfigFile) -> set[str]:
    """Reports them, and returns them: also those that stand where a key or a name should, which is another mistake."""
    secrets = _misplaced_secrets(file) if reading.diagnostics else set()
    said = {(one.file, one.path) for one in reading.diagnostics if one.code == "MA301"}
    for found in checked_before.secrets(file.written, reading.format.prose):
        where = dotted(found.path)
        if {(file.shown, where), ("", f"fleet.{reading.name}.overrides.{where}")} & said:
            continue
        message = f"{where} holds {found.kind}; put it into agent_secrets in the vault: the agent gets it as a variable"
        secret = get(file.written, found.path)[found.start : found.end]
        # A word that also stands elsewhere is hidden where it is reported only.
        secrets |= {secret} if len(secret) >= _SHORTEST_HIDDEN else set()
        reading.report("MA301", file, found.path, message, needle=secret)
    return secrets


def _misplaced_secrets(file: ConfigFile) -> set[str]:
    from ansible_collections.muster.agents.plugins.plugin_utils import (
        literal_secrets,
    )  # not where all is well

    texts = keys(file.written)
    texts |= {value for _path, value in strings(file.written) if len(value) <= _LONGEST_LOOKED_AT}
    return {
        word[found.start : found.end]
        for text in texts
        for word in _WORD.findall(text)
        for found in literal_secrets.find({"": word}, frozenset())
    }


def _placeholders(reading: Reading, file: ConfigFile) -> None:
    """Every `${…}` in a setting that stays, and every one that would bring a secret into the config."""
    for path, written in file.placeholders.items():
        for match in PLACEHOLDER.finditer(written):
            name, default = match[1], match[2]
            if _is_secret(name, reading.known):
                message = (
                    f"{dotted(path)}: ${{{name}}} would write the secret {name} into the config on the host; the agent gets"
                    " it as an environment variable: name it only, as `*_env` fields do"
                )
                reading.report("MA302", file, path, message, needle=match[0])
            elif default is None and reading.value_of(file.document, name) is None:
                _unresolved(reading, file, path, match, name)


def _is_secret(name: str, known: Known) -> bool:
    """One of the vault's, whatever the environment has; or what sounds like one, and is no plain variable."""
    if name in (known.secret_names or ()):
        return True
    return _SECRET_NAME.search(name) is not None and name not in (known.environment or ())


def _unresolved(
    reading: Reading, file: ConfigFile, path: tuple[str | int, ...], match: re.Match[str], name: str
) -> None:
    environment = reading.known.environment
    if environment is None:
        if name not in DERIVED:
            message = f"{dotted(path)}: ${{{name}}} needs a value from the fleet: fleet.<agent>.environment"
            reading.report("MA303", file, path, message, needle=match[0], level=HINT)
        return
    message = f"{dotted(path)}: nothing gives ${{{name}}} a value; set it in fleet.{reading.name or '<agent>'}.environment"
    meant = did_you_mean(name, environment)
    if name == "MQTT_BROKER_URL":
        meant = "the inventory has no group broker, and no mqtt_broker_url"
    reading.report("MA303", file, path, message, needle=match[0], suggestion=meant)


def _placeholders_in_prose(reading: Reading, file: ConfigFile) -> None:
    """A prompt may teach shell; only a name that the deploy would have given a value looks meant."""
    if "${" not in file.source.text:
        return
    known = {*DERIVED, *(reading.known.environment or ())}
    for path, value in strings(file.document):
        if "${" not in value or not is_prose(path, reading.format.prose):
            continue
        for match in PLACEHOLDER.finditer(value):
            if match[1] in known:
                message = f"{dotted(path)}: ${{{match[1]}}} stays as it is: prompts are never changed"
                reading.report("MA304", file, path, message, needle=match[0])


# Of several findings at one key, these say it best.
_FIRST = ("MA301", "MA302", "MA306")


def without_echoes(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """One mistake, one finding: a literal secret under an unknown key is not also an unknown key."""
    found = list(diagnostics)
    settled = {
        (one.file, one.path): one.code for code in reversed(_FIRST) for one in found if one.code == code
    }
    return [
        one
        for one in found
        if settled.get((one.file, one.path), one.code) == one.code
        or (one.code[:3] not in ("MA2", "MA3") and one.level != ERROR)
    ]
