# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which faults there are, at which steps, and what is chosen by a seed: pure functions, no host is touched here."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.faults.lab import MOUNTS, SMALL

STEPS = ("lock", "stage", "check", "switch", "gate", "commit", "revert", "prune")
# Where the injector waits for a step: `detach` and `link` are the later halves of check and of switch.
MOMENTS = {
    "lock": ("lock",),
    "stage": ("stage",),
    "check": ("check", "detach"),
    "switch": ("switch", "link"),
    "gate": ("gate",),
    "commit": ("commit",),
    "revert": ("revert",),
    "prune": ("prune",),
}
STEP_OF = {moment: step for step, moments in MOMENTS.items() for moment in moments}

# What interrupts a release. The words are those of the table.
CONTROLLER = "SIGKILL of ansible-playbook"
CUT = "SSH link cut"
SILENCE = "SSH link silent"
APPLY = "SIGKILL of the engine's foreground"
UNIT = "SIGKILL of the engine's unit"
ALL = "SIGKILL of all of the engine"
HOST = "docker kill of the host"
KILLS = (CONTROLLER, CUT, SILENCE, APPLY, UNIT, ALL, HOST)
DEEDS = {
    CONTROLLER: "none",
    CUT: "cut",
    SILENCE: "silence",
    APPLY: "kill:apply",
    UNIT: "kill:carry-on",
    ALL: "kill",
    HOST: "none",
}
# Before it is detached there is no unit to kill.
_NO_UNIT = ("lock", "stage", "check")

GOOD = "good"
NOT_TO_BE_KEPT = {
    "exit": "a release that exits at once",
    "exit-after:3": "a release that exits after 3 s",
    "never-ready": "a release that never gets ready",
    "impostor": "a release that answers for another agent",
}
TO_BE_KEPT = {
    "slow:10": "a release that starts slowly (10 s)",
    "stale": "a release whose /health says 503",
}
CURSED = "a crash of the old release in the revert"
CLOCK_ON, CLOCK_BACK = "clock jumps a day on", "clock jumps a day back"
AT_ONCE = "20 deploys at once"


@dataclass(frozen=True)
class Trial:
    """One fault at one step on one host.

    `number` and `seed` find it again. `behaviour` is the new release's. `delay` in seconds after the step's first trace;
    `freeze`: the engine stands still while the caller strikes. `runtime`: the release brings a new runtime. `rollback`: what is
    interrupted is a rollback to the release before.
    """

    number: int
    seed: int
    host: str
    fault: str
    step: str
    moment: str
    deed: str = "none"
    behaviour: str = GOOD
    delay: float = 0.0
    freeze: bool = False
    runtime: str = "standin-a"
    rollback: bool = False

    @property
    def title(self) -> str:
        return f"rollback: {self.fault}" if self.rollback else self.fault

    @property
    def label(self) -> str:
        return f"{self.title} at {self.step} on {self.host}"

    @property
    def needs_victims(self) -> bool:
        """Whether the injector must have found processes to strike at."""
        return self.freeze or self.deed.startswith(("kill", "cut", "silence"))

    @property
    def full(self) -> bool:
        return self.deed.startswith("full:")

    @property
    def clock(self) -> bool:
        return self.deed.startswith("clock:")

    @property
    def details(self) -> str:
        words = [f"number {self.number}", f"moment {self.moment}", f"{self.delay:.3f} s later"]
        words += [f"release {self.behaviour}"] if self.behaviour != GOOD else []
        words += ["engine frozen"] if self.freeze else []
        return ", ".join(words)


def random_kills(count: int, seed: int, hosts: list[str]) -> list[Trial]:
    """`count` interruptions; number n of a seed is the same whatever the count and whatever ran before."""
    return [_random_kill(number, seed, hosts[number % len(hosts)]) for number in range(count)]


def _random_kill(number: int, seed: int, host: str) -> Trial:
    dice = random.Random(f"{seed}:{number}")
    fault = dice.choice(KILLS)
    steps = [step for step in STEPS if not (fault == UNIT and step in _NO_UNIT)]
    step = dice.choice(steps)
    bad = step == "revert" or (step == "gate" and dice.random() < 0.3)
    behaviour = dice.choice(["exit", "exit", "impostor"]) if bad else GOOD
    longest = 1.5 if step == "gate" else 0.3
    return Trial(
        number,
        seed,
        host,
        fault,
        step,
        dice.choice(MOMENTS[step]),
        DEEDS[fault],
        behaviour,
        delay=dice.choice([0.0, dice.uniform(0, 0.02), dice.uniform(0, longest)]),
        freeze=fault in (CONTROLLER, HOST) and dice.random() < 0.5,
        runtime=dice.choice(["standin-a", "standin-a", "standin-b"]),
    )


