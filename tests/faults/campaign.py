# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trials, carried out and judged: on every host one after the other, on all hosts at once; and the table of what came of it."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.shell import Failure
from tests.faults import trials
from tests.faults.lab import (
    DEPLOY_SECONDS,
    FAKE_CLOCK,
    SMALL,
    TRUE_CLOCK,
    Deploy,
    Injector,
    Machine,
    Playbook,
    Played,
    RollingBack,
    Running,
)
from tests.faults.trials import Trial

# What a host has beside the release's own deadline to be in order again.
GRACE = 30.0
_NEVER = "not reached"
RACERS = 20
# What a deploy that comes too late is told: somebody else is at it, or has been since it staged; or it never got through, as
# Ansible gives up on sudo after 12 s on a host that twenty deploys keep busy.
_TOLD = ("busy: held by", "deploy again", "unreachable: Timeout")
_LEFTOVERS = (
    "/run/muster/* /var/lib/muster/.[!.]* /var/lib/muster/agents/*/.[!.]* /var/lib/muster/agents/*/releases/.[!.]* "
    "/opt/muster/runtimes/.[!.]* /etc/muster/secrets/.[!.]* /usr/local/lib/muster/.[!.]*"
)


@dataclass
class Report:
    """What came of one trial. `step` is the one that the fault really fell into."""

    trial: Trial
    step: str
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    converged: float = 0.0
    ended_on: str = ""
    output: str = ""

    @property
    def row(self) -> str:
        verdict = "VIOLATION" if self.violations else "ok"
        return (
            f"{self.trial.number:>5} {self.trial.host:<11} {self.trial.title} at {self.step}: {verdict},"
            f" in order after {self.converged:.1f} s on the {self.ended_on or '?'} release ({self.seconds:.0f} s in all)"
        )


