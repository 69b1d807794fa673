# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A broker with TLS, a bridge and clients with certificates, seen by Debian's own clients and a second Mosquitto; what restarts
it and what only reloads it. The tests run in their order."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fleet
import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.certificates import PrivateCa, from_private_ca
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import derive_password, password_line
from demo.ask import new_task
from demo.vault import derived_password

CA_ON_HOST = "/root/ca.pem"
UNIT = "mosquitto.service"
# Another broker, on the same host, with a CA of its own; it lets one user in, who may do anything.
OTHER, OTHER_CA, SITE = "/root/other", "/root/other/ca.pem", "site-1"
OTHER_KEY = "canary-other-key"
OTHER_CONF = f"""user root
listener 18883
allow_anonymous false
password_file {OTHER}/passwords
certfile {OTHER}/certificate.pem
keyfile {OTHER}/key.pem
"""
BRIDGE = {
    "address": "broker-1",
    "port": 18883,
    "username": SITE,
    "topics": [
        {"topic": "/control/agents/+/input", "direction": "in", "remote_prefix": SITE},
        {"topic": "/conversations/#", "direction": "out", "remote_prefix": SITE},
    ],
}
# As docs/broker.md has it.
CLIENT_CERTIFICATE = """cd /root
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=clients -keyout clients.key -out clients.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=tester -keyout tester.key -out tester.csr
openssl x509 -req -in tester.csr -days 30 -CA clients.pem -CAkey clients.key -CAcreateserial -out tester.pem
"""


@dataclass
class Secure:
    """The fleet once its broker has TLS. `given` are the variables that every deploy needs now."""

    given: dict[str, Any]
    folder: Path

    def play(self, *arguments: str, **more: Any) -> fleet.Outcome:
        return fleet.play("deploy.yml", fleet.variables(self.folder, **self.given, **more), *arguments)

    def deploy(self, **more: Any) -> fleet.Outcome:
        outcome = self.play(**more)
        assert outcome.code == 0, outcome.output
        return outcome


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("tls")
    pki, theirs, clients = folder / "pki", folder / "other", folder / "clients.pem"
    start_another_broker(theirs)
    on_broker(f"{{ {CLIENT_CERTIFICATE} }} 2>&1")
    clients.write_text(on_broker("cat /root/clients.pem"))
    given = {
        "mosquitto_tls": "private_ca",
        "mosquitto_tls_folder": str(pki),
        "broker_ca_passphrase": "canary-passphrase",
        "mosquitto_tls_client_ca": str(clients),
        "mosquitto_bridges": {"other": {**BRIDGE, "ca": str(theirs / "ca.pem")}},
        "broker_bridge_passwords": {"other": derive_password(OTHER_KEY, SITE)},
    }
    made = Secure(given, folder)
    try:
        made.deploy()
        on_broker("apt-get -qq install -y --no-install-recommends mosquitto-clients >/dev/null")
        put(CA_ON_HOST, (pki / "ca.pem").read_bytes())
        yield made
    finally:
        on_broker("systemctl stop other-broker")
        fleet.deploy()


def start_another_broker(pki: Path) -> None:
    shown = from_private_ca(PrivateCa(pki), "other", ["broker-1"])
    on_broker(f"install -d -m 0700 {OTHER}")
    for name, text in (
        ("ca.pem", shown.ca or ""),
        ("certificate.pem", shown.certificate),
        ("key.pem", shown.key.decode()),
        ("passwords", f"{password_line(OTHER_KEY, SITE)}\n"),
        ("conf", OTHER_CONF),
    ):
        put(f"{OTHER}/{name}", text.encode())
    on_broker(
        f"chmod 0600 {OTHER}/*; systemd-run --quiet --unit=other-broker /usr/sbin/mosquitto -c {OTHER}/conf"
    )


def on_broker(command: str) -> str:
    return str(fleet.machine("broker-1").check_output(command))


def put(path: str, data: bytes) -> None:
    on_broker(f"echo {base64.b64encode(data).decode()} | base64 -d > {path}")


def client(
    program: str,
    words: str,
    user: str = "tester",
    password: str = "",
    ca: str = CA_ON_HOST,
    host: str = "broker-1",
) -> tuple[int, str]:
    """Exit status and all output of one of Debian's clients; no user stands for nobody."""
    login = f"-u {user} -P {password or derived_password(fleet.CREDENTIALS_KEY, user)}" if user else ""
    trust = f"--cafile {ca}" if ca else "--capath /etc/ssl/certs"
    return run_client(f"{program} -h {host} -p 8883 {trust} {login} {words}")


