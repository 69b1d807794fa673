# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the controller to the engine on a host and back: one command, secrets apart from everything else.

The engine that is installed there is asked as Ansible runs a module by pipelining: one command, its input on the pipe, nothing
written. Where that is not to be had, or the host has no or another engine, the module engine_call brings both together; it takes
longer, for with each module Ansible's own library travels and is compiled.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import getpass
import json
import re
import signal
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine import request as engine_request
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout, workload_key
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import POST_RELEASE
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import (
    FAILED,
    REFUSED,
    RELEASED,
    REMOVED,
    REVERTED,
    UNCHANGED,
)
from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto
from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive
from ansible_collections.muster.agents.plugins.plugin_utils.plan import DERIVED_PASSWORD
from ansible_collections.muster.agents.plugins.plugin_utils.secret_rule import complaint

_MODULE = "muster.agents.engine_call"
# The inventory variables that hold secrets. They are read here, at the last moment, and are never a task's argument.
SECRETS, CREDENTIALS_KEY = "agent_secrets", "fleet_credentials_key"
UNREACHABLE = "unreachable"
# A shell's exit status for a program that a signal ended is this and the signal's number.
_KILLED = 128
# Exit statuses that say that nothing was carried out: another engine, none, no Python for it, not root, no way to be root.
_NOT_CARRIED_OUT = (1, 2, 69, 77, 126, 127)
# What does no harm when it is asked twice.
_REPEATABLE = ("stage", "status", "releases")
# What the module answers where the engine has to travel first.
_NO_ENGINE = "no_engine"


_LOST = (
    "the engine's answer was lost on its way, and it may have done what it was asked for; playbooks/status.yml tells what is "
    "there, and the next run goes on from it"
)