def interruptions(seed: int, hosts: list[str]) -> Iterator[Trial]:
    """Every kill at the first moment of every step where it can be."""
    number = 0
    for step in STEPS:
        for fault in KILLS:
            if fault == UNIT and step in _NO_UNIT:
                continue
            yield Trial(
                1000 + number,
                seed,
                hosts[number % len(hosts)],
                fault,
                step,
                MOMENTS[step][-1],
                DEEDS[fault],
                "exit" if step == "revert" else GOOD,
                freeze=fault in (CONTROLLER, HOST),
                runtime="standin-b" if step == "stage" else "standin-a",
            )
            number += 1


def rollbacks(seed: int, hosts: list[str]) -> Iterator[Trial]:
    """The same kills in a rollback, at the steps that it has: it stages nothing, and here it has nothing to revert."""
    for trial in interruptions(seed, hosts):
        if trial.step not in ("stage", "revert"):
            yield replace(trial, number=trial.number + 5000, rollback=True)


def releases(seed: int, hosts: list[str]) -> Iterator[Trial]:
    """Releases that must not be kept, some that must, and one that cannot even go back."""
    kinds = [*NOT_TO_BE_KEPT.items(), *TO_BE_KEPT.items(), ("exit", CURSED)]
    for number, (behaviour, fault) in enumerate(kinds):
        moment, deed = ("gate", "curse") if fault == CURSED else ("", "none")
        yield Trial(2000 + number, seed, hosts[number % len(hosts)], fault, "gate", moment, deed, behaviour)


def full_disks(seed: int) -> Iterator[Trial]:
    """Each small file system without bytes or inodes, from each step on."""
    number = 0
    for mount in MOUNTS:
        for what in ("bytes", "inodes"):
            for step in STEPS:
                yield Trial(
                    3000 + number,
                    seed,
                    SMALL,
                    f"no {what} in {mount}",
                    step,
                    MOMENTS[step][0],
                    f"full:{mount}:{what}",
                    "exit" if step == "revert" else GOOD,
                    runtime="standin-b" if step == "stage" else "standin-a",
                )
                number += 1


def clock_jumps(seed: int, hosts: list[str]) -> Iterator[Trial]:
    """In the gate: a good release is kept, and one that never gets ready is given up in time, whatever the clock says."""
    # Debian 12's libfaketime lets no program sleep that may see the true monotonic clock.
    hosts = [host for host in hosts if not host.startswith("bookworm")]
    kinds = [(CLOCK_ON, GOOD), (CLOCK_BACK, GOOD), (CLOCK_BACK, "never-ready"), (CLOCK_ON, "never-ready")]
    for number, (fault, behaviour) in enumerate(kinds):
        deed = "clock:+86400" if fault == CLOCK_ON else "clock:-86400"
        yield Trial(4000 + number, seed, hosts[number % len(hosts)], fault, "gate", "gate", deed, behaviour)


def races(seed: int, hosts: list[str]) -> Iterator[Trial]:
    """Many deploys of different releases on one host at once."""
    for number, host in enumerate(hosts):
        yield Trial(5000 + number, seed, host, AT_ONCE, "lock", "")


def short(seed: int, hosts: list[str]) -> list[Trial]:
    """Every kill once, each at another step, and a few of every other kind: what four minutes allow."""
    kills = [
        trial
        for trial in interruptions(seed, hosts)
        # Steps in strides of three, so that each kill comes where it can hurt.
        if STEPS.index(trial.step) == (3 * KILLS.index(trial.fault) + 3) % len(STEPS)
    ]
    bad = [trial for trial in releases(seed, hosts) if trial.fault == CURSED or trial.behaviour == "impostor"]
    full = [
        trial
        for trial in full_disks(seed)
        if (trial.step, trial.deed.split(":", 1)[1])
        in (
            ("switch", "/var/lib/muster:inodes"),
            ("commit", "/var/lib/muster:bytes"),
            ("switch", "/etc/muster:bytes"),
        )
    ]
    back = [
        trial
        for trial in rollbacks(seed, hosts)
        if (trial.fault, trial.step) in ((HOST, "switch"), (ALL, "commit"), (CONTROLLER, "gate"))
    ]
    return [*kills, *bad, *random_kills(3, seed, hosts), *full, *back]
