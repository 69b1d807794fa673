# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The chaos run: tasks at a steady rate to every agent, everything going wrong meanwhile, and then the accounts.

    make chaos MINUTES=60 HOSTS=10 SEED=…

In the end every task is answered, every agent is ready without anybody's help, a deploy has nothing to change, and nothing is
left behind. Exit status 1 where that is not so.

A broker that is killed loses what waited in it since it last saved (`autosave_interval`). Tasks that were on their way then, and
no others, may be unanswered; they are counted, and sent again by their ids, as a sender does that waits in vain.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import yaml
from stream import PATIENCE_SECONDS, Account, Sent, Stream, streaming

from demo.ask import Broker
from demo.vault import derived_password
from dev import ROOT, engine, hosts, image
from dev.hosts import CHAOS, Host, Lab
from dev.shell import Failure, run
from tests.chaos import deeds
from tests.chaos.deeds import FAULT_PAUSE, FAULTS, NEVER_GOOD, PLAY_PAUSE, PLAYS, Done, Site
from tests.faults.lab import Machine

CLIENT = "tester"
_DEFAULTS = yaml.safe_load((ROOT / "roles/mosquitto/defaults/main.yml").read_text())
AUTOSAVE_SECONDS = int(_DEFAULTS["mosquitto_autosave_interval"])
# From the kill until all agents have a session again.
BACK_SECONDS = 45
READY_SECONDS = 240


@dataclass(frozen=True)
class Few(Lab):
    """The broker's host and the first few others."""

    count: int = 10

    def hosts(self) -> list[Host]:
        return super().hosts()[: 1 + self.count]


@dataclass
class Verdict:
    """What must not be, and the figures."""

    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def must(self, true: object, violation: str) -> None:
        if not true:
            self.violations.append(violation)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--hosts", type=int, default=10, help="agent hosts, from 2 to 10")
    parser.add_argument("--rate", type=float, default=1.0, help="tasks a second to each agent")
    parser.add_argument("--seed", type=int, default=None, help="default: by the clock")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    asked = parser.parse_args()
    if not 2 <= asked.hosts <= 10:
        parser.error("--hosts must be from 2 to 10")
    seed = asked.seed if asked.seed is not None else time.time_ns() % 1_000_000
    lab = Few(**{one.name: getattr(CHAOS, one.name) for one in dataclasses.fields(CHAOS)}, count=asked.hosts)
    print(f"seed {seed}, {asked.minutes:g} minutes, {asked.hosts} hosts", flush=True)
    found_engine = engine.answers()
    try:
        site = begin(lab)
        verdict = go_through(site, seed, asked.minutes * 60, asked.rate)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            hosts.down(lab)
            if not found_engine:
                engine.stop()
    print("\n".join(["", *verdict.lines, "", *(f"VIOLATION: {one}" for one in verdict.violations)]))
    print(f"seed {seed}: {len(verdict.violations)} violations")
    return 1 if verdict.violations else 0


def begin(lab: Lab) -> Site:
    """The fleet, deployed. Raises Failure where that does not work."""
    run([sys.executable, "src/build.py"], "src/build.py")
    engine.start()
    for suite in sorted({host.suite for host in lab.hosts()}):
        image.ensure(suite)
    hosts.up(lab)
    names = [host.name for host in lab.hosts()]
    machines = [
        Machine(name, [f"{kind}-{name}" for kind in ("researcher", "writer")] if index else [], lab)
        for index, name in enumerate(names)
    ]
    machines[1].make_small()
    key = yaml.safe_load((CHAOS.inventory / "group_vars/all/secrets.yml").read_text())[
        "fleet_credentials_key"
    ]
    port = next(port for host in lab.hosts() for port in host.published)

    def broker(user: str) -> Broker:
        ca = str(CHAOS.state / "pki" / "ca.pem")
        return Broker("127.0.0.1", port, user, derived_password(key, user), ca)

    site = Site(machines, broker, {})
    code, output = site.play("deploy.yml")
    if code != 0:
        raise Failure(f"the first deploy failed:\n{output[-3000:]}")
    for machine in site.hosts:
        for one in json.loads(machine.run("muster status --json"))["workloads"]:
            site.agent_ids[one["name"]] = one["agent_id"]
    return site


