# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A one-shot MQTT 3.1.1 client: read retained messages, or clear one.

Each call is a connection of its own, with a clean session and a random client id, so that it never takes over an
agent's. Each ends within its timeout, with a result or a BrokerError that names no secret.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}

# What the peer may send in one packet, in bytes: a status is a few hundred.
_LARGEST_PACKET = 1024 * 1024
_LARGEST_TEXT = 65535
_LARGEST_LENGTH_BYTES = 4
_KEEP_ALIVE_SECONDS = 60
_PACKET_ID = 1

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP = 2, 3, 4, 9, 13
_CONNECT_HEADER, _SUBSCRIBE_HEADER, _PUBLISH_RETAIN_QOS1_HEADER = 0x10, 0x82, 0x33
_PINGREQ, _DISCONNECT = b"\xc0\x00", b"\xe0\x00"

_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not accept the client id",
    3: "it is not available",
    4: "user name or password is malformed",
    5: "user name or password is wrong, or this user may not connect",
}
_ABOUT_THE_LOGIN = (2, 4, 5)
_SUBSCRIPTION_REFUSED = 0x80


class BrokerError(Exception):
    """The broker cannot be reached, refuses, or does not speak MQTT; the message is for people."""


class LoginRefused(BrokerError):
    """The broker is there and does not want this user."""


class NotTrusted(BrokerError):
    """The broker is there, and shows a certificate that this user does not trust."""


@dataclass(frozen=True)
class Broker:
    """A broker, ``mqtt://host[:port]`` (1883) or ``mqtts://host[:port]`` (8883), and whom to connect as. `ca`: PEM of what its
    certificate is verified with; without it that is the host's trust store.

    Raises BrokerError for any other URL, without repeating it: it may hold a password. One with a user name is
    refused for that reason.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be connected to."""
        try:
            parts = urlsplit(self.url)
            parts.port  # noqa: B018  (reading it checks it)
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise BrokerError("the broker URL has no valid host and port") from None
        if parts.username is not None or parts.password is not None:
            raise BrokerError("the broker URL holds a user name: give user name and password on their own")
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise BrokerError("the broker URL is not of the form mqtt://host[:port] or mqtts://host[:port]")
        if self.password is not None and self.username is None:
            raise BrokerError("MQTT takes no password without a user name")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def host(self) -> str:
        """Host name or address, IPv6 without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, its default where the URL has none."""
        parts = urlsplit(self.url)
        return parts.port or _DEFAULT_PORTS[parts.scheme]


def read_retained(broker: Broker, topic: str, timeout: float) -> bytes | None:
    """The retained message of a topic, None where there is none that this user may read; `timeout` in seconds.

    Raises BrokerError.
    """
    found = read_several(broker, [topic], timeout)
    if topic not in found:
        raise BrokerError(f"the broker {broker.host}:{broker.port} does not let this user read {topic}")
    return found[topic]


def read_several(broker: Broker, topics: Sequence[str], timeout: float) -> dict[str, bytes | None]:
    """The retained messages of several topics, all different; those that this user may not subscribe to are left out.

    A broker sends retained messages right after it has confirmed the subscription, so an answered ping that follows means
    that there are no more. With QoS 0, as one with more of them would wait for confirmations. Raises BrokerError.
    """
    names = {topic: _topic(topic) for topic in topics}
    found: dict[str, bytes | None] = {}
    granted = list(topics)
    with _Connection(broker, timeout) as connection:
        wanted = b"".join(name + b"\x00" for name in names.values())
        connection.send(_packet(_SUBSCRIBE_HEADER, struct.pack("!H", _PACKET_ID) + wanted))
        while not set(granted) <= set(found):
            packet = connection.receive()
            if packet.kind == _SUBACK:
                codes = packet.body[2:]
                granted = [topic for topic, code in zip(topics, codes) if code != _SUBSCRIPTION_REFUSED]
                connection.send(_PINGREQ)
            elif packet.kind == _PUBLISH:
                for topic, name in names.items():
                    payload = _retained(packet, name)
                    if payload is not None:
                        found[topic] = payload
            elif packet.kind == _PINGRESP:
                found = {topic: found.get(topic) for topic in granted}
            else:
                raise connection.not_mqtt()
    return found


def clear_retained(broker: Broker, topic: str, timeout: float) -> None:
    """Remove the retained message of a topic; `timeout` in seconds.

    Returns when the broker has confirmed it. A broker confirms, too, what its ACL forbids and it then drops: MQTT
    3.1.1 has no way to tell. Raises BrokerError.
    """
    with _Connection(broker, timeout) as connection:
        packet_id = struct.pack("!H", _PACKET_ID)
        connection.send(_packet(_PUBLISH_RETAIN_QOS1_HEADER, _topic(topic) + packet_id))
        answer = connection.receive()
        if answer.kind != _PUBACK or answer.body != packet_id:
            raise connection.not_mqtt()


class _Packet(NamedTuple):
    kind: int
    flags: int
    body: bytes


