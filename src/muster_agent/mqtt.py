# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The agent's link to its broker: paho-mqtt behind an asyncio face.

paho's network thread does the socket work; everything else happens in the event loop. The link does not
reconnect by itself: whoever owns it decides when, and subscribes again each time, because a session that the
broker lost would leave the agent connected and deaf.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from muster_agent.config import BrokerUrl

HANDSHAKE_SECONDS = 10.0
# After a connection, until what the broker has of its session has come again.
SENT_AGAIN_SECONDS = 5.0
KEEPALIVE_SECONDS = 30
_SUBSCRIPTION_REFUSED = 0x80
# CONNACK codes of MQTT 3.1.1 in paho's spelling, for which trying again is no use.
_REFUSED_FOR_GOOD = (
    "Unsupported protocol version",
    "Client identifier not valid",
    "Bad user name or password",
    "Not authorized",
)


class BrokerUnreachable(Exception):
    """The broker does not answer, or not now: worth another attempt."""


class BrokerRefused(Exception):
    """The broker answered and does not want this agent: another attempt is no use."""


@dataclass(frozen=True)
class Delivery:
    """A message of the input topic. `connection` tells which connection brought it, and so may acknowledge it."""

    topic: str
    payload: bytes
    retained: bool
    message_id: int
    qos: int
    connection: int


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes


class MqttLink:
    """One persistent session (QoS 1, client id = agent id). All methods belong to the event loop."""

    def __init__(
        self, broker: BrokerUrl, client_id: str, credentials: tuple[str, str | None] | None, will: Will
    ) -> None:
        self.deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.connected = False
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._connection = 0
        self._held: list[Delivery] = []
        self._answer: asyncio.Future[ReasonCode] | None = None
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._subscribing: dict[int, asyncio.Future[ReasonCode]] = {}
        self._client = self._new_client(client_id, credentials, will)

    async def connect(self) -> None:
        """Connects and waits for CONNACK. Raises BrokerRefused or BrokerUnreachable."""
        self.lost.clear()
        self._answer = self._loop.create_future()
        connecting = self._loop.run_in_executor(None, self._open)
        try:
            await connecting
            self._client.loop_start()
            reason = await asyncio.wait_for(self._answer, HANDSHAKE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise BrokerRefused(f"its certificate is not trusted: {error.verify_message}") from None
        except asyncio.TimeoutError:
            await self.drop()
            raise BrokerUnreachable(f"no answer within {HANDSHAKE_SECONDS:g} s") from None
        except (OSError, ValueError) as error:
            raise BrokerUnreachable(_reason(error)) from None
        if reason.is_failure:
            await self.drop()
            kind = BrokerRefused if str(reason) in _REFUSED_FOR_GOOD else BrokerUnreachable
            raise kind(f"the broker refused the connection: {reason}")

    async def subscribe(self, topic: str) -> None:
        """Subscribes with QoS 1 and waits for SUBACK. Raises BrokerRefused or BrokerUnreachable."""
        code, message_id = self._client.subscribe(topic, qos=1)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or message_id is None:
            raise BrokerUnreachable("the connection was lost while subscribing")
        granted: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._subscribing[message_id] = granted
        try:
            reason = await asyncio.wait_for(granted, HANDSHAKE_SECONDS)
        except asyncio.TimeoutError:
            raise BrokerUnreachable(f"no SUBACK within {HANDSHAKE_SECONDS:g} s") from None
        finally:
            self._subscribing.pop(message_id, None)
        if reason.value >= _SUBSCRIPTION_REFUSED:
            raise BrokerRefused(f"the broker refused the subscription to {topic}")

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publishes with QoS 1 and waits for PUBACK, across reconnects if need be."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        confirmed: asyncio.Future[None] = self._loop.create_future()
        self._unconfirmed[info.mid] = confirmed
        try:
            await confirmed
        finally:
            self._unconfirmed.pop(info.mid, None)

    def acknowledge(self, delivery: Delivery) -> None:
        """Tells the broker that a message is done with. One of an earlier connection comes again by itself."""
        if delivery.connection == self._connection and self.connected:
            self._client.ack(delivery.message_id, delivery.qos)

    async def drop(self) -> None:
        """Disconnects cleanly, so that no last will is sent, and stops the network thread."""
        self.connected = False
        self._client.disconnect()
        await self._loop.run_in_executor(None, self._client.loop_stop)

    def _new_client(
        self, client_id: str, credentials: tuple[str, str | None] | None, will: Will
    ) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if credentials is not None:
            client.username_pw_set(*credentials)
        if self._broker.tls:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _open(self) -> None:
        # The thread of an earlier connection has ended with it; joining it lets a new one start.
        self._client.loop_stop()
        self._client.connect(self._broker.host, self._broker.port, keepalive=KEEPALIVE_SECONDS)

    # Callbacks of paho's thread: each only hands its news to the event loop.

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._tell(self._connected, bool(flags.session_present), reason)

    def _on_disconnect(self, *_details: Any) -> None:
        self._tell(self._disconnected)

    def _on_subscribe(
        self, _client: Any, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self._tell(self._settle, self._subscribing, mid, reasons[0])

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        self._tell(self._settle, self._unconfirmed, mid, None)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._tell(self._received, message.topic, message.payload, message.retain, message.mid, message.qos)

    def _tell(self, what: Any, *values: Any) -> None:
        # A closed loop means that the process is ending: there is nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *values)

    # The same, in the event loop.

    def _connected(self, session_present: bool, reason: ReasonCode) -> None:
        if not reason.is_failure:
            self._connection += 1
            self.connected = True
            # A broker that has the session sends all that was not acknowledged again: these copies need not be done, too. One
            # that was killed has it as it was when it last saved, and sends some of it never again.
            while session_present and not self.deliveries.empty():
                self._held.append(self.deliveries.get_nowait())
            self._loop.call_later(SENT_AGAIN_SECONDS, self._take_up, self._connection)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reason)

    def _disconnected(self) -> None:
        self.connected = False
        self.lost.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the broker closed the connection"))

    def _take_up(self, connection: int) -> None:
        """Do what the broker did not send again, unless there is another connection by now, which will see to it."""
        while self._held and connection == self._connection:
            self.deliveries.put_nowait(self._held.pop(0))

    def _received(self, topic: str, payload: bytes, retained: bool, message_id: int, qos: int) -> None:
        self._held = [one for one in self._held if (one.topic, one.payload) != (topic, payload)]
        self.deliveries.put_nowait(Delivery(topic, payload, retained, message_id, qos, self._connection))

    @staticmethod
    def _settle(waiting: dict[int, asyncio.Future[Any]], message_id: int, result: Any) -> None:
        future = waiting.get(message_id)
        if future is not None and not future.done():
            future.set_result(result)


def _send_at_once(_client: Any, _data: Any, connection: Any) -> None:
    """An answer follows the acknowledgement of the task before: the kernel would hold it back for 40 ms (Nagle)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "the connection timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
