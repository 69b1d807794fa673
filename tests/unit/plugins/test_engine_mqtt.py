# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's MQTT client, against a real Mosquitto and against peers that are none."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import mqtt
from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto
from tests.unit.plugins.test_mosquitto import (
    AGENT,
    CLIENT,
    KEY,
    OBSERVER,
    OTHER,
    RunningBroker,
    User,
    free_port,
    running_broker,
)

STATUS = f"/control/agents/{AGENT}/status"
SECRET = "canary-password"
TIMEOUT = 5.0
SHORT = 0.3


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def as_user(running: RunningBroker, name: str) -> mqtt.Broker:
    return mqtt.Broker(f"mqtt://127.0.0.1:{running.port}", name, mosquitto.derive_password(KEY, name))


def retain(running: RunningBroker, topic: str, payload: bytes) -> None:
    observer = User(running, OBSERVER)
    observer.publish(topic, payload, retain=True)
    observer.leave()


# --- a real broker ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"{}", b"\x00\xff", b"x" * 127, b"x" * 200_000])
def test_a_retained_message_is_read(running: RunningBroker, payload: bytes) -> None:
    retain(running, STATUS, payload)
    assert mqtt.read_retained(as_user(running, AGENT), STATUS, TIMEOUT) == payload


def test_many_are_read_at_once(running: RunningBroker) -> None:
    """More than a broker would send with QoS 1 before it waits for confirmations."""
    topics = [f"/control/agents/many-{number}/status" for number in range(60)]
    for topic in topics[1:]:
        retain(running, topic, topic.encode())
    expected = {topics[0]: None, **{topic: topic.encode() for topic in topics[1:]}}
    assert mqtt.read_several(as_user(running, AGENT), topics, TIMEOUT) == expected


def test_where_nothing_is_retained_the_answer_is_none_at_once(running: RunningBroker) -> None:
    start = time.monotonic()
    assert mqtt.read_retained(as_user(running, AGENT), "/control/agents/nobody/status", TIMEOUT) is None
    assert time.monotonic() - start < TIMEOUT / 2


def test_what_the_user_may_not_read_is_none(running: RunningBroker) -> None:
    topic = f"/conversations/c/{OTHER}"
    retain(running, topic, b"private")
    assert mqtt.read_retained(as_user(running, CLIENT), topic, TIMEOUT) == b"private"
    assert mqtt.read_retained(as_user(running, AGENT), topic, TIMEOUT) is None


def test_clearing_removes_the_retained_message_and_just_that(running: RunningBroker) -> None:
    other = f"/control/agents/{OTHER}/status"
    retain(running, STATUS, b"available")
    retain(running, other, b"available")
    mqtt.clear_retained(as_user(running, AGENT), STATUS, TIMEOUT)
    mqtt.clear_retained(as_user(running, AGENT), STATUS, TIMEOUT)
    assert mqtt.read_retained(as_user(running, AGENT), STATUS, TIMEOUT) is None
    assert mqtt.read_retained(as_user(running, AGENT), other, TIMEOUT) == b"available"


def test_an_agent_that_is_connected_stays_so(running: RunningBroker) -> None:
    agent = User(running, AGENT, keep=AGENT)
    mqtt.read_retained(as_user(running, AGENT), STATUS, TIMEOUT)
    mqtt.clear_retained(as_user(running, AGENT), STATUS, TIMEOUT)
    agent.subscribe(f"/control/agents/{AGENT}/input")
    agent.publish(f"/control/agents/{AGENT}/input", b"task")
    assert agent.received.get(timeout=TIMEOUT)[1] == b"task"
    agent.leave()


@pytest.mark.parametrize(
    ("name", "password"), [(AGENT, SECRET), ("nobody", SECRET), (AGENT, None), (None, None)]
)
def test_a_refusal_says_why_without_the_password(
    running: RunningBroker, name: str | None, password: str | None
) -> None:
    broker = mqtt.Broker(f"mqtt://127.0.0.1:{running.port}", name, password)
    with pytest.raises(
        mqtt.BrokerError, match="refused the connection: user name or password is wrong"
    ) as caught:
        mqtt.read_retained(broker, STATUS, TIMEOUT)
    assert SECRET not in str(caught.value)


def test_nobody_listens() -> None:
    with pytest.raises(mqtt.BrokerError, match="not reachable: Connection refused"):
        mqtt.clear_retained(mqtt.Broker(f"mqtt://localhost:{free_port()}"), STATUS, TIMEOUT)


