# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sending a task to an agent, as any MQTT client can: publish an envelope, wait on the conversation's topic."""

from __future__ import annotations

import json
import queue
import uuid
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dev.shell import Failure

CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Broker:
    """Where a broker answers, and as whom to speak to it. With ``ca``, a file, it is spoken to over TLS and verified."""

    host: str
    port: int
    user: str
    password: str
    ca: str = ""

    def client(self, client_id: str, *, clean_session: bool = True) -> Client:
        """A client with this login, not connected yet."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean_session)
        client.username_pw_set(self.user, self.password)
        if self.ca:
            client.tls_set(self.ca)
        return client


@dataclass(frozen=True)
class Task:
    """One question to one agent, as the 2389 agent protocol has it."""

    agent_id: str
    question: str
    task_id: str
    conversation_id: str

    @property
    def topic(self) -> str:
        return f"/control/agents/{self.agent_id}/input"

    @property
    def answer_topic(self) -> str:
        return f"/conversations/{self.conversation_id}/{self.agent_id}"

    def envelope(self) -> dict[str, Any]:
        """The message that is published."""
        return {
            "task_id": self.task_id,
            "conversation_id": self.conversation_id,
            "topic": self.topic,
            "instruction": self.question,
            "input": None,
            "next": None,
        }


def new_task(agent_id: str, question: str) -> Task:
    """A task with ids of its own."""
    return Task(agent_id, question, str(uuid.uuid4()), f"demo-{uuid.uuid4().hex[:8]}")


def ask(broker: Broker, task: Task, timeout: float = 60) -> str:
    """Publish the task and return the agent's answer.

    Raises Failure when the broker refuses, when no answer comes within ``timeout`` seconds, and with the agent's own
    words when it answers with an error.
    """
    arrived: queue.Queue[bytes | bytearray | Failure] = queue.Queue()

    def on_connect(
        client: Client,
        _data: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            arrived.put(Failure(f"the broker at {broker.host}:{broker.port} refuses {broker.user}: {reason}"))
        else:
            client.subscribe(task.answer_topic, qos=1)

    def on_subscribe(
        client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            arrived.put(Failure(f"{broker.user} may not read {task.answer_topic}"))
        else:
            # Only now: an answer that comes before the subscription would be lost.
            client.publish(task.topic, json.dumps(task.envelope()), qos=1)

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        arrived.put(message.payload)

    client = broker.client(task.conversation_id)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect_timeout = CONNECT_SECONDS
    try:
        client.connect(broker.host, broker.port)
    except OSError as error:
        raise Failure(f"no broker answers at {broker.host}:{broker.port}: {error}") from None
    client.loop_start()
    try:
        outcome = arrived.get(timeout=timeout)
    except queue.Empty:
        raise Failure(f"{task.agent_id} has not answered within {timeout:.0f} s") from None
    finally:
        client.disconnect()
        client.loop_stop()
    if isinstance(outcome, Failure):
        raise outcome
    return _answer(task, json.loads(outcome))


def _answer(task: Task, message: dict[str, Any]) -> str:
    if "error" in message:
        raise Failure(f"{task.agent_id} answers with an error: {message['error']}")
    return str(message["response"])
