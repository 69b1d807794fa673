# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Topics of the protocol (RFC sections 5.1 and 5.2)."""

from __future__ import annotations

import re

AGENT_ID = re.compile(r"[a-zA-Z0-9._-]+")
_INPUT = re.compile(r"/control/agents/([a-zA-Z0-9._-]+)/input")
_CONVERSATION = re.compile(r"/conversations/([^/]+)/([a-zA-Z0-9._-]+)")
_SLASHES = re.compile(r"/+")
# Wildcards would address other conversations, control characters are refused by brokers.
_UNSAFE = re.compile(r"[+#/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
MAX_CONVERSATION_ID = 256


def canonical(topic: str) -> str:
    """One leading slash, none at the end, none doubled: `//control//agents/a/` is `/control/agents/a`."""
    return _SLASHES.sub("/", "/" + topic).rstrip("/") or "/"


def status_topic(agent_id: str) -> str:
    return f"/control/agents/{agent_id}/status"


def input_topic(agent_id: str) -> str:
    return f"/control/agents/{agent_id}/input"


def conversation_topic(conversation_id: str, agent_id: str) -> str:
    return f"/conversations/{conversation_id}/{agent_id}"


def is_agent_id(text: str) -> bool:
    return AGENT_ID.fullmatch(text) is not None


def is_conversation_id(value: object) -> bool:
    """Whether a value can stand as one level of a topic that is published to."""
    return isinstance(value, str) and 0 < len(value) <= MAX_CONVERSATION_ID and not _UNSAFE.search(value)


def input_agent(topic: str) -> str | None:
    """The agent whose input a canonical topic is, if it is one."""
    match = _INPUT.fullmatch(topic)
    return match.group(1) if match else None


def conversation_of(topic: str) -> tuple[str, str] | None:
    """The (conversation_id, agent_id) of a canonical conversation topic, if it is one."""
    match = _CONVERSATION.fullmatch(topic)
    if match is None or not is_conversation_id(match.group(1)):
        return None
    return match.group(1), match.group(2)