def go_through(site: Site, seed: int, seconds: float, rate: float) -> Verdict:
    """The load, the deeds, and the judgement."""
    verdict = Verdict()
    with contextlib.ExitStack() as load:
        sender = site.broker(CLIENT)
        streams = [
            load.enter_context(streaming(sender, agent_id, rate, lasting=True))
            for agent_id in site.agent_ids.values()
        ]
        enough = threading.Event()
        began = time.monotonic()
        tell = functools.partial(_tell, began)
        workers = [
            threading.Thread(target=deeds.go_on, args=(site, kinds, pause, f"{seed}-{name}", enough, tell))
            for name, kinds, pause in (("faults", FAULTS, FAULT_PAUSE), ("plays", PLAYS, PLAY_PAUSE))
        ]
        for worker in workers:
            worker.start()
        enough.wait(seconds)
        enough.set()
        for worker in workers:
            worker.join()
        _all_ready(site, verdict)
        for stream in streams:
            stream.enough.set()
        _answered(site, streams, verdict)
    _in_order(site, verdict)
    verdict.lines = [*_table(site.done), "", *verdict.lines]
    for done in site.done:
        if done.name == NEVER_GOOD:
            verdict.must(done.code != 0, f"a bad release was kept ({done.at - began:.0f} s)")
        verdict.must("Traceback" not in done.output, f"{done.name}: a traceback\n{done.output[-3000:]}")
        verdict.must("canary-faults" not in done.output, f"{done.name}: its output shows a secret")
    return verdict


def _tell(began: float, done: Done) -> None:
    code = "" if done.code is None else f", exit code {done.code}"
    about = f" ({done.about})" if done.about else ""
    print(f"{done.at - began:7.0f} s  {done.name}{about}{code}, {done.seconds:.0f} s", flush=True)


# --- every agent is ready, without anybody's help -----------------------------------------------------------------


def _all_ready(site: Site, verdict: Verdict) -> None:
    begun = time.monotonic()
    missing = set(site.agent_ids)
    while missing and time.monotonic() < begun + READY_SECONDS:
        time.sleep(1)
        missing = set(site.agent_ids) - set(_ready(site))
    verdict.lines.append(f"all agents ready by themselves after {time.monotonic() - begun:.0f} s")
    for name in sorted(missing):
        host = next(machine for machine in site.hosts if name in machine.agents)
        shown = host.try_(
            f"muster status; muster health; muster history {name} -n 5; journalctl -t agent-{name} -n 20"
        )
        verdict.must(False, f"{name} is not ready {READY_SECONDS} s after the last deed\n{shown}")


def _ready(site: Site) -> Iterator[str]:
    for machine in site.hosts:
        with contextlib.suppress(ValueError):
            for one in json.loads(machine.try_("muster status --json"))["workloads"]:
                if one["ready"]:
                    yield one["name"]


# --- every task is answered -----------------------------------------------------------------------------------


def _answered(site: Site, streams: Sequence[Stream], verdict: Verdict) -> None:
    """Each once, or again with the same answer; but for what a broker took with it that was killed."""
    _until_answered(streams)
    kills = [done.at for done in site.done if done.name == "broker killed"]
    crashed: dict[str, list[Sent]] = {}
    for stream in streams:
        unanswered = stream.unanswered()
        crashed[stream.agent_id] = [one for one in unanswered if any(_may_be_lost(one, at) for at in kills)]
        for one in unanswered:
            if one not in crashed[stream.agent_id]:
                before = min((abs(one.at - at) for at in kills), default=float("inf"))
                verdict.must(False, f"lost: {one.task} ({before:.0f} s from the nearest kill of the broker)")
        stream.send_again(crashed[stream.agent_id])
    _until_answered(streams)
    taken = [one for some in crashed.values() for one in some]
    nearest = [min((at - one.at for at in kills if _may_be_lost(one, at)), key=abs) for one in taken]
    forgotten = 0
    for stream in streams:
        for one in stream.unanswered():
            if one in crashed[stream.agent_id]:
                # It was answered, and the answer was in the broker: the agent does not do it again.
                known = _dropped(site, stream.agent_id, one)
                forgotten += known
                verdict.must(known, f"sent again and not answered: {one.task}")
    accounts = [stream.settle() for stream in streams]
    verdict.lines += _figures(accounts, taken, nearest, forgotten, len(kills))
    for stream, account in zip(streams, accounts):
        verdict.must(not account.wrong, f"{stream.agent_id}: wrong answers: {account.wrong[:3]}")


