# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The judge of the fault suite is judged: everything that it is to find is planted on purpose, and it must say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.lab import Deploy, Machine, Running

OLD, NEW = Deploy("judge-old"), Deploy("judge-new")
HOST = "bookworm-1"


@dataclass(frozen=True)
class Planted:
    """What is done by hand, what the judge must say of it, and how it is put right again. `{…}` as in `Bench.fill`."""

    name: str
    deed: str
    finding: str
    repair: str


PLANTED = (
    Planted(
        "the link points to the old release",
        "ln -sfn releases/{old} {home}/current",
        "state.json records {new}, current is {old}",
        "ln -sfn releases/{new} {home}/current",
    ),
    Planted(
        "the link is gone",
        "rm {home}/current",
        "{target}: current: No such file",
        "ln -sfn releases/{new} {home}/current",
    ),
    Planted(
        "a release was edited",
        "cp -p {home}/releases/{new}/env /run/kept; echo 'X=\"1\"' >> {home}/releases/{new}/env",
        "release {new}: env was altered",
        "cp -p /run/kept {home}/releases/{new}/env; rm /run/kept",
    ),
    Planted(
        "the unit was edited",
        "echo '# by hand' >> {unit_file}; systemctl daemon-reload",
        "{unit_file} is not release {new}'s unit",
        "sed -i '$d' {unit_file}; systemctl daemon-reload",
    ),
    Planted(
        "systemd has not read the unit",
        "touch -d tomorrow {unit_file}",
        "NeedDaemonReload is 'yes'",
        "touch {unit_file}; systemctl daemon-reload",
    ),
    Planted(
        "a drop-in changes the unit",
        "mkdir {unit_file}.d; printf '[Service]\\nNice=1\\n' > {unit_file}.d/x.conf; systemctl daemon-reload",
        "DropInPaths is",
        "rm -r {unit_file}.d; systemctl daemon-reload",
    ),
    Planted(
        "the unit is disabled",
        "systemctl disable {unit}",
        "UnitFileState is 'disabled'",
        "systemctl enable {unit}",
    ),
    Planted(
        "the agent is stopped", "systemctl stop {unit}", "ActiveState is 'inactive'", "systemctl start {unit}"
    ),
    Planted(
        "the process was started with the old secrets",
        "cp -p {secrets} /root/kept.env; sed -i s/judge-new/judge-old/ {secrets}; systemctl restart {unit}; "
        "sleep 1; cat /root/kept.env > {secrets}; rm /root/kept.env",
        "was started with another OPENAI_API_KEY",
        "systemctl restart {unit}; sleep 1",
    ),
    Planted(
        "the process was started with the old environment",
        "ln -sfn releases/{old} {home}/current; systemctl restart {unit}; sleep 1; ln -sfn releases/{new} {home}/current",
        "was started with another STANDIN_VALUE",
        "systemctl restart {unit}; sleep 1",
    ),
    Planted(
        "the old process runs as well",
        "systemd-run --unit=by-hand --property=EnvironmentFile={home}/releases/{old}/env --setenv=HEALTH_PORT=9 "
        "sh -c 'sleep 300'",
        "runs twice",
        "systemctl stop by-hand",
    ),
    Planted(
        "another release answers than the caller allows",
        "",
        "value and key are judge-new",
        "",
    ),
    Planted(
        "a transaction is open",
        'cp -p {state} /run/kept; sed -i \'s/"transaction": null/"transaction": {{}}/\' {state}',
        "a transaction is open",
        "cp -p /run/kept {state}; rm /run/kept",
    ),
    Planted(
        "the lock is held",
        "systemd-run --unit=by-hand flock /var/lib/muster/lock sleep 300; sleep 0.5",
        "the lock is held",
        "systemctl stop by-hand",
    ),
    Planted(
        "the engine still runs",
        "systemd-run --unit=by-hand python3 -c 'import time; time.sleep(300)' muster.pyz; sleep 0.5",
        "the engine still runs",
        "systemctl stop by-hand",
    ),
    Planted(
        "the secrets of yesterday are left over",
        "cp {secrets} /etc/muster/secrets/.{target}.env.before",
        "left over: /etc/muster/secrets/.{target}.env.before",
        "rm /etc/muster/secrets/.{target}.env.before",
    ),
    Planted(
        "a copy of the secrets lies about",
        "cp {secrets} /tmp/copy",
        "secrets lie about in ['/tmp/copy']",
        "rm /tmp/copy",
    ),
    Planted(
        "everybody can read the secrets",
        "chmod 644 {secrets}",
        "{secrets} has mode",
        "chmod 600 {secrets}",
    ),
    Planted(
        "a request is left over",
        "mkdir -p /run/muster/muster-release-1; touch /run/muster/muster-release-1/request.json",
        "left over: /run/muster/muster-release-1/request.json",
        "rm -r /run/muster/muster-release-1",
    ),
    Planted(
        "the folder of a check is left over",
        "mkdir -p /run/muster/check-1",
        "left over: /run/muster/check-1",
        "rmdir /run/muster/check-1",
    ),
    Planted(
        "a half-made release is left over",
        "mkdir {home}/releases/.{new}.1",
        "left over: {home}/releases/.{new}.1",
        "rmdir {home}/releases/.{new}.1",
    ),
    Planted(
        "the runtime was altered",
        "cp -p {program} /run/kept; echo '# by hand' >> {program}",
        "is not whole",
        "cp -p /run/kept {program}; rm /run/kept",
    ),
    Planted(
        "an agent is there that must not be",
        "mkdir /var/lib/muster/agents/stranger",
        "agents on disk are",
        "rmdir /var/lib/muster/agents/stranger",
    ),
    Planted(
        "the history is torn",
        "cp -p {history} /run/kept; echo '{{' >> {history}",
        "history.jsonl: ",
        "cp -p /run/kept {history}; rm /run/kept",
    ),
    # Last: the witness has another process from here on.
    Planted(
        "a neighbour was restarted",
        "systemctl restart agent-witness-{host}.service; sleep 1",
        "witness-{host}: was disturbed",
        "",
    ),
)