class Host:
    """What the suite remembers of one host between trials."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.now = Deploy("0")
        self.facts: dict[str, Any] = {}  # of each agent, as the judge last saw them
        self._deploys = 0

    def settle(self, trial: Trial) -> None:
        """Get the host into order before a first trial, or after one that left it otherwise: nothing of this is judged."""
        machine = self.machine
        machine.try_(f"rm -f /etc/faults-curse; {TRUE_CLOCK}")
        if machine.name == SMALL:
            machine.give_room()
        for _ in range(3):
            self.now = Deploy(self.next_value(trial))
            done = Running(machine.name, self.now).result()
            if done.code == 0:
                machine.try_(f"rm -rf {_LEFTOVERS}")
                break
        verdict = machine.judge(allowed={machine.target: [self.now.pair]}, settled=True)
        if done.code != 0 or verdict["violations"]:
            raise Failure(f"{machine.name} cannot be mended: {verdict['violations']}\n{done.output[-3000:]}")
        self.facts = verdict["facts"]

    def processes(self, *but: str) -> dict[str, list[int]]:
        """Agent → [process id, start time]."""
        return {name: [one["pid"], one["started"]] for name, one in self.facts.items() if name not in but}

    def next_value(self, trial: Trial) -> str:
        self._deploys += 1
        return f"{trial.number}-{self._deploys}"


def run_trial(host: Host, trial: Trial) -> Report:
    """Interrupt one release, judge, deploy again, and once more. A fault that came too late comes again, without delay."""
    report = _one_trial(host, trial)
    if report.step == _NEVER and trial.delay and not report.violations:
        report = _one_trial(host, dataclasses.replace(trial, delay=0.0))
    return report


def _one_trial(host: Host, trial: Trial) -> Report:
    begun = time.monotonic()
    report = Report(trial, trial.step)
    try:
        if trial.fault == trials.AT_ONCE:
            _race(host, trial, report)
        else:
            _run(host, trial, report)
    except Failure as failure:
        report.violations.append(f"the suite could not go on: {failure}")
    report.seconds = time.monotonic() - begun
    return report


def _run(host: Host, trial: Trial, report: Report) -> None:
    machine, old = host.machine, host.now
    same = host.processes(machine.target)
    new = _deploy_of(trial, host.next_value(trial))
    if trial.fault == trials.CURSED:
        # The old release must be one that can be cursed.
        old = _released(host, Deploy(host.next_value(trial), "cursed"))
    if trial.rollback:
        # What runs now is what it goes back to, with the secret of what comes in between.
        before, old = old, _released(host, Deploy(host.next_value(trial)))
        new = dataclasses.replace(before, secret_of=old.value)
    if trial.step == "prune":
        # Something to prune there is only after many releases; what nobody recorded is pruned, too.
        machine.run(
            f"mkdir -p /var/lib/muster/agents/{machine.target}/releases/{'0' * 16}; "
            f"touch /var/lib/muster/agents/{machine.target}/releases/{'0' * 16}/stray"
        )
    if trial.clock:
        machine.run(FAKE_CLOCK)
    played = _interrupt(host, trial, new, report)
    limit = max(new.deadline, old.deadline) + GRACE
    if trial.fault == trials.HOST:
        machine.wait_for_boot()
        same = {}
    _after_the_fault(host, report, trial, [old, new], same, limit)
    _controller_told(report, trial, played, new)
    if trial.full:
        machine.give_room()
    if trial.fault == trials.CURSED:
        machine.run("rm -f /etc/faults-curse")
    if trial.clock:
        _jumped(report, machine)
        machine.run(TRUE_CLOCK)
    kept = new.behaviour == trials.GOOD
    good = Deploy(new.value, runtime=new.runtime) if kept else Deploy(host.next_value(trial))
    _next_deploys(host, report, good, same)


def _released(host: Host, deploy: Deploy) -> Deploy:
    """Have this one on the host first. Raises Failure."""
    host.now = deploy
    if Running(host.machine.name, deploy).result().code != 0:
        raise Failure(f"release {deploy.value}, with which the trial begins, could not be deployed")
    return deploy


def _next_deploys(host: Host, report: Report, good: Deploy, same: dict[str, list[int]]) -> None:
    """The next deploy is normal, and at the latest the one after it has nothing to do, which disturbs nobody at all."""
    machine = host.machine
    host.now = good
    for what in ("the next deploy", "a second deploy"):
        done = Running(machine.name, good).result()
        idle = done.changed() == 0
        if done.code != 0 or (what == "a second deploy" and not idle):
            report.violations.append(f"{what}: exit code {done.code}, changed={done.changed()}")
            report.output += done.output[-3000:]
            return
        undisturbed = host.processes() if idle else same
        verdict = machine.judge(allowed={machine.target: [good.pair]}, settled=True, same=undisturbed)
        _clean(report, verdict, f"after {what}")
        host.facts = verdict["facts"]
        if idle or report.violations:
            return


def _race(host: Host, trial: Trial, report: Report) -> None:
    """Deploys of different releases at once: some win, one after the other; the others are told why not."""
    machine = host.machine
    same = host.processes(machine.target)
    deploys = [Deploy(host.next_value(trial)) for _ in range(RACERS)]
    running = [Running(machine.name, deploy) for deploy in deploys]
    ended = [one.result(4 * DEPLOY_SECONDS) for one in running]
    winners = [deploy for deploy, played in zip(deploys, ended) if played.code == 0]
    report.ended_on = f"new (of {len(winners)} that won)"
    allowed = {machine.target: [deploy.pair for deploy in winners]}
    verdict = machine.judge(allowed=allowed, same=same, wait=deploys[0].deadline + GRACE)
    report.converged, host.facts = verdict["seconds"], verdict["facts"]
    _clean(report, verdict, "after the race")
    for played in ended:
        if played.code != 0 and not any(word in played.output for word in _TOLD):
            report.violations.append("a deploy that lost was not told why")
            report.output += played.output[-2000:]
    _next_deploys(host, report, Deploy(host.next_value(trial)), same)


def _deploy_of(trial: Trial, value: str) -> Deploy:
    if trial.behaviour == "good":
        return Deploy(value, runtime=trial.runtime)
    if trial.behaviour.startswith("exit-after"):
        return Deploy(value, trial.behaviour, deadline=20, min_healthy_time=6)
    deadline = 30.0 if trial.behaviour in trials.TO_BE_KEPT else 6.0
    return Deploy(value, trial.behaviour, runtime=trial.runtime, deadline=deadline)


def _interrupt(host: Host, trial: Trial, new: Deploy, report: Report) -> Played:
    """Deploy, and let the fault happen; returns how the deploy ended."""
    machine = host.machine
    if not trial.moment:
        return Running(machine.name, new).result()
    asked = {
        "step": trial.moment,
        "deed": trial.deed,
        "delay": trial.delay,
        "freeze": trial.freeze,
        "min_healthy": new.min_healthy_time * 0.8,
    }
    with Injector(machine, **asked) as injector:
        running = _begun(machine, trial, new)
        found = injector.struck(running)
        if found["struck"] and trial.fault == trials.CONTROLLER:
            found["struck"] = running.kill()
        if found["struck"] and trial.fault == trials.HOST:
            machine.kill_and_start()
        injector.go_on()
    # Who comes too late has killed nobody: that is no trial.
    hit = found["struck"] and (found["victims"] or not trial.needs_victims)
    report.step = trials.STEP_OF[found["step"]] if hit else _NEVER
    report.output += f"seen were {found['steps']} {found.get('died', '')}"
    if trial.fault == trials.SILENCE and hit:
        return _silent(machine, trial, running, new, found["victims"])
    return running.result()


def _begun(machine: Machine, trial: Trial, new: Deploy) -> Playbook:
    """What is to be interrupted, on its way."""
    if trial.rollback:
        return RollingBack(machine.name, machine.target, new)
    return Running(machine.name, new)


def _silent(machine: Machine, trial: Trial, running: Playbook, new: Deploy, victims: list[int]) -> Played:
    """Nothing tells the controller that its link is dead: somebody gives up, once the host has had its time."""
    machine.judge(wait=new.deadline + GRACE)
    running.kill()
    machine.try_(f"kill -KILL {' '.join(map(str, victims))}")
    return running.result()


def _after_the_fault(
    host: Host,
    report: Report,
    trial: Trial,
    either: list[Deploy],
    same: dict[str, list[int]],
    limit: float,
) -> None:
    """The host is in order by itself, on one release or the other; which one, where the fault decides it."""
    machine = host.machine
    old, new = either
    allowed = [one.pair for one in either]
    if trial.behaviour not in (trials.GOOD, *trials.TO_BE_KEPT):
        allowed = [old.pair]
    if trial.behaviour in trials.TO_BE_KEPT or (trial.clock and trial.behaviour == trials.GOOD):
        allowed = [new.pair]
    if trial.fault == trials.CURSED:
        _nothing_healthy(report, machine, same)
        return
    verdict = machine.judge(allowed={machine.target: allowed}, same=same, wait=limit)
    report.converged = verdict["seconds"]
    host.facts = verdict["facts"]
    value = verdict["facts"].get(machine.target, {}).get("value")
    report.ended_on = {old.value: "old", new.value: "new"}.get(value, "")
    _clean(report, verdict, "while there was no room" if trial.full else f"{limit:.0f} s after the fault")


def _nothing_healthy(report: Report, machine: Machine, same: dict[str, list[int]]) -> None:
    """Neither release can run: nobody else is disturbed, nothing is left open."""
    verdict = machine.judge(same=same, wait=0)
    others = [line for line in verdict["violations"] if not line.startswith(f"{machine.target}: ")]
    report.violations += [f"when neither release could run: {line}" for line in others]


def _controller_told(report: Report, trial: Trial, played: Played, new: Deploy) -> None:
    """What the person at the controller saw: no secret, and success only where there was one."""
    if "canary-faults" in played.output:
        report.violations.append("the deploy's output shows a secret")
    if "Traceback" in played.output:
        report.violations.append("the deploy's output shows a traceback")
    if played.code == 0 and report.ended_on == "old":
        report.violations.append("the deploy said 0, and the host is on the old release")
    if trial.fault == trials.CURSED and (played.code == 0 or "not healthy either" not in played.output):
        report.violations.append("the deploy did not say that neither release is healthy")
    if trial.behaviour in trials.TO_BE_KEPT and played.code != 0:
        report.violations.append(f"the deploy said {played.code} of a release that was good")
    report.output += f"\nthe deploy ended with {played.code}:\n{played.output[-3000:]}\n"


def _jumped(report: Report, machine: Machine) -> None:
    """Whether the engine saw the clock jump at all: what it wrote last into its history is a day off."""
    now, line = machine.run("date +%s; tail -n 1 /var/lib/muster/history.jsonl").splitlines()
    written = datetime.strptime(json.loads(line)["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    if abs(written - int(now)) < 80000:
        report.violations.append("the clock did not jump, so nothing was tested")


def _clean(report: Report, verdict: dict[str, Any], when: str) -> bool:
    report.violations += [f"{when}: {line}" for line in verdict["violations"]]
    return not verdict["violations"]


def run_trials(
    machines: dict[str, Machine],
    wanted: Iterable[Trial],
    tell: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Carry out all trials; those of one host in their order, hosts side by side."""
    queues: dict[str, list[Trial]] = defaultdict(list)
    for trial in wanted:
        queues[trial.host].append(trial)
    reports: list[Report] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        host = Host(machines[name])
        in_order = False
        for trial in queues[name]:
            if not in_order:
                host.settle(trial)
            report = run_trial(host, trial)
            in_order = not report.violations
            with lock:
                reports.append(report)
                tell(report)

    with ThreadPoolExecutor(max_workers=max(1, len(queues))) as pool:
        list(pool.map(work, queues))
    return sorted(reports, key=lambda report: report.trial.number)


def table(reports: Iterable[Report]) -> str:
    """fault × step × runs × violations."""
    runs: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for report in reports:
        cell = runs[report.trial.title, report.step]
        cell[0] += 1
        cell[1] += bool(report.violations)
    order = (*trials.STEPS, _NEVER)
    width = max((len(fault) for fault, _ in runs), default=5)
    lines = [f"{'fault':<{width}}  {'step':<12} {'runs':>5} {'violations':>11}"]
    for (fault, step), (count, bad) in sorted(
        runs.items(), key=lambda one: (one[0][0], order.index(one[0][1]))
    ):
        lines.append(f"{fault:<{width}}  {step:<12} {count:>5} {bad:>11}")
    total, bad = (sum(cell[index] for cell in runs.values()) for index in (0, 1))
    lines.append(f"{'in all':<{width}}  {'':<12} {total:>5} {bad:>11}")
    return "\n".join(lines)


def complaint(report: Report) -> str:
    """What a violation is, and how to see it again."""
    trial = report.trial
    again = f"python -m tests.faults --seed {trial.seed} --only {trial.number}"
    return "\n".join(
        [
            f"{trial.label} ({trial.details})",
            *(f"  {line}" for line in report.violations),
            f"  again: {again}",
        ]
    )
