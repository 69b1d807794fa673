# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bridges to another broker, and clients with certificates: what is refused, what is in the release, what two Mosquittos do."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
import queue
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.plugin_utils.bridges import Bridge, Link, Topic, read_bridges
from ansible_collections.muster.agents.plugins.plugin_utils.broker import Given, broker_secrets
from ansible_collections.muster.agents.plugins.plugin_utils.certificates import (
    CertificateError,
    Material,
    PrivateCa,
    from_private_ca,
    trusted,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from tests.unit.plugins.ansible_project import AnsibleProject
from tests.unit.plugins.test_broker import WithTls, project, running, workload
from tests.unit.plugins.test_broker import plan as plan_of
from tests.unit.plugins.test_mosquitto import AGENT, PATIENCE, User

__all__ = ["project"]
PASSWORD = "bridge 5ecret ü"
STATUS, TASKS = f"/control/agents/{AGENT}/status", f"/control/agents/{AGENT}/input"


def pki(folder: Path) -> Material:
    return from_private_ca(PrivateCa(folder), "broker-1", ["localhost"])


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return pki(tmp_path / "pki")


# --- as people write them -------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"address": "b.example", "topics": [{"topic": "a/#", "direction": "out"}]}


def found(raw: object) -> tuple[tuple[Bridge, ...], list[str]]:
    problems: list[Diagnostic] = []
    return read_bridges(raw, problems), [str(one) for one in problems]


def test_what_is_left_out_is_safe() -> None:
    bridges, problems = found({"cloud": GOOD})
    assert problems == []
    assert bridges == (Bridge("cloud", "b.example", 8883, (Topic("a/#", "out", 1),), options={}),)
    assert found({"cloud": {**GOOD, "tls": False}})[0][0].port == 1883
    assert found({}) == found(None) == ((), [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adress": "x"}, "mosquitto_bridges.cloud.adress: error MA402: unknown; known are address, .* [(]did you mean address"),
        ({"address": ""}, "cloud.address: error MA403: is missing"),
        ({"address": "mqtts://b.example"}, "cloud.address: .* without a scheme; tls says"),
        ({"address": "b.example:1883"}, "cloud.address: .* write the port as `port`"),
        ({"port": 0}, "cloud.port: .* from 1 to 65535"),
        ({"tls": "yes"}, "cloud.tls: .*true or false"),
        ({"tls": False, "ca": "x.pem"}, "cloud.ca: .* goes with TLS"),
        ({"username": "a b"}, "cloud.username: .*one word"),
        ({"topics": []}, "cloud.topics: .*must be a list such as"),
        ({"topics": [{"topic": "a/#", "direction": "up"}]}, "cloud.topics.0.direction: .*out .*, in .* or both"),
        ({"topics": [{"topic": "a/#/b", "direction": "in"}]}, "cloud.topics.0.topic: .*whole levels"),
        ({"topics": [{"topic": "a b", "direction": "in"}]}, "cloud.topics.0.topic: .*one word"),
        ({"topics": [{**GOOD["topics"][0], "qos": 3}]}, "cloud.topics.0.qos: .*from 0 to 2"),
        ({"topics": [{**GOOD["topics"][0], "remote_prefix": "x/+"}]}, "remote_prefix: .*takes no [+] or #"),
        ({"options": {"keepalive_intervall": 3}}, "options.keepalive_intervall: error MA402: unknown; .*did you mean keep"),
        ({"options": {"remote_password": "x"}}, "options.remote_password: .*into the vault, as broker_bridge_passwords"),
        ({"options": {"bridge_insecure": True}}, "options.bridge_insecure: .*leave it out, set address to a name that"),
        ({"options": {"try_private": "a\nb"}}, "options.try_private: .*one line"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_to_write(change: dict[str, Any], said: str) -> None:
    bridges, problems = found({"cloud": {**GOOD, **change}, "good": GOOD})
    assert [one.name for one in bridges] == ["good"]
    assert len(problems) == 1
    assert re.search(said, problems[0]), problems


def test_a_mistake_stops_the_plan_at_its_line(project: AnsibleProject) -> None:
    project.write(
        {
            "inventory/group_vars/broker/bridges.yml": "mosquitto_bridges:\n  cloud:\n    address: b.example\n    topics:\n"
            "      - topic: a/#\n        direction: up\n"
        }
    )
    done = project.run("ansible-playbook", "-i", "inventory", "plan.yml")
    text = " ".join(done.text.split())
    assert done.status == 2
    assert "bridges.yml:6:9: error MA403: mosquitto_bridges.cloud.topics.0.direction: must be out" in text


@pytest.mark.parametrize(
    ("passwords", "said"),
    [
        (
            None,
            "logs in as site-1, and broker_bridge_passwords.cloud is not defined; put the password into the vault",
        ),
        ({"cloud": "two\nlines"}, "broker_bridge_passwords.cloud holds a line break"),
        ({"cloud": " hidden-5ecret"}, "broker_bridge_passwords.cloud begins or ends with a blank"),
    ],
)
def test_a_password_that_cannot_be_stops_the_plan_and_is_not_shown(
    project: AnsibleProject,
    passwords: dict[str, str] | None,
    said: str,
) -> None:
    given: dict[str, Any] = {"mosquitto_bridges": {"cloud": {**GOOD, "username": "site-1"}}}
    status, text = plan_of(project, **given, **({"broker_bridge_passwords": passwords} if passwords else {}))
    assert status == 2
    assert said in text
    assert "5ecret" not in text


# --- what is in the release -----------------------------------------------------------------------------------


def link(port: int = 8883, password: str = PASSWORD, ca: str = "", **changes: Any) -> Link:
    topics = (
        Topic(STATUS.replace(AGENT, "+"), "out", 1, "", "site-1"),
        Topic("input", "in", 1, f"/control/agents/{AGENT}/", f"site-1/{AGENT}/"),
    )
    return Link(Bridge("cloud", "localhost", port, topics, "site-1", **changes), password, ca)


def test_the_password_is_in_no_release_and_a_new_one_restarts_the_broker(material: Material) -> None:
    def release(password: str) -> tuple[dict[str, Any], dict[str, str]]:
        given = Given(material, links=(link(password=password),))
        return workload(material, given), broker_secrets(given)

    about, secrets = release(PASSWORD)
    whole = json.dumps(about, ensure_ascii=False)
    assert f"remote_password {PASSWORD}\n" in base64.b64decode(secrets["BRIDGES"]).decode()
    assert PASSWORD not in whole
    assert secrets["BRIDGES"] not in whole
    document = manifest.parse(about["manifest"])
    there = {one.path: (one.mode, one.group) for one in document.secret_installs}
    assert there["/etc/mosquitto/conf.d/muster-bridges.conf"] == (0o640, "mosquitto")
    other = release("another")[0]
    differ = {name for name, text in about["files"].items() if other["files"][name] != text}
    assert differ == {"bridges"}
    assert not differ & document.reload


# --- two real Mosquittos --------------------------------------------------------------------------------------


class Remote(WithTls):
    """The other broker: it lets one user in, who may do anything."""

    def __init__(self, folder: Path, material: Material) -> None:
        super().__init__(folder, material)
        salt = b"0123456789ab"
        digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101)
        line = f"site-1:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"
        for name, text in (("muster.passwords", line), ("muster.acl", "user site-1\ntopic readwrite #\n")):
            with (folder / name).open("a") as file:
                file.write(text)


@contextlib.contextmanager
def remote(folder: Path, material: Material) -> Iterator[Remote]:
    folder.mkdir()
    broker = Remote(folder, material)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def until(journal: Any, words: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while words not in journal():
        assert time.monotonic() < deadline, journal()
        time.sleep(0.1)


def test_topics_pass_both_ways_over_tls(material: Material, tmp_path: Path) -> None:
    theirs = pki(tmp_path / "theirs")
    with remote(tmp_path / "remote", theirs) as other:
        given = Given(links=(link(other.tls_port, ca=theirs.ca or ""),))
        with running(tmp_path / "here", material, given) as broker:
            far = User(other, "site-1", PASSWORD)
            far.subscribe(STATUS.join(["site-1", ""]))
            until(other.journal, "site-1")
            near = User(broker, AGENT)
            near.subscribe(TASKS)
            near.publish(STATUS, b"up", retain=True)
            assert far.received.get(timeout=PATIENCE) == (f"site-1{STATUS}", b"up")
            deadline = time.monotonic() + PATIENCE
            heard: tuple[str, bytes] | None = None
            while heard is None and time.monotonic() < deadline:
                far.publish(f"site-1/{AGENT}/input", b"task")
                with contextlib.suppress(queue.Empty):
                    heard = near.received.get(timeout=0.5)
            assert heard == (TASKS, b"task")
            near.leave()
            far.leave()
            assert PASSWORD not in broker.journal()


def test_a_broker_with_another_ca_is_not_given_the_password(material: Material, tmp_path: Path) -> None:
    with remote(tmp_path / "remote", pki(tmp_path / "theirs")) as other:
        given = Given(links=(link(other.tls_port, ca=material.ca or ""),))
        with running(tmp_path / "here", material, given) as broker:
            until(broker.journal, "certificate verify failed")
            assert "site-1" not in other.journal()


# --- clients with certificates --------------------------------------------------------------------------------


def certificate(
    name: str,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    folder: Path,
    days: int = 90,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A CA without an `issuer`, else a client's certificate; both with their keys, also as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made, key


def shows(broker: WithTls, folder: Path, name: str, port: int, ca: str) -> str:
    """How the broker answers a client with this certificate; "" for none."""
    (folder / "server-ca.pem").write_text(ca)
    outcome: queue.Queue[str] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    files = {"certfile": str(folder / f"{name}.pem"), "keyfile": str(folder / f"{name}.key")} if name else {}
    client.tls_set(ca_certs=str(folder / "server-ca.pem"), **files)
    client.on_connect = lambda *about: outcome.put(str(about[3]))
    try:
        client.connect("localhost", port)
        client.loop_start()
        return outcome.get(timeout=2)
    except (queue.Empty, OSError):
        return "refused"
    finally:
        client.loop_stop()


def test_a_client_with_a_certificate_is_the_user_that_it_names(material: Material, tmp_path: Path) -> None:
    ca = certificate("clients", None, tmp_path)
    certificate("demo", ca, tmp_path)
    certificate("stranger", certificate("strangers", None, tmp_path), tmp_path)
    text, warnings = trusted(tmp_path / "clients.pem")
    given = Given(client_ca=text)
    with running(tmp_path / "run", material, given, clients=["demo"], bind_address="localhost") as broker:
        own = material.ca or ""
        assert shows(broker, tmp_path, "demo", broker.client_port, own) == "Success"
        assert shows(broker, tmp_path, "stranger", broker.client_port, own) == "refused"
        assert shows(broker, tmp_path, "", broker.client_port, own) == "refused"
        # Where agents log in, a certificate is none.
        assert shows(broker, tmp_path, "demo", broker.tls_port, own) == "Not authorized"
        assert "as 'demo'" in broker.journal() or "u'demo'" in broker.journal()
    assert warnings == []


def test_a_ca_that_cannot_be_trusted_is_named(tmp_path: Path) -> None:
    ca = certificate("clients", None, tmp_path, days=20)
    certificate("demo", ca, tmp_path)
    certificate("over", None, tmp_path, days=-1)
    for name, said in (
        ("over", r"over\.pem expired on .*; nothing that it signed would be believed"),
        ("demo", r"demo\.pem holds a certificate that is no CA's"),
        ("clients", ""),
        ("none", r"none\.pem cannot be read: No such file"),
    ):
        if said:
            with pytest.raises(CertificateError, match=said):
                trusted(tmp_path / f"{name}.pem")
        else:
            assert "clients.pem expires on" in trusted(tmp_path / f"{name}.pem")[1][0]


def test_certificates_of_clients_need_a_broker_with_tls(project: AnsibleProject) -> None:
    status, text = plan_of(project, mosquitto_tls_client_ca="clients.pem")
    assert status == 2
    assert "mosquitto_tls_client_ca needs a broker with TLS: set mosquitto_tls" in text
