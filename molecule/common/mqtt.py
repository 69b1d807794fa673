# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Listening to a broker as an ordinary client."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paho.mqtt.client import Client

from demo.ask import Broker

QUIET_SECONDS = 3


@contextmanager
def subscribed(
    broker: Broker, topic: str, hear: Callable[[str, bytes], None], session: str = ""
) -> Iterator[Client]:
    """A client that gives what it gets on a topic to ``hear``, in a thread of its own, while the block runs.

    With a ``session``, its client id, the broker keeps for it what comes while the connection is lost.
    """
    granted: queue.Queue[object] = queue.Queue()
    client = broker.client(session or f"test-{uuid.uuid4().hex[:8]}", clean_session=not session)
    client.reconnect_delay_set(1, 5)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: granted.put(None)
    client.on_message = lambda _client, _data, message: hear(message.topic, bytes(message.payload))
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        granted.get(timeout=10)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def listening(broker: Broker, topic: str) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """The messages that a client gets on a topic while the block runs."""
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    with subscribed(broker, topic, lambda *message: heard.put(message)):
        yield heard


def drained(heard: queue.Queue[tuple[str, bytes]], seconds: float = QUIET_SECONDS) -> list[tuple[str, bytes]]:
    """All messages until none has come for some seconds."""
    messages = []
    while True:
        try:
            messages.append(heard.get(timeout=seconds))
        except queue.Empty:
            return messages