def test_a_name_without_address() -> None:
    with pytest.raises(mqtt.BrokerError, match=r"broker no-such-host\.invalid:1883"):
        mqtt.read_retained(mqtt.Broker("mqtt://no-such-host.invalid"), STATUS, TIMEOUT)


# --- TLS ----------------------------------------------------------------------------------------------------


def write_certificate(folder: Path, host: str) -> None:
    """A certificate for one host name that is its own authority: cert.pem, key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.mark.parametrize(
    ("host", "trusted", "outcome"),
    [
        ("localhost", True, "value"),
        ("localhost", False, "certificate that is not trusted: self"),
        ("broker.example", True, "certificate that is not trusted: Hostname mismatch"),
    ],
)
def test_tls_checks_authority_and_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, outcome: str
) -> None:
    write_certificate(tmp_path, host)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    port = free_port()
    tls = (f"listener {port} 127.0.0.1", f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem")
    broker = mqtt.Broker(f"mqtts://localhost:{port}", AGENT, mosquitto.derive_password(KEY, AGENT))
    with running_broker(tmp_path, tls) as running:
        retain(running, STATUS, b"value")
        try:
            result = str(mqtt.read_retained(broker, STATUS, TIMEOUT))
        except mqtt.BrokerError as error:
            result = str(error)
    assert outcome in result


def test_a_port_without_tls(running: RunningBroker) -> None:
    with pytest.raises(mqtt.BrokerError, match="localhost"):
        mqtt.read_retained(mqtt.Broker(f"mqtts://localhost:{running.port}"), STATUS, SHORT)


# --- peers that are no broker -------------------------------------------------------------------------------


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[mqtt.Broker]:
    """A TCP server that does `talk` with each client; when it returns, the connection is closed."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _address = server.accept()
            except OSError:
                return
            with client, suppress(OSError):  # the client may leave at any time
                talk(client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield mqtt.Broker(f"mqtt://127.0.0.1:{server.getsockname()[1]}", AGENT, SECRET)
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x03\x00\x01\x01"
PINGRESP = b"\xd0\x00"
NAME = len(STATUS).to_bytes(2, "big") + STATUS.encode()


def saying(data: bytes) -> Callable[[socket.socket], None]:
    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(data)
        client.recv(4096)
        client.settimeout(2 * SHORT)
        while client.recv(4096):
            pass

    return talk


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100, "MQTT|did not answer"),
        (b"\x20\xff\xff\xff\xff\xff", "MQTT"),
        (b"\x20\xff\xff\xff\x7f", "bytes at once"),
        (b"\x20\x00", "MQTT"),
        (b"\x20\x02\x00\x01", "does not speak MQTT 3.1.1"),
        (b"\x20\x02\x00\x03", "not available"),
        (b"\x20\x02\x00\x63", "code 99"),
        (b"", "did not answer within 0.3 s"),
        (CONNACK, "did not answer within 0.3 s"),
        (CONNACK + SUBACK, "did not answer within 0.3 s"),
        (CONNACK + b"\x90\x03\x00\x01\x80", "does not let this user read"),
        (CONNACK + b"\x00\x00", "MQTT"),
        (CONNACK + b"\x90\xff\xff\xff\xff", "MQTT"),
        (CONNACK + SUBACK + b"\x31\x7f" + NAME, "did not answer"),
    ],
)
def test_a_strange_answer_is_an_error_in_time(said: bytes, message: str) -> None:
    with peer(saying(said)) as broker:
        start = time.monotonic()
        with pytest.raises(mqtt.BrokerError, match=message) as caught:
            mqtt.read_retained(broker, STATUS, SHORT)
        assert time.monotonic() - start < SHORT + 1
    assert SECRET not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", CONNACK, CONNACK + SUBACK]))
def test_garbage_ends_in_time(garbage: bytes, before: bytes) -> None:
    for call in (mqtt.read_retained, mqtt.clear_retained):
        with peer(saying(before + garbage)) as broker:
            start = time.monotonic()
            try:
                call(broker, STATUS, 0.05)
            except mqtt.BrokerError as error:
                assert SECRET not in str(error)
            assert time.monotonic() - start < 1


def drip(client: socket.socket) -> None:
    """A packet that is never whole, though something always arrives."""
    client.sendall(CONNACK + b"\x31\xff\x7f")
    while True:
        client.sendall(b"x")
        time.sleep(SHORT / 10)


