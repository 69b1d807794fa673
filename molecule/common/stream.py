# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A steady stream of tasks to one agent, and the account of what became of each of them."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mqtt import QUIET_SECONDS, subscribed
from paho.mqtt.client import MQTT_ERR_NO_CONN, MQTT_ERR_SUCCESS, Client, MQTTMessageInfo

from demo.ask import Broker, Task

# For the tasks that wait when the last one has been sent.
PATIENCE_SECONDS = 60


@dataclass
class Sent:
    """A task, when it was sent (monotonic clock), and each answer to it with the time of its arrival."""

    task: Task
    at: float
    answers: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The answers that are not what `Account` wants."""
        messages = [message for _, message in self.answers]
        return [
            message
            for message in messages
            if self.task.question not in message.get("response", "") or message != messages[0]
        ]


@dataclass(frozen=True)
class Account:
    """What the sender knows in the end; times in seconds."""

    sent: int  # all confirmed by the broker
    answered: int
    lost: list[str]
    wrong: list[dict[str, Any]]  # errors, answers to another question, later answers unlike the first
    repeated: int  # answers after a task's first, which a receiver drops by the task's id
    silence: float  # the longest time between two answers
    wait: float  # the longest that one task waited for its answer

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.answered} answered, {len(self.lost)} lost, {len(self.wrong)} wrong, "
            f"{self.repeated} repeated, longest silence {self.silence:.1f} s, longest wait {self.wait:.1f} s"
        )


class Stream:
    """Tasks on their way to one agent."""

    client: Client

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.conversation = f"stream-{uuid.uuid4().hex[:8]}"
        self.enough = threading.Event()
        self._sent: dict[str, Sent] = {}
        self._confirmations: list[MQTTMessageInfo] = []
        self._strangers: list[dict[str, Any]] = []

    def send(self, pause: float) -> None:
        """Send one task after the other, ``pause`` seconds apart, until it is enough."""
        due = time.monotonic()
        for number in itertools.count(1):
            task = Task(self.agent_id, f"Question {number}.", str(uuid.uuid4()), self.conversation)
            self._sent[task.task_id] = Sent(task, time.monotonic())
            self._publish(task)
            due += pause
            if self.enough.wait(max(0.0, due - time.monotonic())):
                return

    def send_again(self, unanswered: list[Sent]) -> None:
        """As a sender does that has waited for too long: the same tasks, by their ids."""
        for sent in unanswered:
            self._publish(sent.task)

    def _publish(self, task: Task) -> None:
        confirmation = self.client.publish(task.topic, json.dumps(task.envelope()), qos=1)
        if confirmation.rc == MQTT_ERR_NO_CONN:
            confirmation.rc = MQTT_ERR_SUCCESS  # it is queued, and sent when the connection is back
        self._confirmations.append(confirmation)

    def hear(self, _topic: str, payload: bytes) -> None:
        """Note an answer."""
        message = json.loads(payload)
        sent = self._sent.get(message.get("task_id"))
        if sent is None:
            self._strangers.append(message)
        else:
            sent.answers.append((time.monotonic(), message))

    def wait_for(self, tasks: int) -> None:
        """Until so many tasks have been sent."""
        while len(self._confirmations) < tasks:
            assert not self.enough.is_set(), "the sender has stopped"
            time.sleep(0.1)

    def settle(self) -> Account:
        """Send no more, wait for the answers that are due, and tell how it went."""
        self.enough.set()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.unanswered() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(QUIET_SECONDS)  # for answers that come twice
        return self._account()

    def unanswered(self) -> list[Sent]:
        """The tasks that nobody has answered yet, the oldest first."""
        return [sent for sent in list(self._sent.values()) if not sent.answers]

    def _account(self) -> Account:
        for confirmation in self._confirmations:
            confirmation.wait_for_publish(PATIENCE_SECONDS)
            assert confirmation.is_published(), "the broker did not confirm a task"
        sent = list(self._sent.values())
        answered = [one for one in sent if one.answers]
        firsts = [one.answers[0][0] for one in answered]
        moments = sorted([sent[0].at, *firsts])
        return Account(
            sent=len(sent),
            answered=len(answered),
            lost=[one.task.question for one in sent if not one.answers],
            wrong=[*self._strangers, *(message for one in answered for message in one.wrong)],
            repeated=sum(len(one.answers) - 1 for one in answered),
            silence=max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0),
            wait=max((first - one.at for one, first in zip(answered, firsts)), default=0.0),
        )


@contextmanager
def streaming(broker: Broker, agent_id: str, per_second: float, *, lasting: bool = False) -> Iterator[Stream]:
    """Tasks at a steady rate while the block runs, or until it says that it is enough.

    ``lasting``: the broker keeps the answers while the sender's connection is lost.
    """
    stream = Stream(agent_id)
    session = stream.conversation if lasting else ""
    answers = f"/conversations/{stream.conversation}/{agent_id}"
    with subscribed(broker, answers, stream.hear, session) as stream.client:
        sender = threading.Thread(target=stream.send, args=(1 / per_second,))
        sender.start()
        try:
            yield stream
        finally:
            stream.enough.set()
            sender.join()
