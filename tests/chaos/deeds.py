# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done to the fleet: faults on hosts and broker, and meanwhile what people do with playbooks; a seed says which."""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mqtt import subscribed

from demo.ask import Broker
from dev.hosts import CHAOS
from dev.shell import Failure, run
from tests.faults.lab import Machine, Playbook

# Seconds between two deeds of one kind: least and most.
FAULT_PAUSE = (6.0, 18.0)
PLAY_PAUSE = (2.0, 12.0)
FULL_SECONDS = 15.0
CERTIFICATE = CHAOS.state / "pki" / "broker-broker-1.pem"
UNAVAILABLE = json.dumps({"status": "unavailable", "timestamp": "2026-01-01T00:00:00Z"})


@dataclass(frozen=True)
class Done:
    """One deed: when it began (monotonic clock), how long it took, and the playbook's exit code where it was one."""

    name: str
    about: str
    at: float
    seconds: float
    code: int | None = None
    output: str = ""


@dataclass
class Site:
    """The fleet, and what it was told last. `machines`: the broker's host first."""

    machines: Sequence[Machine]
    broker: Callable[[str], Broker]
    agent_ids: dict[str, str]  # agent → its id
    value: int = 0
    secret: int = 0
    done: list[Done] = field(default_factory=list)

    @property
    def hosts(self) -> Sequence[Machine]:
        return self.machines[1:]

    def play(self, name: str, *arguments: str, bad: bool = False) -> tuple[int, str]:
        """Run a playbook with what the fleet is to be now; its exit code and its output."""
        variables = {
            "chaos_pool": f"pool[0:{len(self.hosts) - 1}]",
            "chaos_value": str(self.value),
            "chaos_secret": str(self.secret),
            "chaos_bad": bad,
        }
        played = Playbook(CHAOS, name, "--extra-vars", json.dumps(variables), *arguments).result(600)
        return played.code, played.output


Deed = Callable[[Site, random.Random], tuple[str, int | None, str]]


# --- faults: each returns what it fell on ---------------------------------------------------------------------


def broker_restarted(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    site.machines[0].run("systemctl restart mosquitto")
    return "", None, ""


def broker_killed(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    """It saves what waits each minute, and at a clean end: this is none."""
    site.machines[0].run("systemctl kill --signal=KILL mosquitto")
    return "", None, ""


def agent_killed(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    return _signalled(site, dice, "KILL")


def agent_stuck(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    return _signalled(site, dice, "STOP")


def _signalled(site: Site, dice: random.Random, signal: str) -> tuple[str, int | None, str]:
    machine = dice.choice(site.hosts)
    agent = dice.choice(machine.agents)
    machine.try_(f"systemctl kill --kill-who=main --signal={signal} agent-{agent}.service")
    return agent, None, ""


def agent_deaf(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    """The broker calls it unavailable, and it does not know."""
    agent_id = site.agent_ids[dice.choice(dice.choice(site.hosts).agents)]
    topic = f"/control/agents/{agent_id}/status"
    with subscribed(site.broker(agent_id), topic, lambda *_: None) as client:
        client.publish(topic, UNAVAILABLE, qos=1, retain=True).wait_for_publish(10)
    return agent_id, None, ""


def disk_full(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    machine, what = site.hosts[0], dice.choice(["bytes", "inodes"])
    mount = dice.choice(["/var/lib/muster", "/etc/muster", "/opt/muster"])
    machine.strike(f"full:{mount}:{what}")
    try:
        time.sleep(FULL_SECONDS)
    finally:
        machine.give_room()
    return f"{what} of {mount}", None, ""


def host_restarted(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    machine = dice.choice(site.hosts[1:])  # the first one's file systems are in memory
    run(["docker", "restart", "--time", "20", machine.container], "docker restart")
    machine.wait_for_boot()
    return machine.name, None, ""


def power_lost(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    machine = dice.choice(site.hosts[1:])
    machine.kill_and_start()
    machine.wait_for_boot()
    return machine.name, None, ""


# --- what people do: each returns a playbook's exit code and output, too ------------------------------------------


def deployed(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    site.value += 1
    names = dice.choice(["researcher", "writer", "all"])
    return names, *site.play("deploy.yml", "-e", f"agent={names}")


def bad_release(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    return "writer", *site.play("deploy.yml", "-e", "agent=writer", bad=True)


def rolled_back(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    name = dice.choice(["researcher", "writer"])
    return name, *site.play("rollback.yml", "-e", f"agent={name}")


def secret_rotated(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    site.secret += 1
    return "", *site.play("playbooks/rotate_secrets.yml", "-e", "secret=SERPER_API_KEY")


def certificate_renewed(site: Site, dice: random.Random) -> tuple[str, int | None, str]:
    CERTIFICATE.unlink(missing_ok=True)
    return "", *site.play("deploy.yml")


# How often each comes, and what a report calls it.
FAULTS: dict[str, tuple[int, Deed]] = {
    "broker restarted": (2, broker_restarted),
    "broker killed": (1, broker_killed),
    "agent killed": (4, agent_killed),
    "agent stuck": (2, agent_stuck),
    "agent deaf": (2, agent_deaf),
    "disk full and freed": (2, disk_full),
    "host restarted": (1, host_restarted),
    "power lost": (1, power_lost),
}
PLAYS: dict[str, tuple[int, Deed]] = {
    "deploy": (4, deployed),
    "bad release": (2, bad_release),
    "rollback": (2, rolled_back),
    "secret rotated": (2, secret_rotated),
    "certificate renewed": (2, certificate_renewed),
}
# The one that must not succeed.
NEVER_GOOD = "bad release"


def go_on(
    site: Site,
    kinds: dict[str, tuple[int, Deed]],
    pause: tuple[float, float],
    seed: str,
    enough: threading.Event,
    tell: Callable[[Done], None],
) -> None:
    """One deed after the other until it is enough. First each of them once, in an order of the seed's, then by their weights."""
    dice = random.Random(seed)
    first = dice.sample(list(kinds), len(kinds))
    while not enough.wait(dice.uniform(*pause)):
        name = (
            first.pop() if first else dice.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        )
        at = time.monotonic()
        try:
            about, code, output = kinds[name][1](site, dice)
        except (Failure, OSError, RuntimeError, queue.Empty) as failure:  # a host or the broker is just down
            about, code, output = f"could not be done: {failure!r}", None, ""
        done = Done(name, about, at, time.monotonic() - at, code, output)
        site.done.append(done)
        tell(done)