def run_client(command: str) -> tuple[int, str]:
    done = fleet.machine("broker-1").run(f"timeout 30 {command} 2>&1")
    return done.rc, done.stdout


def received(user: str, topic: str, sent: str) -> str:
    """What a user gets on a topic while `tester` or somebody else publishes `sent` (a command) there."""
    return client("mosquitto_sub", f"-q 1 -W 3 -v -t '{topic}' & sleep 1; {sent}; wait", user)[1]


def publish(user: str, topic: str, text: str) -> str:
    password = derived_password(fleet.CREDENTIALS_KEY, user)
    return f"mosquitto_pub -h broker-1 -p 8883 --cafile {CA_ON_HOST} -u {user} -P {password} -q 1 -t '{topic}' -m '{text}'"


def test_an_agent_answers_over_tls_and_trusts_its_host_and_the_broker(secure: Secure) -> None:
    researcher = fleet.agents()["researcher"]
    task = new_task(researcher.agent_id, "Who are you?")
    put("/root/task.json", json.dumps(task.envelope()).encode())
    send = publish("tester", task.topic, "").replace("-m ''", "-f /root/task.json")
    code, answer = client(
        "mosquitto_sub", f"-q 1 -C 1 -W 20 -t '{task.answer_topic}' & sleep 1; {send}; wait"
    )
    assert json.loads(answer)["task_id"] == task.task_id, (code, answer)
    trusted = researcher.machine.file("/run/muster-trust/researcher.pem").content_string
    authorities = researcher.machine.file("/etc/ssl/certs/ca-certificates.crt").content_string
    assert trusted == authorities + (secure.folder / "pki/ca.pem").read_text()


def test_strangers_are_refused(secure: Secure) -> None:
    assert client("mosquitto_sub", "-W 2 -t x", user="")[1].count("not authorised") == 1
    assert client("mosquitto_sub", "-W 2 -t x", password="wrong")[1].count("not authorised") == 1


def test_a_client_refuses_a_broker_without_our_ca_or_under_another_name(secure: Secure) -> None:
    address = on_broker("hostname -I").split()[0]
    for ca, host in ((OTHER_CA, "broker-1"), ("", "broker-1"), (CA_ON_HOST, address)):
        code, said = client("mosquitto_pub", "-t x -m x", ca=ca, host=host)
        assert code != 0, (ca, host)
        assert "TLS" in said or "certificate" in said or "verif" in said, said
    assert client("mosquitto_pub", "-t x -m x")[0] == 0


def test_an_agent_cannot_read_anothers_input_nor_speak_for_it(secure: Secure) -> None:
    agents = fleet.agents()
    own, other = agents["researcher"].agent_id, agents["writer-agent-1"].agent_id
    status, inbox = f"/control/agents/{other}/status", f"/control/agents/{other}/input"
    heard = received(own, f"{inbox}' -t '{status}", publish("tester", inbox, "not-for-you"))
    assert "available" in heard
    assert "not-for-you" not in heard
    forged = received("tester", status, f"{publish(own, status, 'forged')}; {publish(own, status, 'forged')}")
    assert "available" in forged
    assert "forged" not in forged
    # The way is open for what it may do.
    answers = f"/conversations/c-1/{own}"
    assert f"{answers} own" in received("tester", "/conversations/#", publish(own, answers, "own"))


def test_without_tls_the_broker_answers_on_its_own_host_only(secure: Secure) -> None:
    listening = on_broker("ss -Htln '( sport = :1883 or sport = :8883 )'")
    assert sorted(line.split()[3] for line in listening.splitlines()) == ["0.0.0.0:8883", "127.0.0.1:1883"]


def test_a_task_from_another_broker_comes_over_the_bridge_and_its_answer_goes_back(secure: Secure) -> None:
    task = new_task(fleet.agents()["researcher"].agent_id, "Who is asking?")
    put("/root/task.json", json.dumps(task.envelope()).encode())
    there = f"-h broker-1 -p 18883 --cafile {OTHER_CA} -u {SITE} -P {derive_password(OTHER_KEY, SITE)} -q 1"
    code, answer = run_client(
        f"mosquitto_sub {there} -C 1 -W 20 -t '{SITE}{task.answer_topic}' & sleep 1; "
        f"mosquitto_pub {there} -t '{SITE}{task.topic}' -f /root/task.json; wait"
    )
    assert json.loads(answer)["task_id"] == task.task_id, (code, answer)


