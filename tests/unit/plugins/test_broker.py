# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker as a workload with TLS: what is in its release and what is not, and what a real Mosquitto makes of it."""

from __future__ import annotations

import base64
import contextlib
import getpass
import json
import queue
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest, mqtt, presence
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import probe
from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto
from ansible_collections.muster.agents.plugins.plugin_utils.broker import (
    Given,
    broker_options,
    broker_secrets,
    broker_url,
    broker_workload,
)
from ansible_collections.muster.agents.plugins.plugin_utils.certificates import (
    Material,
    PrivateCa,
    from_private_ca,
)
from tests.unit.plugins.ansible_project import AnsibleProject
from tests.unit.plugins.builders import REPOSITORY, wanted
from tests.unit.plugins.test_mosquitto import (
    AGENT,
    KEY,
    PATIENCE,
    RunningBroker,
    User,
    free_port,
)

DEFAULTS = {
    name.removeprefix("mosquitto_"): value
    for name, value in yaml.safe_load((REPOSITORY / "roles/mosquitto/defaults/main.yml").read_text()).items()
}
TIMEOUT = 5.0
STATUS = f"/control/agents/{AGENT}/status"


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return from_private_ca(PrivateCa(tmp_path / "pki"), "broker-1", ["localhost"])


def workload(material: Material | None, more: Given | None = None, **changes: Any) -> dict[str, Any]:
    given = replace(more or Given(), material=material)
    options = {
        **DEFAULTS,
        "tls": "private_ca" if material else "none",
        "tls_client_ca": "clients.pem" if given.client_ca else "",
        **changes,
    }
    return broker_workload(options, KEY, [AGENT], given)


class WithTls(RunningBroker):
    """A Mosquitto that runs what a workload holds, at free ports and in a folder of its own."""

    def __init__(self, folder: Path, material: Material, more: Given | None = None, **changes: Any) -> None:
        self.folder, self.port, self.tls_port, self.client_port = (
            folder,
            free_port(),
            free_port(),
            free_port(),
        )
        ports = {"port": self.port, "tls_port": self.tls_port, "tls_client_port": self.client_port}
        self.workload = workload(material, more, **{"bind_address": "127.0.0.1", **ports, **changes})
        (folder / "conf.d").mkdir(exist_ok=True)
        self.install(self.workload, replace(more or Given(), material=material))
        (folder / "mosquitto.conf").write_text(
            f"pid_file {folder}/pid\npersistence_location {folder}/\nuser {getpass.getuser()}\n"
            f"include_dir {folder}/conf.d\n"
        )

    def install(self, about: dict[str, Any], given: Given) -> None:
        for path, entry in about["manifest"]["install"].items():
            self._write(path, about["files"][entry["file"]])
        for path, entry in about["manifest"]["secret_files"].items():
            self._write(path, base64.b64decode(broker_secrets(given)[entry["secret"]]).decode())

    def _write(self, path: str, text: str) -> None:
        if not path.startswith("/etc/mosquitto/"):
            return  # systemd's, which does not run it here
        file = self.folder / path.removeprefix("/etc/mosquitto/")
        file.write_text(text.replace("/etc/mosquitto/", f"{self.folder}/"))
        file.chmod(0o600)


@contextlib.contextmanager
def running(folder: Path, material: Material, more: Given | None = None, **changes: Any) -> Iterator[WithTls]:
    folder.mkdir(exist_ok=True)
    broker = WithTls(folder, material, more, **changes)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def gate(given: dict[str, Any]) -> str:
    return probe(manifest.parse(given["manifest"]).gate)


def test_the_key_is_in_no_release(material: Material) -> None:
    given = workload(material)
    whole = json.dumps(given)
    secret = broker_secrets(Given(material))["TLS_KEY"]
    assert base64.b64decode(secret) == material.key
    assert "PRIVATE KEY" not in whole
    assert secret not in whole
    assert manifest.parse(given["manifest"]).secret_installs[0].mode == 0o640


def test_without_tls_a_release_is_what_it_was(material: Material) -> None:
    given = workload(None)
    assert "secrets" not in given["manifest"]
    assert "tls" not in given["manifest"]["gate"]
    assert sorted(given["files"]) == ["acl", "conf", "hardening", "passwords"]
    assert broker_secrets(Given()) == {}


def listeners(given: dict[str, Any]) -> list[str]:
    return [line for line in given["files"]["conf"].splitlines() if line.startswith("listener")]