@pytest.mark.parametrize("call", [mqtt.read_retained, mqtt.clear_retained])
def test_the_timeout_is_for_the_whole_call(call: Callable[[mqtt.Broker, str, float], object]) -> None:
    with peer(drip) as broker:
        start = time.monotonic()
        with pytest.raises(mqtt.BrokerError, match="did not answer within"):
            call(broker, STATUS, SHORT)
        assert SHORT <= time.monotonic() - start < SHORT + 1


def test_a_peer_that_closes() -> None:
    with peer(lambda client: None) as broker, pytest.raises(mqtt.BrokerError, match=r"closed|not reachable"):
        mqtt.read_retained(broker, STATUS, TIMEOUT)


def test_a_peer_that_is_silent_in_the_tls_handshake() -> None:
    with peer(saying(b"")) as broker:
        secure = mqtt.Broker(broker.url.replace("mqtt:", "mqtts:"))
        with pytest.raises(mqtt.BrokerError, match="did not answer within"):
            mqtt.read_retained(secure, STATUS, SHORT)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"\x31%c" % (len(NAME) + 1) + NAME + b"0", b"0"),
        (b"\x33%c" % (len(NAME) + 3) + NAME + b"\x00\x07" + b"1", b"1"),
        (b"\x30%c" % (len(NAME) + 4) + NAME + b"live" + SUBACK + PINGRESP, None),
        (b"\x31\x04\x00\x01xy" + SUBACK + PINGRESP, None),
    ],
)
def test_a_retained_message_before_the_confirmation_counts_and_a_live_one_does_not(
    said: bytes, found: bytes | None
) -> None:
    with peer(saying(CONNACK + said)) as broker:
        assert mqtt.read_retained(broker, STATUS, TIMEOUT) == found


def test_what_may_not_be_subscribed_to_is_left_out() -> None:
    other = STATUS.replace(AGENT, OTHER)
    with peer(saying(CONNACK + b"\x90\x04\x00\x01\x80\x00" + PINGRESP)) as broker:
        assert mqtt.read_several(broker, [STATUS, other], TIMEOUT) == {other: None}


@pytest.mark.parametrize(("code", "refused"), [(4, True), (5, True), (3, False)])
def test_a_login_that_is_refused_is_told_from_a_broker_that_is_away(code: int, refused: bool) -> None:
    with peer(saying(b"\x20\x02\x00" + bytes([code]))) as broker, pytest.raises(mqtt.BrokerError) as caught:
        mqtt.read_several(broker, [STATUS], TIMEOUT)
    assert isinstance(caught.value, mqtt.LoginRefused) is refused


def test_clearing_waits_for_the_right_confirmation() -> None:
    with peer(saying(CONNACK + b"\x40\x02\x00\x01")) as broker:
        mqtt.clear_retained(broker, STATUS, TIMEOUT)
    with peer(saying(CONNACK + b"\x40\x02\x00\x02")) as broker, pytest.raises(mqtt.BrokerError, match="MQTT"):
        mqtt.clear_retained(broker, STATUS, TIMEOUT)


# --- what cannot be meant -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtt://broker.example", "broker.example", 1883, False),
        ("mqtts://broker.example", "broker.example", 8883, True),
        ("mqtt://10.0.0.1:1999", "10.0.0.1", 1999, False),
        ("mqtts://[::1]:1", "::1", 1, True),
    ],
)
def test_urls(url: str, host: str, port: int, tls: bool) -> None:
    broker = mqtt.Broker(url, "name", SECRET)
    assert (broker.host, broker.port, broker.tls) == (host, port, tls)
    assert SECRET not in repr(broker)


@pytest.mark.parametrize(
    "url",
    [
        *["", "broker", "http://h", "mqtt://", "mqtt://h:x", "mqtt://h:99999", "mqtt://[::1", "mqtt://a..b"],
        *[
            f"mqtt://user:{SECRET}@h",
            f"mqtt://user:{SECRET}@h:x",
            f"mqtt:/user:{SECRET}@h",
            f"tcp://u:{SECRET}@h",
        ],
    ],
)
def test_other_urls_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(mqtt.BrokerError, match="the broker URL") as caught:
        mqtt.Broker(url)
    assert SECRET not in str(caught.value)


def test_a_password_wants_a_user_name() -> None:
    with pytest.raises(mqtt.BrokerError, match="user name"):
        mqtt.Broker("mqtt://h", password=SECRET)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "x" * 70_000, "\ud800"])
def test_one_topic_and_no_pattern(running: RunningBroker, topic: str) -> None:
    with pytest.raises(mqtt.BrokerError):
        mqtt.clear_retained(as_user(running, AGENT), topic, TIMEOUT)
