# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Telling people that the health of an agent or of its broker changed, by a command of theirs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

from .health import HEALTHY, HOUR, Record
from .hooks import execute, plain_environment
from .manifest import Manifest, Notify
from .table import written


def of_agent(document: Manifest, record: Record, action: str) -> dict[str, str]:
    """All that the command is told of an agent. No secret is among it: answers of agents are masked before they get here."""
    if record.state == HEALTHY:
        message = f"{document.name} is healthy again"
    else:
        message = ": ".join(filter(None, [f"{document.name} is {words(record.state)}", record.reason]))
    if action and record.state != HEALTHY:
        message += f"; {action}"
    return {
        **_common(record, message),
        "MUSTER_AGENT": document.name,
        "MUSTER_AGENT_ID": document.gate.agent_id or "",
        "MUSTER_RELEASE": document.release,
        "MUSTER_UNIT": document.unit,
        "MUSTER_RESTARTS": str(sum(one > record.since - HOUR for one in record.restarts)),
    }


def words(state: str) -> str:
    """What an agent is, for a person."""
    return {"gave up": "down, and systemd gave up on it", "stopped": "stopped, though nobody holds it"}.get(
        state, state
    )


def of_broker(url: str, record: Record, agents: Sequence[str]) -> dict[str, str]:
    names = ", ".join(agents)
    if record.state == HEALTHY:
        message = f"the broker {url} is there again, for {names}"
    else:
        message = f"the broker {url} is away: {record.reason}; no agent is restarted for that, and these wait: {names}"
    return {**_common(record, message), "MUSTER_BROKER": url}


def _common(record: Record, message: str) -> dict[str, str]:
    return {
        "MUSTER_HOST": socket.gethostname(),
        "MUSTER_STATE": record.state,
        "MUSTER_STATE_BEFORE": record.told,
        "MUSTER_SINCE": written(record.since),
        "MUSTER_REASON": record.reason,
        "MUSTER_MESSAGE": message,
    }


def tell(command: Notify | None, facts: Mapping[str, str]) -> str:
    """Run the command, which gets the facts as variables and as JSON on its standard input; "" or why it failed."""
    if command is None:
        return ""
    document = {name[len("MUSTER_") :].lower(): text for name, text in facts.items()}
    told = json.dumps(document, ensure_ascii=False).encode() + b"\n"
    variables = {**plain_environment("/"), **{name: text.replace("\0", "") for name, text in facts.items()}}
    done = execute("notify", command.run, variables, command.timeout, command.user, told)
    return "; ".join([done.reason, *done.log]) if done.reason else ""
