# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A canary in every secret, and then a look everywhere: it is where it belongs, and nowhere else."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import canary
import fleet

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import packed
from demo.vault import derived_password

HOSTS = ("agent-1", "agent-2", "broker-1")
VAULT = ("canary-serper-90d1", "canary-serper-90d2")
KEY = "canary-fleet-2f0c"
LOUD = ("--diff", "-vvvv")
# The files of each host that may hold a canary, with their permissions.
BELONGS = {
    "agent-1": {"/etc/muster/secrets/writer-agent-1.env": "0o600"},
    "agent-2": {"/etc/muster/secrets/writer-agent-2.env": "0o600"},
    "broker-1": {},
}


def marks(agents: dict[str, fleet.Agent]) -> list[str]:
    """What no one must see: the vault's values, the key of the passwords, and the passwords."""
    assert KEY in fleet.CREDENTIALS_KEY
    users = {agent.agent_id for agent in agents.values()} | {"tester"}
    return [*VAULT, KEY, *(derived_password(fleet.CREDENTIALS_KEY, user) for user in sorted(users))]


def test_no_secret_is_anywhere_else(agents: dict[str, fleet.Agent], tmp_path: Path, restored: None) -> None:
    """With both ways to keep secrets at once: the researcher's are encrypted, the writers' lie in files for root only."""
    looked_for = marks(agents)
    # Not named for the values: Ansible prints the paths of what it is given.
    for name in ("fleet", "first", "second"):
        (tmp_path / name).mkdir()
    wanted = fleet.changed_fleet(
        tmp_path / "fleet",
        researcher={
            "hosts": "agent-1",
            "secrets_backend": "credentials",
            "environment": {"CANARY": "credentials"},
        },
        writer={"overrides": {"llm": {"provider": "echo", "api_key_env": "SERPER_API_KEY"}}},
    )
    first, second = (
        fleet.variables(tmp_path / name, agent_secrets={"SERPER_API_KEY": f"{value} \"' $HOME %n \\"})
        for name, value in zip(("first", "second"), VAULT)
    )
    report, sarif = tmp_path / "report.json", tmp_path / "checked.sarif"
    said = {}
    with canary.watched(HOSTS, looked_for) as during:
        said["deploy"] = fleet.play("deploy.yml", *LOUD, wanted, first, "-e", f"fleet_report={report}")
        said["rotate"] = fleet.play("playbooks/rotate_secrets.yml", *LOUD, "-e", "agent=all", wanted, second)
        live = {name: agent.environ()["SERPER_API_KEY"] for name, agent in fleet.agents().items()}
        files = {host: canary.files(host, looked_for) for host in HOSTS}
        said["rollback"] = fleet.play("rollback.yml", *LOUD, "-e", "agent=all", wanted, second)
        said["status"] = fleet.play("playbooks/status.yml", *LOUD, "-e", "status_format=json", wanted, second)
    said["validate"] = fleet.play("playbooks/validate.yml", *LOUD, wanted, second, "-e", f"sarif={sarif}")

    assert {name: one.output[-2000:] for name, one in said.items() if one.code} == {}
    assert set(live) == set(agents)
    assert all(value.startswith(VAULT[1]) for value in live.values())
    for name, one in said.items():
        assert canary.hits(one.output, looked_for) == [], f"in the output of {name}"
    for path in (report, sarif):
        assert json.loads(path.read_text())
        assert canary.hits(path.read_text(), looked_for) == [], f"in {path.name}"
    for host in HOSTS:
        assert during[host].rounds > 100
        assert during[host].strange == set(), f"in a process on {host}"
        # Where it belongs it is found, so it was looked for in the right way.
        assert files[host] == BELONGS[host], f"in a file on {host}"
    assert any(word == "environ" for word, _unit, _program in during["agent-1"].seen)


def test_a_secret_that_leaked_would_be_found(researcher: fleet.Agent) -> None:
    mark = "canary-leaked-4c19"
    request = json.dumps({"secrets": {"agents/researcher": {"SERPER_API_KEY": f"{mark} more"}}})
    for text in (
        f"plain {mark}",
        mark.encode().hex(),
        packed(json.dumps({"request": request}).encode()),
        json.dumps({"a": [mark]}),
    ):
        assert canary.hits(f"before {text} after", [mark, "another"]) == [mark]
    assert canary.hits("before and after", [mark]) == []

    machine, host = researcher.machine, researcher.host
    with canary.watched([host], [mark]) as during:
        leaks = [
            f"sh -c 'sleep 0.5; true' {mark}",
            f"systemd-run --quiet --wait --collect --unit=leak -p Environment=LEAK={mark} sleep 0.5",
            f"echo {mark} > /var/lib/muster/leak; logger -t leak {mark}",
        ]
        threads = [threading.Thread(target=machine.run, args=(leak,)) for leak in leaks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    try:
        assert {("cmdline", "sh"), ("environ", "sleep")} <= {(one[0], one[2]) for one in during[host].strange}
        assert {"/var/lib/muster/leak", "journal"} <= set(canary.files(host, [mark]))
    finally:
        machine.check_output("rm /var/lib/muster/leak")
