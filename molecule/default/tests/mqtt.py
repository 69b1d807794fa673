# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Listening to a broker as an ordinary client."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from demo.ask import Broker

QUIET_SECONDS = 3


@contextmanager
def listening(broker: Broker, topic: str) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """The messages that a client gets on a topic while the block runs."""
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    subscribed: queue.Queue[object] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"test-{uuid.uuid4().hex[:8]}")
    client.username_pw_set(broker.user, broker.password)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.on_message = lambda _client, _data, message: heard.put((message.topic, bytes(message.payload)))
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        subscribed.get(timeout=10)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def drained(heard: queue.Queue[tuple[str, bytes]], seconds: float = QUIET_SECONDS) -> list[tuple[str, bytes]]:
    """All messages until none has come for some seconds."""
    messages = []
    while True:
        try:
            messages.append(heard.get(timeout=seconds))
        except queue.Empty:
            return messages
