# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is measured: each case with what is done before it, and the command that counts."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import figures, fleets
from bench.command import Finished, steps, timed
from bench.figures import Sample
from bench.fleets import Fleet
from dev import ROOT, hosts
from dev.hosts import BENCH
from dev.shell import Failure, run

# Of the benchmark's hosts those that the chosen cases need.
LAB = replace(BENCH, inventory=fleets.FOLDER / "lab")
VENV = fleets.FOLDER / "venv"
PEERS = ROOT / "bench" / "peers"
PING = ROOT / "bench" / "ping.yml"
ROLLBACK = ROOT / "playbooks" / "rollback.yml"


@dataclass(frozen=True)
class Sizes:
    """How many agents and hosts; the names of the cases stay those of the full size."""

    one: int = 1
    twenty: int = 20
    two_hundred: int = 200
    each: int = 20
    hosts: tuple[int, ...] = (1, 5, 10)

    @property
    def most(self) -> int:
        """The most agents that run at one time."""
        return max(self.one + 3 * self.twenty + self.two_hundred, self.each * self.hosts[-1])


FULL = Sizes()
QUICK = Sizes(twenty=3, two_hundred=5, each=2, hosts=(1, 2, 3))


@dataclass(frozen=True)
class Case:
    """What is measured, on the hosts of a fleet: `prepare` is done before each run and does not count."""

    name: str
    title: str
    floor: str
    fleet: Fleet
    measure: Callable[[], Sample]
    prepare: Callable[[], None] = lambda: None


# --- commands -----------------------------------------------------------------------------------------------


def playbook(fleet: Fleet, path: Path, *arguments: str) -> Finished:
    """Run a playbook on a fleet's inventory."""
    return timed(["ansible-playbook", "--inventory", str(fleet.inventory), str(path), *arguments])


def deploy(fleet: Fleet) -> Finished:
    return playbook(fleet, ROOT / "deploy.yml")


def sample(done: Finished, own: float | None = None) -> Sample:
    return Sample(done.seconds, done.megabytes, own, steps(done.stamped, done.seconds))


def unchanged(done: Finished) -> Sample:
    """The sample of a run that had nothing to change. Raises Failure where it changed something."""
    if done.changed:
        raise Failure(f"{done.output}\nThis run was to change nothing.")
    return sample(done)


def pyinfra(fleet: Fleet) -> Finished:
    command = [str(VENV / "bin" / "pyinfra"), "--yes", str(PEERS / "inventory.py"), str(PEERS / "deploy.py")]
    return timed(command, {"MUSTER_BENCH_INVENTORY": str(fleet.inventory)})


def own_start(fleet: Fleet, agent: str) -> float:
    """Seconds from the restart of an agent until it was healthy for long enough, from the engine's history on its host."""
    history = "tail --lines 1 /var/lib/muster/history.jsonl"
    for host in fleet.hosts:
        line = run(["docker", "exec", f"{BENCH.name}-{host}", "sh", "-c", history], f"history of {host}")
        entry = json.loads(line)
        if entry["name"] == agent:
            return float(entry["seconds"]["gate"])
    raise Failure(f"the history of {', '.join(fleet.hosts)} does not end with {agent}")


# --- cases --------------------------------------------------------------------------------------------------