class HostRefused(Exception):
    """The engine, or what stands before it, said no. `kind` is the engine's word for it, or `unreachable`."""

    def __init__(self, message: str, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


def call_engine(
    action: ActionBase,
    task_vars: Mapping[str, Any],
    request: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Run one request on the task's host and return the engine's report. Raises HostRefused in one line.

    `request` may add to `who`, for the host's history.
    """
    whole = {
        "format": engine_request.FORMAT,
        "check_mode": bool(action._task.check_mode),
        **request,
        "who": {**_who(), **request.get("who", {})},
    }
    with reaching():
        at_once = action._is_pipelining_enabled("new")
        report = _ask_installed(action, {**whole, "secrets": secrets}) if at_once else None
        if report is None:
            report = _ask_by_module(action, task_vars, whole, secrets, bring=at_once)
    if "error" in report:
        raise HostRefused(report["error"], report.get("kind", "refused"))
    return report


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """A host that is lost meanwhile raises HostRefused as what it is, and not what ends the run for all hosts."""
    try:
        yield
    except AnsibleConnectionFailure as error:
        raise HostRefused(f"unreachable: {' '.join(str(error).split())}", UNREACHABLE) from None


def _ask_installed(action: ActionBase, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of the host's own engine; None where there is none that runs, or another one than travels with us.

    Raises HostRefused where the request may have been carried out and the answer did not come: a second one would find its
    work done, and call that nothing.
    """
    command = f"{Layout().engine} apply --engine {engine_archive()[1]}"
    done = action._low_level_execute_command(command, in_data=packed(_as_json(request)).encode())
    report = _document(done["stdout"])
    if report is None and (signalled := _killed(done["rc"])):
        raise HostRefused(signalled)
    if report is None and done["rc"] not in _NOT_CARRIED_OUT and request["phase"] not in _REPEATABLE:
        raise HostRefused(_LOST, UNREACHABLE)
    return report


def _document(output: str) -> dict[str, Any] | None:
    """What the engine printed, between whatever a shell has to say at its start and at its end."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                return dict(json.loads(line))
    return None


def _ask_by_module(
    action: ActionBase,
    task_vars: Mapping[str, Any],
    request: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
    bring: bool,
) -> dict[str, Any]:
    """`bring`: the host is known to lack the engine, which then comes with the request."""
    archive, digest = engine_archive()
    arguments = {
        "engine_sha256": digest,
        "request": packed(_as_json(request)),
        "secrets": packed(_as_json(secrets)),
    }
    if not bring:
        report = _run_module(action, task_vars, arguments)
        if report.get("kind") != _NO_ENGINE:
            return report
    return _run_module(action, task_vars, {**arguments, "engine": packed(archive)})


def _run_module(
    action: ActionBase, task_vars: Mapping[str, Any], arguments: Mapping[str, str]
) -> dict[str, Any]:
    result = action._execute_module(
        module_name=_MODULE, module_args=dict(arguments), task_vars=dict(task_vars)
    )
    report = result.get("report")
    if not isinstance(report, dict):
        raise HostRefused(_one_line(result), "unsupported" if _no_python(result) else "refused")
    return report


def _as_json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def packed(data: bytes) -> str:
    """As the engine and the module engine_call take it: text, for not every way to a host carries all bytes."""
    return base64.b64encode(zlib.compress(data)).decode()


def _who() -> dict[str, str]:
    return {"user": getpass.getuser(), "host": socket.gethostname()}


def _words(result: Mapping[str, Any]) -> str:
    return "\n".join(
        str(result.get(key) or "") for key in ("msg", "module_stderr", "module_stdout", "exception")
    )


def _no_python(result: Mapping[str, Any]) -> bool:
    # 127 is the shell's word for a program that is not there.
    return result.get("rc") == 127 or bool(
        re.search(r"interpreter .*not found|[Pp]ython.*(minimum|version)", _words(result))
    )


def _one_line(result: Mapping[str, Any]) -> str:
    """What a module that never came to answer said, without its traceback."""
    if _no_python(result):
        found = re.search(r"minimum of Python version[^\n]*", _words(result))
        return "Python 3.9 or newer is needed on the host" + (
            f": Ansible says: {found.group(0)}" if found else "; none was found"
        )
    if signalled := _killed(result.get("rc")):
        return signalled
    lines = [line for line in _words(result).splitlines() if line.strip()]
    return lines[0] if lines else "the host gave no answer"


def _killed(status: Any) -> str:
    """What to say where a shell's exit status means that a signal ended its program; nothing where it does not."""
    if not (isinstance(status, int) and _KILLED < status <= _KILLED + signal.SIGRTMAX):
        return ""
    return f"the engine was killed there by signal {status - _KILLED}; the next call brings what is unfinished to its end"


def missing(what: str, name: str) -> dict[str, str]:
    """A line of --diff for something that the host lacks and the run brings."""
    return {"before_header": what, "after_header": what, "before": "", "after": f"{name}\n"}


def sentence(outcome: Mapping[str, Any]) -> str:
    """What became of one agent, in which phase, why, and its last words."""
    name, before = outcome["name"], outcome["before"]
    ends = {
        RELEASED: f"{name} is on {outcome['after']} and healthy",
        REVERTED: f"{name} was reverted to {before}, which is serving again",
        REMOVED: f"{name} was not released, and there was no release to go back to: nothing of it runs",
        REFUSED: f"{name} was left as it is",
        FAILED: f"{name} failed, and nothing of it is healthy",
        UNCHANGED: f"{name} is as it was",
    }
    why = "; ".join(filter(None, [outcome["reason"], *outcome.get("warnings", ())]))
    log = "".join(f"\n    | {line}" for line in outcome["log"])
    phase = outcome.get("phase") or "gate"
    # A hook has a name of its own; all else is said of the release.
    who = [] if phase == POST_RELEASE else ["the new release", outcome.get("tried")]
    return f"{ends[outcome['result']]}: {phase}: {' '.join(filter(None, [*who, why]))}{log}"


def went_well(outcome: Mapping[str, Any]) -> bool:
    """Nothing of it fails the run. A warning (a history that could not be written, say) does not."""
    return outcome["result"] in (RELEASED, UNCHANGED) and outcome.get("phase") != POST_RELEASE


def problem(host: str, error: HostRefused) -> dict[str, str]:
    """What a task that does not fail itself tells the end of the play about its host."""
    return {"kind": error.kind, "msg": f"{host}: {error}"}


def failed_as(told: Mapping[str, str]) -> dict[str, Any]:
    """The result of a task that fails with a `problem`: Ansible tells hosts that failed from those it cannot reach."""
    return {**told, "unreachable" if told["kind"] == UNREACHABLE else "failed": True}


def secret_names(action: ActionBase, task_vars: Mapping[str, Any]) -> list[str]:
    """The names in `agent_secrets`; no value is looked at. Raises AnsibleActionFail where it is no mapping."""
    return [str(name) for name in _secret_mapping(action, task_vars)]


def _secret_mapping(action: ActionBase, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
    raw = task_vars.get(SECRETS)
    if isinstance(raw, str):
        raw = templated(action, raw, SECRETS)
    if raw is not None and not isinstance(raw, Mapping):
        raise AnsibleActionFail(f"{SECRETS} must be a mapping of variable names to values")
    return raw or {}


def templated(action: ActionBase, value: Any, name: str) -> Any:
    """A value as its person meant it; an error says the name only, never the text."""
    try:
        return action._templar.template(value)
    except Exception:  # noqa: BLE001 - Ansible's own message would show the value
        hint = "a lookup of its own failed; or it holds `{{` or `{%` as it stands, and wants to be marked !unsafe"
        raise AnsibleActionFail(f"{name} cannot be read: {hint}") from None


def values_of(
    action: ActionBase, task_vars: Mapping[str, Any], manifests: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """The secrets of releases, by workload: what their manifests name, as the inventory has it today."""
    secrets = Secrets(action, task_vars)
    return {workload_key(one["kind"], one["name"]): secrets.of(one.get("secrets") or {}) for one in manifests}


class Secrets:
    """Turns the plan's references into values, for the agents of one host."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self._action, self._vars = action, task_vars

    def of(self, sources: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """variable → value. Raises AnsibleActionFail naming the variable whose value cannot be one."""
        return {variable: self._value(source) for variable, source in sources.items()}

    def _value(self, source: Mapping[str, str]) -> str:
        name = source["name"]
        if source["from"] == DERIVED_PASSWORD:
            return mosquitto.derive_password(self.credentials_key, name)
        where = f"{SECRETS}.{name}"
        if name not in self._mapping:
            raise AnsibleActionFail(f"{where} is not defined for this host")
        value = templated(self._action, self._mapping[name], where)
        if wrong := complaint(name, value):
            raise AnsibleActionFail(f"{where} {wrong}")
        return str(value)

    @functools.cached_property
    def _mapping(self) -> Mapping[str, Any]:
        return _secret_mapping(self._action, self._vars)

    @functools.cached_property
    def credentials_key(self) -> str:
        """The one key of the fleet from which every agent's MQTT password is derived. Raises AnsibleActionFail without one."""
        key = str(templated(self._action, self._vars.get(CREDENTIALS_KEY), CREDENTIALS_KEY) or "")
        if len(key) < 16:
            raise AnsibleActionFail(
                f"{CREDENTIALS_KEY} is missing or shorter than 16 characters; put the output of `openssl rand -hex 32` "
                "there with `ansible-vault edit` (group_vars/all/vault.yml)"
            )
        return key