class Bench:
    """A host on the new release, with the old one on its disk."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        releases = []
        for deploy in (OLD, NEW):
            done = Running(machine.name, deploy).result()
            assert done.code == 0, done.output
            verdict = machine.judge(allowed={machine.target: [deploy.pair]}, settled=True)
            assert verdict["violations"] == []
            releases.append(verdict["facts"][machine.target]["release"])
        self.old, self.new = releases
        witness = verdict["facts"][f"witness-{machine.name}"]
        self.witness = {f"witness-{machine.name}": [witness["pid"], witness["started"]]}

    def fill(self, text: str) -> str:
        target = self.machine.target
        home = f"/var/lib/muster/agents/{target}"
        return text.format(
            host=self.machine.name,
            target=target,
            old=self.old,
            new=self.new,
            home=home,
            unit=f"agent-{target}.service",
            unit_file=f"/etc/systemd/system/agent-{target}.service",
            secrets=f"/etc/muster/secrets/{target}.env",
            program=f"$(readlink -f {home}/current/runtime/program)",
            state="/var/lib/muster/state.json",
            history="/var/lib/muster/history.jsonl",
        )

    def judge(self, allowed: Deploy = NEW) -> list[str]:
        asked = {"allowed": {self.machine.target: [allowed.pair]}, "settled": True, "same": self.witness}
        return list(self.machine.judge(**asked)["violations"])


@pytest.fixture(scope="module")
def bench(machines: dict[str, Machine]) -> Iterator[Bench]:
    yield Bench(machines[HOST])


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_the_judge_finds(planted: Planted, bench: Bench) -> None:
    assert bench.judge() == []
    bench.machine.run(bench.fill(planted.deed) or "true")
    try:
        found = bench.judge(allowed=NEW if planted.deed else OLD)
    finally:
        bench.machine.run(bench.fill(planted.repair) or "true")
    assert any(bench.fill(planted.finding) in line for line in found), found