class OneHost:
    """The cases on one agent host with its broker, and the peers."""

    def __init__(self, sizes: Sizes) -> None:
        self.one = Fleet("one", "bench-1", ("bench-2",), sizes.one)
        self.twenty = Fleet("twenty", "bench-3", ("bench-4",), sizes.twenty)
        self.two_hundred = Fleet("two-hundred", "bench-5", ("bench-6",), sizes.two_hundred)
        self.peers = Fleet("peers", "bench-7", ("bench-8",), sizes.twenty)
        self.fresh = Fleet("fresh", "bench-9", ("bench-10",), sizes.twenty)
        self._temperatures = (number / 1000 for number in itertools.count(1))
        self._temperature: float | None = None  # what the first agent's entry overrides now

    def cases(self) -> list[Case]:
        one, twenty, many = self.one.agents, self.twenty.agents, self.two_hundred.agents
        ping = figures.PING
        found = [
            Case(ping, "A playbook that only pings", ping, self.twenty, self._ping),
            self._nothing(figures.ONE, self.one, f"Nothing to change, {_agents(one)}"),
            self._nothing(figures.TWENTY, self.twenty, f"Nothing to change, {_agents(twenty)}"),
            self._nothing(figures.TWO_HUNDRED, self.two_hundred, f"Nothing to change, {_agents(many)}"),
            Case(
                figures.PYINFRA,
                f"Nothing to change, {_agents(twenty)}: pyinfra",
                ping,
                self.peers,
                # After the looped tasks: where it had something to change, the two would not be the same.
                lambda: unchanged(pyinfra(self.peers)),
            ),
            Case(
                figures.TASKS,
                f"Nothing to change, {_agents(twenty)}: looped tasks",
                ping,
                self.peers,
                lambda: unchanged(playbook(self.peers, PEERS / "tasks.yml")),
                lambda: warm(self.peers),
            ),
            Case(
                figures.CHANGED,
                f"One changed agent of {twenty}",
                ping,
                self.twenty,
                self._changed,
                self._edit,
            ),
            Case(
                figures.FIRST, f"First deploy, {_agents(twenty)}", ping, self.fresh, self._first, self._renew
            ),
            Case(
                figures.FIRST_TASKS,
                f"First deploy, {_agents(twenty)}: looped tasks",
                ping,
                self.fresh,
                self._first_tasks,
                self._renew,
            ),
        ]
        if ROLLBACK.exists():
            title = f"Rollback of one agent of {twenty}"
            found.append(
                Case(figures.ROLLBACK, title, ping, self.twenty, self._rollback, self._release_another)
            )
        return found

    def ready(self, chosen: Sequence[Case]) -> Iterator[tuple[str, Callable[[], object]]]:
        """What the chosen cases find done: (what, deed)."""
        for fleet in (self.one, self.twenty, self.two_hundred):
            fleets.write(fleet)
            if any(case.fleet == fleet for case in chosen):
                yield f"First deploy of {_agents(fleet.agents)}", functools.partial(deploy, fleet)
        for fleet in (self.peers, self.fresh):
            fleets.write(fleet, peers=True)
        if any(case.fleet == self.peers for case in chosen):
            yield "Debian's mosquitto for the peers", lambda: install_broker(self.peers)
            yield "First run of the looped tasks", lambda: playbook(self.peers, PEERS / "tasks.yml")

    def _nothing(self, name: str, fleet: Fleet, title: str) -> Case:
        return Case(name, title, figures.PING, fleet, lambda: unchanged(deploy(fleet)), lambda: warm(fleet))

    def _ping(self) -> Sample:
        warm(self.twenty)
        return sample(playbook(self.twenty, PING))

    def _edit(self) -> None:
        """Give the first agent a setting that it never had."""
        self._temperature = next(self._temperatures)
        self._write_twenty()
        warm(self.twenty)

    def _write_twenty(self) -> None:
        overrides = {} if self._temperature is None else {self.twenty.names[0]: self._temperature}
        fleets.write(self.twenty, overrides)

    def _changed(self) -> Sample:
        done = deploy(self.twenty)
        return sample(done, own_start(self.twenty, self.twenty.names[0]))

    def _release_another(self) -> None:
        """Deploy a setting that is then gone back from; the fleet's file goes back, too."""
        before = self._temperature
        self._edit()
        deploy(self.twenty)
        self._temperature = before
        self._write_twenty()

    def _rollback(self) -> Sample:
        name = self.twenty.names[0]
        done = playbook(self.twenty, ROLLBACK, "--extra-vars", f"agent={name}")
        own = own_start(self.twenty, name)
        unchanged(deploy(self.twenty))  # the next case finds hosts and the fleet's file in agreement
        return sample(done, own)

    def _renew(self) -> None:
        """New hosts, where only Debian's package of the broker is installed."""
        renew(self.fresh)
        warm(self.fresh)

    def _first(self) -> Sample:
        return sample(deploy(self.fresh))

    def _first_tasks(self) -> Sample:
        return sample(playbook(self.fresh, PEERS / "tasks.yml"))


class Growing:
    """One fleet on 1, 5 and 10 hosts, every agent on every host; the broker is on the first of them."""

    def __init__(self, sizes: Sizes, size: int) -> None:
        names = tuple(f"bench-{number}" for number in range(1, size + 1))
        self.fleet = Fleet(f"hosts-{size}", names[0], names, sizes.each, each=True)
        self.size = size

    def cases(self) -> list[Case]:
        floor = f"ping-{self.size}"
        count = f"{self.size} host{'s' if self.size > 1 else ''}"
        title = f"Nothing to change, {count} with {self.fleet.agents} agents each"

        def ping() -> Sample:
            warm(self.fleet)
            return sample(playbook(self.fleet, PING))

        return [
            Case(floor, f"A playbook that only pings, {count}", floor, self.fleet, ping),
            Case(
                self.fleet.name,
                title,
                floor,
                self.fleet,
                lambda: unchanged(deploy(self.fleet)),
                lambda: warm(self.fleet),
            ),
        ]

    def ready(self, chosen: Sequence[Case]) -> Iterator[tuple[str, Callable[[], object]]]:
        fleets.write(self.fleet)
        if any(case.name == self.fleet.name for case in chosen):
            yield f"Deploy of {_agents(self.fleet.processes)}, size {self.size}", lambda: deploy(self.fleet)


def _agents(count: int) -> str:
    return f"{count} agent{'s' if count > 1 else ''}"


def warm(fleet: Fleet) -> None:
    """Open Ansible's connections, as an earlier command within a minute would have."""
    playbook(fleet, PING)


def renew(fleet: Fleet) -> None:
    """Make a fleet's hosts anew, with Debian's mosquitto on the broker's."""
    containers = [f"{BENCH.name}-{name}" for name in fleet.machines]
    run(["docker", "rm", "--force", "--volumes", *containers], "docker rm")
    hosts.up(LAB)
    install_broker(fleet)


def install_broker(fleet: Fleet) -> None:
    """Debian's package on the broker's host, as it comes: what a package mirror takes is not measured."""
    install = "apt-get -q update && apt-get -q install -y --no-install-recommends mosquitto"
    run(["docker", "exec", f"{BENCH.name}-{fleet.broker}", "sh", "-ec", install], "apt-get install mosquitto")