class _Connection:
    """An open MQTT connection; everything until its end shares one deadline."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self.name = f"the broker {broker.host}:{broker.port}"
        self._broker = broker
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def __enter__(self) -> _Connection:
        self._socket = self._open()
        try:
            self.send(_connect(self._broker))
            answer = self.receive()
            if answer.kind != _CONNACK or len(answer.body) != 2:
                raise self.not_mqtt()
            code = answer.body[1]
            if code:
                reason = _REFUSALS.get(code, f"code {code}")
                kind = LoginRefused if code in _ABOUT_THE_LOGIN else BrokerError
                raise kind(f"{self.name} refused the connection: {reason}")
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, failure: object, *_unused: object) -> None:
        try:
            if failure is None:
                self.send(_DISCONNECT)
        except BrokerError:
            pass  # what was asked for is done; the broker sees the connection end all the same
        finally:
            self._socket.close()

    def send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(data)
        except OSError as error:
            raise self._failure(error) from None

    def receive(self) -> _Packet:
        first = self._exactly(1)[0]
        length = 0
        for position in range(_LARGEST_LENGTH_BYTES):
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << (7 * position)
            if not byte & 0x80:
                break
        else:
            raise self.not_mqtt()
        if length > _LARGEST_PACKET:
            raise BrokerError(f"{self.name} sent {length} bytes at once, more than {_LARGEST_PACKET}")
        return _Packet(first >> 4, first & 0x0F, self._exactly(length))

    def not_mqtt(self) -> BrokerError:
        return BrokerError(
            f"{self.name} does not answer as MQTT 3.1.1 has it; is something else on this port?"
        )

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                self._socket.settimeout(self._left())
                piece = self._socket.recv(count - len(data))
            except OSError as error:
                raise self._failure(error) from None
            if not piece:
                raise BrokerError(f"{self.name} closed the connection")
            data += piece
        return bytes(data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> BrokerError:
        return BrokerError(f"{self.name} did not answer within {self._timeout:g} s")

    def _failure(self, error: OSError) -> BrokerError:
        if isinstance(error, socket.timeout):
            return self._late()
        if self._broker.tls:
            return self._tls_failure(error)
        return self._not_reachable(error)

    def _not_reachable(self, error: OSError) -> BrokerError:
        return BrokerError(f"{self.name} is not reachable: {error.strerror or error}")

    def _tls_failure(self, error: OSError) -> BrokerError:
        import ssl  # only where TLS is spoken: most calls speak to no broker at all

        if isinstance(error, ssl.SSLCertVerificationError):
            return NotTrusted(f"{self.name} shows a certificate that is not trusted: {error.verify_message}")
        if isinstance(error, ssl.SSLError):
            return BrokerError(f"no TLS connection to {self.name}: {error.reason or error}")
        return self._not_reachable(error)

    def _open(self) -> socket.socket:
        failure = BrokerError(f"{self.name} is not reachable: its name has no address")
        for family, address in self._addresses():
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._left())
                connection.connect(address)
                if not self._broker.tls:
                    return connection
                connection.settimeout(self._left())
                import ssl

                context = ssl.create_default_context(cadata=self._broker.ca)
                return context.wrap_socket(connection, server_hostname=self._broker.host)
            except OSError as error:
                connection.close()
                failure = self._failure(error)
            except BaseException:
                connection.close()
                raise
        raise failure

    def _addresses(self) -> list[tuple[int, tuple[object, ...]]]:
        """The broker's addresses; looked up in a thread, as a look-up knows no deadline."""
        found: list[tuple[int, tuple[object, ...]]] = []
        failures: list[OSError] = []

        def look_up() -> None:
            try:
                for family, _type, _protocol, _name, address in socket.getaddrinfo(
                    self._broker.host, self._broker.port, type=socket.SOCK_STREAM
                ):
                    found.append((family, address))
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(self._left())
        if thread.is_alive():
            raise self._late()
        if failures:
            raise self._failure(failures[0])
        return found


def _connect(broker: Broker) -> bytes:
    flags = 0x02  # clean session
    # 23 characters, the most that every broker must take
    payload = _text(f"muster-{uuid.uuid4().hex[:16]}")
    if broker.username is not None:
        flags |= 0x80
        payload += _text(broker.username)
    if broker.password is not None:
        flags |= 0x40
        payload += _text(broker.password)
    return _packet(
        _CONNECT_HEADER, _text("MQTT") + struct.pack("!BBH", 4, flags, _KEEP_ALIVE_SECONDS) + payload
    )


def _retained(packet: _Packet, name: bytes) -> bytes | None:
    """The payload, if the packet brings the retained message of this topic and not one that came in just now."""
    if not packet.flags & 0x01 or not packet.body.startswith(name):
        return None
    has_packet_id = bool(packet.flags & 0x06)
    return packet.body[len(name) + 2 * has_packet_id :]


def _packet(header: int, body: bytes) -> bytes:
    length = bytearray()
    rest = len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([header]) + bytes(length) + body


def _text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise BrokerError("MQTT names and passwords are UTF-8 text") from None
    if len(data) > _LARGEST_TEXT:
        raise BrokerError(f"MQTT names and passwords have at most {_LARGEST_TEXT} bytes")
    return struct.pack("!H", len(data)) + data


def _topic(topic: str) -> bytes:
    if not topic or set(topic) & set("+#\0"):
        raise BrokerError(f"{topic!r} is not the name of one MQTT topic")
    return _text(topic)
