# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An agent's retained status on the broker: who is available, and taking leave for good."""

from __future__ import annotations

from collections.abc import Mapping

from . import mqtt
from .manifest import Manifest

_TIMEOUT = 5.0


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


def _broker(document: Manifest, secrets: Mapping[str, str]) -> mqtt.Broker:
    about: Mapping[str, str | None] = document.mqtt or {}
    return mqtt.Broker(
        url=str(about["url"]),
        username=about.get("username") or secrets.get(about.get("username_env") or ""),
        password=secrets.get(about.get("password_env") or ""),
        ca=about.get("ca"),
    )
