# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An agent's retained status on the broker: who is available, and taking leave for good."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import mqtt
from .manifest import Manifest

_TIMEOUT = 5.0
_UPTIME_TOPIC = "$SYS/broker/uptime"
_UPTIME = re.compile(rb"(\d{1,12}) seconds")


def twin(document: Manifest, secrets: Mapping[str, str]) -> str | None:
    """Why an agent that is new on this host must not start: its id is available already. None where nothing is known."""
    if document.mqtt is None:
        return None
    try:
        said = mqtt.read_retained(_broker(document, secrets), str(document.mqtt["status_topic"]), _TIMEOUT)
    except mqtt.BrokerError:
        return None  # the agent itself will find the broker unreachable, and the gate will say so
    if said is None or b'"available"' not in said:
        return None
    return (
        f"id {document.gate.agent_id!r} is available on the broker already, so it runs somewhere else; one id never runs "
        "twice. Deploy with that host in reach so that it is retired there, or, if it is gone for good, with "
        "-e fleet_assume_gone=true"
    )


def clear(document: Manifest, secrets: Mapping[str, str]) -> str:
    """Clear the retained status; returns a warning, or "" when it is done."""
    if document.mqtt is None:
        return ""
    try:
        mqtt.clear_retained(_broker(document, secrets), str(document.mqtt["status_topic"]), _TIMEOUT)
    except mqtt.BrokerError as error:
        return f"the retained status on the broker was not cleared: {error}"
    return ""


@dataclass(frozen=True)
class Status:
    """What an agent's retained status says: `complaint` is "" where it is available, `beat` when the agent wrote it."""

    complaint: str
    beat: str | None


@dataclass
class Answer:
    """What one broker says of its agents, by key: `said`, and in `unknown` why where it does not. `up`: for how many seconds it
    has been there, None where it does not say."""

    said: dict[str, Status] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    up: float | None = None


def ask(agents: Mapping[str, tuple[Manifest, Mapping[str, str]]], timeout: float) -> Answer:
    """Ask one broker about its agents, key -> (manifest, secrets).

    The first agent's login asks for all of them; an agent about which it hears nothing asks for itself, since a broker may show
    each only its own. One that does not trust the broker's certificate may just not have the new CA yet: the others are asked.
    Raises BrokerError where the broker is not there, and NotTrusted where none of them trusts it.
    """
    answer = Answer()
    said, unknown = answer.said, answer.unknown
    distrust: list[mqtt.NotTrusted] = []
    while len(said) + len(unknown) < len(agents):
        left = {key: one for key, one in agents.items() if key not in said and key not in unknown}
        topics = {
            key: str((document.mqtt or {})["status_topic"]) for key, (document, _secrets) in left.items()
        }
        asking = next(iter(left))
        try:
            wanted = sorted({_UPTIME_TOPIC, *topics.values()})
            found = mqtt.read_several(_broker(*left[asking]), wanted, timeout)
        except (mqtt.LoginRefused, mqtt.NotTrusted) as error:
            unknown[asking] = str(error)
            distrust += [error] if isinstance(error, mqtt.NotTrusted) else []
            continue
        if uptime := _UPTIME.fullmatch(found.get(_UPTIME_TOPIC) or b""):
            answer.up = float(uptime[1])
        for key, topic in topics.items():
            status = _status(found.get(topic))
            if status is not None:
                said[key] = status
            elif key == asking:
                unknown[key] = "it has no status there, or may not read it"
    if agents and len(distrust) == len(agents):
        raise distrust[0]
    return answer


def _status(payload: bytes | None) -> Status | None:
    try:
        document = json.loads(payload or b"")
    except (ValueError, RecursionError):
        return None
    state = document.get("status") if isinstance(document, dict) else None
    if state not in ("available", "unavailable"):
        return None
    written = document.get("timestamp")
    complaint = (
        "" if state == "available" else "its process is up, and the broker says that it is unavailable"
    )
    return Status(complaint, written if isinstance(written, str) else None)


def _broker(document: Manifest, secrets: Mapping[str, str]) -> mqtt.Broker:
    about = document.mqtt or {}
    return mqtt.Broker(
        url=str(about["url"]),
        username=about.get("username") or secrets.get(about.get("username_env") or ""),
        password=secrets.get(about.get("password_env") or ""),
        ca=about.get("ca"),
    )
