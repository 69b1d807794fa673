# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A broker with TLS, seen by Debian's own clients; what restarts it and what only reloads it. The tests run in their order."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fleet
import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.certificates import PrivateCa, from_private_ca
from demo.ask import new_task
from demo.vault import derived_password

CA_ON_HOST, STRANGER_ON_HOST = "/root/ca.pem", "/root/stranger.pem"
UNIT = "mosquitto.service"


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
    pki = folder / "pki"
    given = {"mosquitto_tls": "private_ca", "mosquitto_tls_folder": str(pki)}
    made = Secure({**given, "broker_ca_passphrase": "canary-passphrase"}, folder)
    try:
        made.deploy()
        on_broker("apt-get -qq install -y --no-install-recommends mosquitto-clients >/dev/null")
        put(CA_ON_HOST, (pki / "ca.pem").read_bytes())
        yield made
    finally:
        fleet.deploy()


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
    done = fleet.machine("broker-1").run(
        f"timeout 30 {program} -h {host} -p 8883 {trust} {login} {words} 2>&1"
    )
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
    stranger = from_private_ca(PrivateCa(secure.folder / "other"), "broker-1", ["broker-1"])
    put(STRANGER_ON_HOST, (stranger.ca or "").encode())
    address = on_broker("hostname -I").split()[0]
    for ca, host in ((STRANGER_ON_HOST, "broker-1"), ("", "broker-1"), (CA_ON_HOST, address)):
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


def test_the_key_is_where_secrets_are_and_nowhere_else(secure: Secure) -> None:
    key = fleet.machine("broker-1").file("/etc/mosquitto/muster.key")
    assert (key.user, key.group, key.mode) == ("root", "mosquitto", 0o640)
    line = key.content_string.splitlines()[1]
    assert (
        on_broker(f"grep -rl '{line}' /var/lib/muster /etc /run /var/log || true")
        == "/etc/mosquitto/muster.key"
    )


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


def test_a_broker_that_does_not_come_up_leaves_the_old_one_and_says_why(secure: Secure) -> None:
    outcome = secure.play(mosquitto_bind_address="192.0.2.1")
    assert outcome.code == 2
    assert "Cannot assign requested address" in outcome.output
    assert "mosquitto was reverted to" in outcome.output
    assert client("mosquitto_pub", "-t x -m x")[0] == 0
    for host in ("agent-1", "agent-2"):
        fleet.until(partial(are_ready, host), 60, f"the agents of {host} are not back")


def are_ready(host: str) -> bool:
    return bool(fleet.machine(host).run("muster status").rc == 0)