def test_with_tls_the_plain_listener_stays_on_loopback_or_goes(material: Material) -> None:
    assert listeners(workload(None)) == ["listener 1883 0.0.0.0"]
    assert listeners(workload(material)) == ["listener 8883 0.0.0.0", "listener 1883 127.0.0.1"]
    assert listeners(workload(material, plain_address="")) == ["listener 8883 0.0.0.0"]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "mqtt://b:1883"),
        ({"ansible_host": "10.0.0.1", "mosquitto_port": 1999}, "mqtt://10.0.0.1:1999"),
        ({"mosquitto_tls": "none"}, "mqtt://b:1883"),
        ({"mosquitto_tls": "private_ca", "mosquitto_address": "broker"}, "mqtts://broker:8883"),
        ({"mosquitto_tls": "files", "mosquitto_tls_port": 8884}, "mqtts://b:8884"),
    ],
)
def test_the_url_that_agents_get(variables: dict[str, Any], url: str) -> None:
    assert broker_url({"inventory_hostname": "b", **variables}) == url


# --- a real Mosquitto -----------------------------------------------------------------------------------------


def test_the_engine_speaks_to_it_where_it_has_the_ca_and_the_name(material: Material, tmp_path: Path) -> None:
    stranger = from_private_ca(PrivateCa(tmp_path / "other"), "broker-1", ["localhost"]).ca
    with running(tmp_path / "run", material) as broker:

        def read(host: str, ca: str | None) -> bytes | None:
            url, password = f"mqtts://{host}:{broker.tls_port}", mosquitto.derive_password(KEY, AGENT)
            return mqtt.read_retained(mqtt.Broker(url, AGENT, password, ca), STATUS, TIMEOUT)

        assert read("localhost", material.ca) is None
        for host, ca, words in (
            ("localhost", stranger, "unable to get local issuer"),
            ("localhost", None, "unable to get local issuer"),
            ("127.0.0.1", material.ca, "IP address mismatch"),
        ):
            with pytest.raises(mqtt.BrokerError, match=f"certificate that is not trusted: .*{words}"):
                read(host, ca)


def test_a_health_check_asks_it_with_the_ca_of_the_agents_release(material: Material, tmp_path: Path) -> None:
    with running(tmp_path / "run", material) as broker:
        agent = User(broker, AGENT)
        agent.publish(STATUS, b'{"status": "unavailable"}', retain=True)
        agent.leave()

        def ask(**about: str | None) -> presence.Status:
            url = f"mqtts://localhost:{broker.tls_port}"
            about = {"url": url, "status_topic": STATUS, "username": AGENT, "password_env": "P", **about}
            secrets = {"P": mosquitto.derive_password(KEY, AGENT)}
            answer = presence.ask({"writer": (wanted(mqtt=about).manifest, secrets)}, TIMEOUT)
            assert answer.unknown == {}
            return answer.said["writer"]

        assert (
            ask(ca=material.ca).complaint == "its process is up, and the broker says that it is unavailable"
        )
        with pytest.raises(mqtt.NotTrusted, match="certificate that is not trusted"):
            ask()


def test_an_agent_that_has_the_old_ca_does_not_make_a_health_check_call_the_broker_away(
    material: Material, tmp_path: Path
) -> None:
    old = from_private_ca(PrivateCa(tmp_path / "old"), "broker-1", ["localhost"]).ca
    secrets = {"P": mosquitto.derive_password(KEY, AGENT)}
    with running(tmp_path / "run", material) as broker:
        agent = User(broker, AGENT)
        agent.publish(STATUS, b'{"status": "available"}', retain=True)
        agent.leave()
        url = f"mqtts://localhost:{broker.tls_port}"
        about = {"url": url, "status_topic": STATUS, "username": AGENT, "password_env": "P"}
        agents = {
            name: (wanted(mqtt={**about, "ca": ca, "status_topic": topic}).manifest, secrets)
            for name, ca, topic in (
                ("before", old, STATUS.replace(AGENT, "before")),
                ("after", material.ca, STATUS),
            )
        }
        answer = presence.ask(agents, TIMEOUT)
    assert answer.said["after"].complaint == ""
    assert "certificate that is not trusted" in answer.unknown["before"]


def test_the_gate_wants_the_certificate_of_the_release_and_a_reload_brings_a_renewed_one(
    material: Material, tmp_path: Path
) -> None:
    ca = PrivateCa(tmp_path / "pki", days=30)
    with running(tmp_path / "run", material) as broker:
        assert gate(broker.workload) == ""
        renewed = from_private_ca(ca, "broker-1", ["localhost"])
        ports = {"port": broker.port, "tls_port": broker.tls_port, "bind_address": "127.0.0.1"}
        after = workload(renewed, **ports)
        assert gate(after) == f"port {broker.tls_port} shows another certificate than the release has"
        broker.install(after, Given(renewed))
        broker.reload()
        deadline = time.monotonic() + PATIENCE
        while gate(after) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gate(after) == ""
        assert broker.process.poll() is None