def _may_be_lost(sent: Sent, killed: float) -> bool:
    return killed - AUTOSAVE_SECONDS - 5 <= sent.at <= killed + BACK_SECONDS


def _until_answered(streams: Sequence[Stream]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(stream.unanswered() for stream in streams) and time.monotonic() < deadline:
        time.sleep(0.5)


def _dropped(site: Site, agent_id: str, sent: Sent) -> bool:
    """Whether the agent has answered this one already, by its own log."""
    name = next(name for name, known in site.agent_ids.items() if known == agent_id)
    host = next(machine for machine in site.hosts if name in machine.agents)
    lines = host.try_(f"journalctl -t agent-{name} -o cat | grep -F {sent.task.task_id}")
    return '"duplicate"' in lines


def _figures(
    accounts: Sequence[Account], taken: Sequence[Sent], nearest: Sequence[float], forgotten: int, kills: int
) -> list[str]:
    lines = [
        f"tasks: {sum(one.sent for one in accounts)} sent, {sum(one.answered for one in accounts)} answered,"
        f" {sum(one.repeated for one in accounts)} answers repeated (dropped by the task's id),"
        f" {sum(len(one.wrong) for one in accounts)} wrong",
        f"longest silence of an agent {max(one.silence for one in accounts):.1f} s,"
        f" longest wait for an answer {max(one.wait for one in accounts):.1f} s",
        f"{kills} kills of the broker took {len(taken)} tasks with them, all sent again:"
        f" {len(taken) - forgotten} answered then, {forgotten} had been (the answer was lost)",
    ]
    if taken:
        lines.append(
            f"  they were sent from {max(nearest):.0f} s before the kill to {max(0.0, -min(nearest)):.0f} s after it"
            f" (a broker saves each {AUTOSAVE_SECONDS} s)"
        )
    return lines


# --- a deploy has nothing to change, and nothing is left behind --------------------------------------------------


def _in_order(site: Site, verdict: Verdict) -> None:
    code, output = site.play("deploy.yml")
    verdict.must(code == 0, f"the deploy after it all: exit code {code}\n{output[-4000:]}")
    code, output = site.play("deploy.yml")
    idle = (
        code == 0 and "changed=" in output and not any(f"changed={digit}" in output for digit in "123456789")
    )
    verdict.must(idle, f"a second deploy has something to change\n{output[-4000:]}")
    code, output = site.play("playbooks/status.yml")
    verdict.must(code == 0, f"status.yml: exit code {code}\n{output[-4000:]}")
    for machine in site.hosts:
        found = machine.judge(settled=True, wait=30.0)["violations"]
        verdict.violations += [f"{machine.name}: {one}" for one in found]
    left = site.machines[0].try_(
        "ls -A /run/muster | grep -v ^muster-release-; ls -A /etc/mosquitto | grep -v '^[a-z]'"
    )
    verdict.must(not left.strip(), f"broker-1: left over: {left}")


def _table(all_done: Sequence[Done]) -> list[str]:
    """deed × how often × exit codes."""
    rows: dict[str, list[Done]] = defaultdict(list)
    for done in all_done:
        rows[done.name].append(done)
    lines = [f"{'deed':<22} {'done':>5} {'exit 0':>7} {'2':>4} {'4':>4} {'failed':>7}"]
    for name in (*FAULTS, *PLAYS):
        found = rows[name]
        codes = [sum(one.code == code for one in found) for code in (0, 2, 4)]
        failed = sum(one.about.startswith("could not be done") for one in found)
        shown = [str(count) if name in PLAYS else "" for count in codes]
        lines.append(f"{name:<22} {len(found):>5} {shown[0]:>7} {shown[1]:>4} {shown[2]:>4} {failed:>7}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
