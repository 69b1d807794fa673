# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker's files, read by a real Mosquitto that starts the way Debian starts it."""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import os
import queue
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto

KEY = "fleet key ü"
AGENT, OTHER = "team.research_er-1", "writer"
CLIENT = "demo"
OBSERVER = "observer"
PATIENCE = 10.0


def mosquitto_command() -> tuple[list[str], dict[str, str]]:
    """The broker's program and environment."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        reason = "mosquitto is not installed"
        if os.environ.get("MUSTER_REQUIRE_MOSQUITTO") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return [program], dict(os.environ)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningBroker:
    """A Mosquitto with a configuration laid out as on Debian, ours in its conf.d."""

    def __init__(self, folder: Path, extra: tuple[str, ...]) -> None:
        self.folder = folder
        self.port = free_port()
        listener = mosquitto.Listener(self.port, "127.0.0.1")
        settings = mosquitto.BrokerSettings(listeners=(listener,), extra=extra)
        self.paths = mosquitto.BrokerPaths(str(folder / "passwords"), str(folder / "acl"))
        (folder / "conf.d").mkdir()
        (folder / "mosquitto.conf").write_text(
            f"pid_file {folder}/mosquitto.pid\n"
            f"persistence true\n"
            f"persistence_location {folder}/\n"
            f"log_dest file {folder}/mosquitto.log\n"
            f"include_dir {folder}/conf.d\n"
            f"user {getpass.getuser()}\n"  # it would give up root, and with it this folder
        )
        (folder / "conf.d" / "muster.conf").write_text(mosquitto.render_conf(settings, self.paths))
        self.write_users([AGENT, OTHER])

    def write_users(self, agents: list[str]) -> None:
        passwords = Path(self.paths.passwords)
        passwords.write_text(mosquitto.render_passwords(KEY, [*agents, CLIENT, OBSERVER]))
        passwords.chmod(0o600)
        acl = Path(self.paths.acl)
        acl.write_text(mosquitto.render_acl(agents, [CLIENT]) + f"\nuser {OBSERVER}\ntopic readwrite #\n")
        acl.chmod(0o600)

    def start(self) -> None:
        command, environment = mosquitto_command()
        with (self.folder / "stderr").open("a") as journal:
            self.process = subprocess.Popen(
                [*command, "-c", str(self.folder / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                env=environment,
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"mosquitto did not start: {self.journal()}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def journal(self) -> str:
        return (self.folder / "stderr").read_text()


@contextmanager
def running_broker(folder: Path, extra: tuple[str, ...] = ()) -> Iterator[RunningBroker]:
    broker = RunningBroker(folder, extra)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class User:
    """A connected MQTT client; what it receives waits in `received` as (topic, payload)."""

    def __init__(
        self, broker: RunningBroker, name: str | None, password: str | None = None, *, keep: str = ""
    ) -> None:
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._events: queue.Queue[tuple[str, str]] = queue.Queue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=keep, clean_session=not keep)
        if name is not None:
            self.client.username_pw_set(name, password or mosquitto.derive_password(KEY, name))
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.outcome = self._events.get(timeout=PATIENCE)[1]

    def _connected(
        self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: Properties | None
    ) -> None:
        self._events.put(("connected", str(code)))

    def _subscribed(
        self,
        _client: paho.Client,
        _data: object,
        _id: int,
        _codes: list[ReasonCode],
        _more: Properties | None,
    ) -> None:
        self._events.put(("subscribed", ""))

    def _message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.received.put((message.topic, bytes(message.payload)))

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        self._events.get(timeout=PATIENCE)

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE)

    def topics_until(self, last: str) -> set[str]:
        """The topics received before the message on `last`: what is missing there was never delivered."""
        topics: set[str] = set()
        while True:
            topic, _payload = self.received.get(timeout=PATIENCE)
            if topic == last:
                return topics
            topics.add(topic)

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


# --- who may connect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [AGENT, OTHER, CLIENT])
def test_a_user_connects_with_the_derived_password(broker: RunningBroker, name: str) -> None:
    user = User(broker, name)
    user.leave()
    assert user.outcome == "Success"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (AGENT, "wrong"),
        (AGENT, mosquitto.derive_password(KEY, OTHER)),
        (AGENT, mosquitto.derive_password("another key", AGENT)),
        ("nobody", None),
        (None, None),
    ],
)
def test_others_are_refused(broker: RunningBroker, name: str | None, password: str | None) -> None:
    user = User(broker, name, password)
    user.leave()
    assert user.outcome == "Not authorized"


# --- who may do what ----------------------------------------------------------------------------------------

TOPICS = [
    f"/control/agents/{AGENT}/status",
    f"/control/agents/{OTHER}/status",
    f"/control/agents/{AGENT}/input",
    f"/control/agents/{OTHER}/input",
    f"/control/agents/{AGENT}/other",
    f"/control/agents/{AGENT}",
    f"/conversations/c-1/{AGENT}",
    f"/conversations/c-1/{OTHER}",
    f"/conversations/{AGENT}",
    f"/conversations/c-1/{AGENT}/more",
    f"control/agents/{AGENT}/status",
    "elsewhere",
]
WRITES = {
    AGENT: {TOPICS[0], TOPICS[2], TOPICS[3], TOPICS[6]},
    CLIENT: {TOPICS[2], TOPICS[3]},
}
READS = {
    AGENT: {TOPICS[0], TOPICS[1], TOPICS[2]},
    CLIENT: {TOPICS[0], TOPICS[1], TOPICS[6], TOPICS[7], TOPICS[8], TOPICS[9]},
}


@pytest.mark.parametrize("name", [AGENT, CLIENT])
def test_what_a_user_publishes_arrives_where_the_acl_allows_it(broker: RunningBroker, name: str) -> None:
    observer, user = User(broker, OBSERVER), User(broker, name)
    observer.subscribe("#")
    for topic in TOPICS:
        user.publish(topic)
    observer.publish("end")
    arrived = observer.topics_until("end")
    user.leave()
    observer.leave()
    assert arrived == WRITES[name]


@pytest.mark.parametrize("name", [AGENT, CLIENT])
def test_a_user_receives_what_the_acl_allows(broker: RunningBroker, name: str) -> None:
    observer, user = User(broker, OBSERVER), User(broker, name)
    user.subscribe("#")
    end = "/control/agents/end/status"
    for topic in [*TOPICS, end]:
        observer.publish(topic)
    received = user.topics_until(end)
    user.leave()
    observer.leave()
    assert received == READS[name]


# --- what the settings are for ------------------------------------------------------------------------------


def test_tasks_for_an_agent_that_is_away_survive_a_restart_of_the_broker(tmp_path: Path) -> None:
    tasks = [str(number).encode() for number in range(300)]
    inbox = f"/control/agents/{AGENT}/input"
    with running_broker(tmp_path) as broker:
        agent = User(broker, AGENT, keep=AGENT)
        agent.subscribe(inbox)
        agent.leave()
        client = User(broker, CLIENT)
        for task in tasks:
            client.publish(inbox, task)
        client.leave()
        broker.stop()
        broker.start()
        agent = User(broker, AGENT, keep=AGENT)
        received = [agent.received.get(timeout=PATIENCE) for _task in tasks]
        agent.leave()
    assert received == [(inbox, task) for task in tasks]


def test_a_message_of_256_kib_passes_and_one_of_a_megabyte_does_not(broker: RunningBroker) -> None:
    observer, client = User(broker, OBSERVER), User(broker, CLIENT)
    observer.subscribe("/control/#")
    inbox = f"/control/agents/{AGENT}/input"
    client.publish(inbox, b"x" * 256 * 1024)
    assert len(observer.received.get(timeout=PATIENCE)[1]) == 256 * 1024
    client.client.publish(inbox, b"x" * 1024 * 1024, qos=0)
    deadline = time.monotonic() + PATIENCE
    while client.client.is_connected() and time.monotonic() < deadline:
        time.sleep(0.02)
    client.leave()
    observer.publish("/control/end")
    assert observer.topics_until("/control/end") == set()
    observer.leave()


def test_a_new_user_needs_just_a_reload(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        before = User(broker, "new")
        staying = User(broker, AGENT)
        broker.write_users([AGENT, OTHER, "new"])
        broker.reload()
        deadline = time.monotonic() + PATIENCE
        outcome = ""
        while outcome != "Success" and time.monotonic() < deadline:
            user = User(broker, "new")
            outcome = user.outcome
            user.leave()
        still_there = staying.client.is_connected()
        before.leave()
        staying.leave()
    assert (before.outcome, outcome, still_there) == ("Not authorized", "Success", True)


def test_the_log_goes_to_the_journal_and_holds_no_secret(broker: RunningBroker) -> None:
    User(broker, AGENT).leave()
    assert "running" in broker.journal()
    assert mosquitto.derive_password(KEY, AGENT) not in broker.journal()


# --- the texts ----------------------------------------------------------------------------------------------


def test_the_password_is_the_documented_derivation() -> None:
    digest = hmac.new(b"key", b"mqtt:writer", hashlib.sha256).digest()
    expected = base64.b64encode(digest).decode().replace("+", "-").replace("/", "_")[:32]
    assert mosquitto.derive_password("key", "writer") == expected
    assert len({mosquitto.derive_password(key, name) for key in "ab" for name in "cd"}) == 4


def test_password_lines_have_the_form_of_mosquitto_passwd() -> None:
    line = mosquitto.password_line(KEY, AGENT)
    name, algorithm, iterations, salt, digest = line.replace(":", "$", 1).replace("$$", "$").split("$")
    assert (name, algorithm, iterations) == (AGENT, "7", "101")
    assert (len(base64.b64decode(salt)), len(base64.b64decode(digest))) == (12, 64)
    assert salt not in mosquitto.password_line(KEY, OTHER)


def test_rendering_again_gives_the_same_bytes_in_any_order() -> None:
    assert mosquitto.render_passwords(KEY, ["b", "a"]) == mosquitto.render_passwords(KEY, ["a", "b", "a"])
    assert mosquitto.render_acl(["b", "a"], ["d", "c"]) == mosquitto.render_acl(["a", "b"], ["c", "d"])


def test_two_hundred_users_are_quick() -> None:
    start = time.process_time()
    text = mosquitto.render_passwords(KEY, [f"agent-{number}" for number in range(200)])
    assert len(text.splitlines()) == 200
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a b", "a\n", "a\nuser x", "a:b", "ü", "%u"])
def test_names_that_would_widen_an_acl_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a broker user"):
        mosquitto.render_acl([name], [])
    with pytest.raises(ValueError, match="cannot be a broker user"):
        mosquitto.render_acl([], [name])
    with pytest.raises(ValueError, match="cannot be a broker user"):
        mosquitto.render_passwords(KEY, [name])


def test_one_name_for_agent_and_client_is_refused() -> None:
    with pytest.raises(ValueError, match="both an agent and a client"):
        mosquitto.render_acl(["x"], ["x"])


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        mosquitto.derive_password("", "x")


@pytest.mark.parametrize(
    ("port", "address"), [(0, None), (65536, None), (1883, ""), (1883, "::1\nallow_anonymous true")]
)
def test_a_listener_that_cannot_be_is_refused(port: int, address: str | None) -> None:
    with pytest.raises(ValueError, match="broker"):
        mosquitto.Listener(port, address)


def test_the_default_listener_and_further_lines() -> None:
    paths = mosquitto.BrokerPaths("/p", "/a")
    lines = mosquitto.render_conf(mosquitto.BrokerSettings(extra=("max_keepalive 60",)), paths).splitlines()
    assert lines[-3:] == ["listener 1883", "max_connections 1000", "max_keepalive 60"]
    assert {"allow_anonymous false", "password_file /p", "acl_file /a"} <= set(lines)
    local = mosquitto.BrokerSettings(listeners=(mosquitto.Listener(1, "::1"),), persistence=False)
    assert {"listener 1 ::1", "persistence false"} <= set(mosquitto.render_conf(local, paths).splitlines())


def test_an_answer_is_not_held_back_behind_the_acknowledgement_of_its_task(broker: RunningBroker) -> None:
    agent, client = User(broker, AGENT), User(broker, CLIENT)
    task, answer = f"/control/agents/{AGENT}/input", f"/conversations/c-1/{AGENT}"
    agent.subscribe(task)
    client.subscribe(answer)
    for user in (agent, client):  # they do not wait either, so what is measured is the broker
        user.client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = []
    for _ in range(21):
        began = time.monotonic()
        client.publish(task)
        agent.received.get(timeout=PATIENCE)
        agent.publish(answer)
        client.received.get(timeout=PATIENCE)
        seconds.append(time.monotonic() - began)
    agent.leave()
    client.leave()
    assert statistics.median(seconds) < 0.03


def test_a_login_that_a_reload_took_and_another_gave_back_stays_connected(tmp_path: Path) -> None:
    """An agent that is given another id and then its old one again comes back to its old session."""
    with running_broker(tmp_path) as broker:
        User(broker, AGENT, keep=AGENT).leave()
        for agents in ([OTHER], [AGENT, OTHER]):
            broker.write_users(agents)
            broker.reload()
            time.sleep(0.5)
        again = User(broker, AGENT, keep=AGENT)
        time.sleep(2.5)
        connected = again.client.is_connected()
        again.leave()
    assert (again.outcome, connected) == ("Success", True)
    assert "Expiring client" not in broker.journal()