def test_a_port_that_speaks_no_tls_does_not_pass_the_gate(material: Material, tmp_path: Path) -> None:
    with running(tmp_path / "run", material) as broker:
        plain = workload(material, tls_port=broker.port, bind_address="127.0.0.1")
        assert gate(plain).startswith(f"port {broker.port}: ")


# --- limits ---------------------------------------------------------------------------------------------------

INBOX = f"/control/agents/{AGENT}/input"


def test_a_listener_takes_no_more_clients_than_it_may(material: Material, tmp_path: Path) -> None:
    """Mosquitto counts who left before it said its name, as a probe does, as one less: so one more may come here."""
    with (
        running(tmp_path / "run", material, max_connections=2) as broker,
        contextlib.ExitStack() as connected,
    ):
        password = mosquitto.derive_password(KEY, AGENT)
        outcomes = []
        for _client in range(6):
            try:
                connected.enter_context(
                    mqtt._Connection(mqtt.Broker(f"mqtt://127.0.0.1:{broker.port}", AGENT, password), TIMEOUT)
                )
                outcomes.append("connected")
            except mqtt.BrokerError as error:
                outcomes.append(str(error))
    assert outcomes[:2] == ["connected", "connected"]
    assert all("closed the connection" in one or "not reachable" in one for one in outcomes[3:])


@pytest.mark.parametrize(
    "limit", [{"max_queued_messages": 3}, {"max_queued_bytes": 250, "max_queued_messages": 0}]
)
def test_for_an_agent_that_is_away_no_more_waits_than_may(
    material: Material, tmp_path: Path, limit: dict[str, int]
) -> None:
    with running(tmp_path / "run", material, max_inflight_messages=1, **limit) as broker:
        agent = User(broker, AGENT, keep=AGENT)
        agent.subscribe(INBOX)
        agent.leave()
        other = User(broker, AGENT)
        for number in range(9):
            other.publish(INBOX, b"%d" % number * 60)
        agent = User(broker, AGENT, keep=AGENT)
        received = []
        with contextlib.suppress(queue.Empty):
            while True:
                received.append(agent.received.get(timeout=1)[1])
        agent.leave()
        other.leave()
    assert received[0] == b"0" * 60
    assert 1 < len(received) <= 6


def test_a_limit_of_0_is_none_and_one_below_is_refused(material: Material, tmp_path: Path) -> None:
    with running(tmp_path / "run", material, **dict.fromkeys(mosquitto.LIMITS, 0)) as broker:
        user = User(broker, AGENT)
        user.leave()
    assert user.outcome == "Success"
    with pytest.raises(ValueError, match="mosquitto_max_connections is -1; it must be 0, which is no limit"):
        workload(material, max_connections=-1)
    with pytest.raises(ValueError, match="mosquitto_autosave_interval is -5; it must be 0, which is only at"):
        workload(material, autosave_interval=-5)


def test_what_a_crash_may_cost_is_configurable(material: Material, tmp_path: Path) -> None:
    """Killed, the broker has what it had saved."""
    for interval, kept in ((1, True), (3600, False)):
        saved = tmp_path / str(interval) / "mosquitto.db"
        with running(saved.parent, material, autosave_interval=interval) as broker:
            agent = User(broker, AGENT)
            agent.publish(STATUS, b"{}", retain=True)
            agent.leave()
            deadline = time.monotonic() + 3
            while not saved.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            broker.process.kill()
            broker.process.wait()
        assert saved.exists() == kept


# --- before any host is touched -------------------------------------------------------------------------------

FLEET = """
fleet: {writer: {}}
agent_secrets: {OPENAI_API_KEY: x, SERPER_API_KEY: x}
fleet_credentials_key: 0123456789abcdef0123
"""
HOSTS = """
all:
  children:
    agents: {hosts: {h1: {}}}
    broker: {hosts: {b1: {mosquitto_address: broker.example}}}
"""
PLAN = "[{import_playbook: %s}]" % (REPOSITORY / "playbooks/plan.yml")


@pytest.fixture
def project(tmp_path: Path) -> AnsibleProject:
    made = AnsibleProject(tmp_path / "project")
    made.folder.mkdir()
    made.with_agents("writer")
    made.write({"inventory/hosts.yml": HOSTS, "inventory/group_vars/all/fleet.yml": FLEET, "plan.yml": PLAN})
    return made


def plan(project: AnsibleProject, *arguments: str, **variables: Any) -> tuple[int, str]:
    project.write({"inventory/group_vars/broker.yml": json.dumps(variables)})
    done = project.run("ansible-playbook", "-i", "inventory", "plan.yml", *arguments)
    return done.status, " ".join(done.text.split())