def test_a_client_with_a_certificate_needs_no_password_and_may_do_what_it_may(secure: Secure) -> None:
    to = f"-h broker-1 -p 8884 --cafile {CA_ON_HOST}"
    own = "--cert /root/tester.pem --key /root/tester.key"
    status = f"/control/agents/{fleet.agents()['researcher'].agent_id}/status"
    assert "available" in run_client(f"mosquitto_sub {to} {own} -C 1 -W 5 -t '{status}'")[1]
    assert run_client(f"mosquitto_pub {to} {own} -q 1 -r -t '{status}' -m forged")[0] == 0
    assert "available" in run_client(f"mosquitto_sub {to} {own} -C 1 -W 5 -t '{status}'")[1]
    login = f"-u tester -P {derived_password(fleet.CREDENTIALS_KEY, 'tester')}"
    assert run_client(f"mosquitto_sub {to} {login} -C 1 -W 5 -t '{status}'")[0] != 0


def test_the_key_and_the_password_of_a_bridge_are_where_secrets_are_and_nowhere_else(secure: Secure) -> None:
    password = secure.given["broker_bridge_passwords"]["other"]
    for place, known in (("muster.key", None), ("conf.d/muster-bridges.conf", password)):
        file = fleet.machine("broker-1").file(f"/etc/mosquitto/{place}")
        assert (file.user, file.group, file.mode) == ("root", "mosquitto", 0o640)
        line = known or file.content_string.splitlines()[1]
        found = on_broker(f"grep -rlF -e '{line}' /var/lib/muster /etc /run /var/log || true")
        assert found == f"/etc/mosquitto/{place}"


def test_the_broker_has_a_sandbox_of_its_own(secure: Secure) -> None:
    score = float(on_broker(f"systemd-analyze security {UNIT} | tail -1").split(":")[1].split()[0])
    assert score < 4


def test_a_second_run_changes_nothing(secure: Secure) -> None:
    assert set(secure.deploy().changed().values()) == {0}


def test_another_certificate_is_a_reload_that_no_agent_notices(secure: Secure) -> None:
    before = {name: agent.pid for name, agent in fleet.agents().items()}, broker_pid()
    secure.given["mosquitto_tls_names"] = ["localhost"]
    assert "broker released" in secure.deploy().output
    assert ({name: agent.pid for name, agent in fleet.agents().items()}, broker_pid()) == before
    assert client("mosquitto_pub", "-t x -m x", host="localhost")[0] == 0


def broker_pid() -> int:
    return int(on_broker(f"systemctl show --value -p MainPID {UNIT}"))


def test_a_restart_of_the_broker_is_refused_for_some_agents_and_restarts_all_in_waves(secure: Secure) -> None:
    before = fleet.agents()
    pids = {name: agent.pid for name, agent in before.items()}
    refused = secure.play("-e", "agent=researcher", mosquitto_max_connections=500)
    assert refused.code == 2
    assert "the broker has to restart, and after it all its agents: deploy them all at once" in refused.output
    assert {name: agent.pid for name, agent in fleet.agents().items()} == pids
    secure.given["mosquitto_max_connections"] = 500
    outcome = secure.deploy()
    assert "in 2 waves, of 1, 1 hosts" in outcome.output
    assert outcome.output.count("(the broker was restarted), healthy") == len(before)
    after = fleet.agents()
    for name, agent in before.items():
        assert after[name].release == agent.release
        assert after[name].ready
        assert after[name].pid != pids[name]


def test_a_config_that_mosquitto_refuses_is_not_switched_to(secure: Secure) -> None:
    before = broker_pid()
    outcome = secure.play(mosquitto_extra=["no_such_option 1"])
    assert outcome.code == 2
    assert 'Error: Unknown configuration variable "no_such_option"' in outcome.output
    assert broker_pid() == before


def test_a_broker_that_does_not_come_up_goes_back_and_its_agents_restart(secure: Secure) -> None:
    """It restarted twice, so that they could be deaf; their releases, of which one would have changed, stay as they are."""
    before = fleet.agents()
    pids = {name: agent.pid for name, agent in before.items()}
    changed = {
        "researcher": {"overrides": fleet.OFFLINE, "environment": {"LOG_LEVEL": "debug"}},
        "writer": {"overrides": fleet.OFFLINE, "instances": "each"},
    }
    outcome = secure.play(mosquitto_bind_address="192.0.2.1", fleet=changed)
    assert outcome.code == 2
    assert "Cannot assign requested address" in outcome.output
    assert "mosquitto was reverted to" in outcome.output
    assert outcome.output.count("(the broker was restarted), healthy") == len(before)
    assert client("mosquitto_pub", "-t x -m x")[0] == 0
    after = fleet.agents()
    for name, agent in before.items():
        assert (after[name].release, after[name].ready) == (agent.release, True)
        assert after[name].pid != pids[name]