def test_a_plan_makes_the_private_ca_beside_the_inventory_and_only_once(project: AnsibleProject) -> None:
    given = {"mosquitto_tls": "private_ca", "broker_ca_passphrase": "hidden-5ecret"}
    folder = project.folder / "inventory/.pki"
    status, text = plan(project, "--check", **given)
    assert (status, folder.exists()) == (0, False), text
    status, text = plan(project, "-vvvv", **given)
    assert status == 0, text
    assert "5ecret" not in text
    assert "PRIVATE KEY" not in text
    assert "there was no CA in inventory/.pki, so a new one is made: keep a copy." in text.replace(
        f"{project.folder}/", ""
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["broker-b1-key.pem", "broker-b1.pem", "ca-key.pem", "ca.pem"]
    assert b"ENCRYPTED" in before["ca-key.pem"]
    status, text = plan(project, **given)
    assert (status, "there was no CA" in text) == (0, False), text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_certificate_for_another_host_stops_the_plan(project: AnsibleProject) -> None:
    own = from_private_ca(PrivateCa(project.folder / "theirs"), "own", ["other.example"])
    project.write({"certificates/own.pem": own.certificate})
    given = {"mosquitto_tls": "files", "mosquitto_tls_certificate": "../certificates/own.pem"}
    status, text = plan(project, **given, broker_tls_key=own.key.decode())
    assert status == 2
    assert "1 error found before any host was touched" in text
    assert "b1.mosquitto_tls: error MA430: " in text
    assert "own.pem is for other.example, and agents reach the broker as broker.example" in text
    assert "PRIVATE KEY" not in text


EXTERNAL = "mqtt_broker_url: mqtts://theirs.example:8883\nmqtt_broker_ca: ../theirs.pem\n"


def test_a_mistake_in_the_ca_of_an_external_broker_is_told_at_its_line(project: AnsibleProject) -> None:
    theirs = from_private_ca(PrivateCa(project.folder / "theirs"), "theirs", ["theirs.example"])
    login = FLEET.replace("agent_secrets: {", "agent_secrets: {MQTT_USERNAME: u, MQTT_PASSWORD: p, ")
    project.write({"theirs.pem": theirs.ca or "", "leaf.pem": theirs.certificate})
    validate = str(REPOSITORY / "playbooks/validate.yml")
    for external, said in (
        (EXTERNAL, ""),
        (EXTERNAL.replace("theirs.pem", "none.pem"), "none.pem cannot be read: No such file"),
        (EXTERNAL.replace("theirs.pem", "leaf.pem"), "leaf.pem holds a certificate that is no CA's"),
        (
            EXTERNAL.replace("mqtts", "mqtt"),
            "mqtt_broker_url is mqtt://theirs.example:8883, over which nothing is",
        ),
        (
            EXTERNAL.split("\n", 1)[1],
            "belongs to mqtt_broker_url; for the broker group there are mosquitto_tls",
        ),
    ):
        project.write({"inventory/group_vars/all/fleet.yml": login + external})
        done = project.run("ansible-playbook", "-i", "inventory", validate)
        text = " ".join(done.text.split())
        assert (done.status, said in text) == (2 if said else 0, True), text
        assert not said or "MA430: mqtt_broker_ca: " in text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"mosquitto_tls": "yes please"},
            "mosquitto_tls is 'yes please'; it must be one of none, files, private_ca",
        ),
        ({"mosquitto_tls": "files"}, "with mosquitto_tls: files, mosquitto_tls_certificate names a file"),
        (
            {"mosquitto_tls": "files", "mosquitto_tls_certificate": "x.txt"},
            "mosquitto_tls_key names a file, or broker_tls_key in the vault",
        ),
        (
            {"mosquitto_tls": "private_ca", "mosquitto_tls_days": 1},
            "mosquitto_tls_days is 1; it must be from 7 to 730",
        ),
    ],
)
def test_options_that_cannot_be_meant(project: AnsibleProject, variables: dict[str, Any], said: str) -> None:
    status, text = plan(project, **variables)
    assert status == 2
    assert said in text


class Asking:
    """As much of an action plugin as options need."""

    class _templar:  # noqa: N801 - Ansible's name
        template = staticmethod(lambda value: value)


def test_text_from_an_ini_inventory_means_what_it_says() -> None:
    given = {"mosquitto_persistence": "false", "mosquitto_port": "1884", "mosquitto_extra": "log_type all"}
    options = broker_options(Asking(), {**given, "mosquitto_tls_days": None})  # type: ignore[arg-type]
    assert (options["persistence"], options["port"], options["extra"]) == (False, 1884, ["log_type all"])
    assert options["tls_days"] == 365


def test_what_cannot_be_an_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"mosquitto_\*: argument 'port' is of type .*str.*int"):
        broker_options(Asking(), {"mosquitto_port": "18x"})  # type: ignore[arg-type]
