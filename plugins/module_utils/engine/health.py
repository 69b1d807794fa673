# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What health checks conclude from what they see. Everything here is a pure function: no clock, no file, no agent is asked.

Times called `now`, `age` and `*_at` are seconds of the monotonic clock. The times of restarts are seconds since the epoch,
because they must mean the same after a reboot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

HEALTHY, NOT_READY, STUCK, DEAF, GAVE_UP, STOPPED = (
    "healthy",
    "not ready",
    "stuck",
    "deaf",
    "gave up",
    "stopped",
)
AWAY = "away"  # of a broker
BAD = frozenset({NOT_READY, STUCK, DEAF, GAVE_UP, STOPPED, AWAY})
CURED_BY_RESTART = frozenset({STUCK, DEAF, GAVE_UP})
# What systemd says of a unit, as far as it matters here.
RUNNING, STARTING = "running", "starting"

ALIVE, READY, BROKER = "liveness", "readiness", "broker"
HOUR = 3600.0
# A timer's ticks come a little early or late; a probe must not miss its turn for that. Seconds, and a share of its period.
_EARLY, _EARLY_SHARE = 1.0, 0.2


@dataclass(frozen=True)
class Probe:
    """First asked `delay` seconds after the start, then each `period`; `threshold` answers in a row count."""

    delay: float
    period: float
    timeout: float
    threshold: int


@dataclass(frozen=True)
class BrokerProbe:
    """The agent's retained status. An agent that sends heartbeats may miss `heartbeats` of them."""

    period: float = 30.0
    timeout: float = 5.0
    threshold: int = 3
    heartbeats: int = 3


@dataclass(frozen=True)
class Restarts:
    """At most `most` within an hour; after the first `wait` seconds pass before the next, then twice as many, and so on."""

    wait: float = 60.0
    most: int = 4

    def next(self, done: Sequence[float]) -> float:
        """When the next one may come, infinity for never. `done`: when there were some."""
        if self.most < 1:
            return math.inf
        last = max(done, default=-math.inf)
        recent = sorted(one for one in done if one > last - HOUR)
        if not recent:
            return -math.inf
        pause = min(self.wait * 2.0 ** (len(recent) - 1), HOUR)
        full = recent[-self.most] + HOUR if len(recent) >= self.most else -math.inf
        return max(last + pause, full)


@dataclass(frozen=True)
class Health:
    """How an agent is looked after. The defaults are the published numbers."""

    liveness: Probe = Probe(30.0, 10.0, 5.0, 3)
    readiness: Probe = Probe(10.0, 5.0, 3.0, 2)
    broker: BrokerProbe = BrokerProbe()
    restart: Restarts = Restarts()

    @property
    def tick(self) -> float:
        """How often somebody has to look, in seconds."""
        return min(self.liveness.period, self.readiness.period, self.broker.period)


PARTS = {"liveness": Probe, "readiness": Probe, "broker": BrokerProbe, "restart": Restarts}


def from_dict(raw: Mapping[str, Any] | None) -> Health:
    """What `dataclasses.asdict` made of a Health. Raises TypeError for keys that are none."""
    return Health(**{name: PARTS[name](**part) for name, part in (raw or {}).items()})


@dataclass(frozen=True)
class Look:
    """What was seen of an agent just now: its process (`invocation`, up for `age` seconds, `phase`), and what it answered.

    An answer is "" where it was good, else what was wrong; None where there was no question. `beat` is the time that the
    agent wrote into its status, None where it is not known. `cut_off`: why it cannot hear, where that is certain.
    """

    phase: str
    invocation: str = ""
    age: float = 0.0
    words: str = ""
    alive: str | None = None
    ready: str | None = None
    broker: str | None = None
    beat: str | None = None
    cut_off: str = ""


@dataclass(frozen=True)
class Track:
    """What is remembered of one agent from look to look, until the host reboots.

    Counts are of answers in a row: `good` of readiness, `bad` by probe. `asked_at` says when each probe was last made.
    `starting_at`: since when the agent has been on its way up, through any number of processes. `cut_off`: as in Look, and true
    for as long as the process lives.
    """

    invocation: str = ""
    was_ready: bool = False
    good: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    asked_at: Mapping[str, float] = field(default_factory=dict)
    beat: str = ""
    beat_at: float | None = None
    starting_at: float | None = None
    cut_off: str = ""


@dataclass(frozen=True)
class Verdict:
    state: str
    reason: str = ""


def due(track: Track, health: Health, invocation: str, age: float, now: float) -> set[str]:
    """Which probes to make now of a process that runs."""
    asked = track.asked_at if track.invocation == invocation else {}
    found = {
        name
        for name, probe in ((ALIVE, health.liveness), (READY, health.readiness))
        if age >= probe.delay and _is_time(asked.get(name), probe.period, now)
    }
    if age >= health.readiness.delay and _is_time(asked.get(BROKER), health.broker.period, now):
        found.add(BROKER)
    return found


# A broker says how long it has been up every ten seconds.
_OLD_NEWS = 12.0


def cut_off(age: float, broker_up: float | None) -> str:
    """Why a process that does not subscribe again hears nothing any more, "" where it may. Both in seconds, and `broker_up` as
    the broker last said: one that began after the process did has none of its subscriptions."""
    if broker_up is None or age <= broker_up + _OLD_NEWS:
        return ""
    return (
        f"its broker was started anew {broker_up:.0f} s ago, after it, and its runtime is not known to subscribe again "
        "(resubscribes)"
    )


def _is_time(last: float | None, period: float, now: float) -> bool:
    return last is None or now - last >= period - min(_EARLY, period * _EARLY_SHARE)


def follow(
    track: Track, look: Look, health: Health, deadline: float, heartbeat: float | None, now: float
) -> Track:
    """What is remembered after this look.

    Until an agent was ready once, bad answers do not count for `deadline` seconds: it is starting. `heartbeat`: seconds.
    """
    if look.phase not in (RUNNING, STARTING):
        return replace(track, bad={**track.bad, look.phase: track.bad.get(look.phase, 0) + 1}, good=0)
    if look.invocation != track.invocation or look.phase == STARTING:
        track = Track(look.invocation, starting_at=track.starting_at)
    was_ready = track.was_ready or look.ready == ""
    counts = was_ready or look.age >= deadline
    bad = {name: count for name, count in track.bad.items() if name in (ALIVE, READY, BROKER)}
    said, asked = dict(track.said), dict(track.asked_at)
    beat, beat_at = track.beat, track.beat_at
    broker = look.broker
    if look.beat is not None and (look.beat != beat or beat_at is None):
        beat, beat_at = look.beat, now
    if broker == "" and look.beat is not None and heartbeat:
        silent = now - (now if beat_at is None else beat_at)
        if silent > health.broker.heartbeats * heartbeat + health.broker.period:
            broker = f"the broker has had no sign of it for {silent:.0f} s; one is due every {heartbeat:g} s"
    for name, answer in ((ALIVE, look.alive), (READY, look.ready), (BROKER, broker)):
        if answer is not None:
            asked[name], said[name] = now, answer
            bad[name] = bad.get(name, 0) + 1 if answer and counts else 0
    starting_at = None if was_ready else now if track.starting_at is None else track.starting_at
    good = track.good if look.ready is None else track.good + 1 if look.ready == "" else 0
    cut_off = look.cut_off or track.cut_off
    return Track(look.invocation, was_ready, good, bad, said, asked, beat, beat_at, starting_at, cut_off)


def judge(
    track: Track, look: Look, health: Health, deadline: float, before: str, now: float
) -> Verdict | None:
    """What an agent is now, None while nobody can say. `before`: what it was; who was ill must last to count as well."""
    if look.phase not in (RUNNING, STARTING):
        if track.bad.get(look.phase, 0) < health.readiness.threshold:
            return None
        return Verdict(look.phase, look.words)
    if look.phase == RUNNING:
        for state, name, threshold in (
            (STUCK, ALIVE, health.liveness.threshold),
            (DEAF, BROKER, health.broker.threshold),
            (NOT_READY, READY, health.readiness.threshold),
        ):
            if track.bad.get(name, 0) >= threshold:
                return Verdict(state, track.said[name])
            if state == DEAF and track.cut_off:
                return Verdict(DEAF, track.cut_off)
        lasting = before not in BAD or look.age >= health.liveness.delay
        if lasting and track.good >= health.readiness.threshold and not any(track.bad.values()):
            return Verdict(HEALTHY)
    if track.starting_at is not None and now - track.starting_at > 2 * deadline:
        minutes = (now - track.starting_at) / 60
        return Verdict(
            NOT_READY, f"has been trying to start for {minutes:.0f} minutes; {look.words}".rstrip("; ")
        )
    return None


@dataclass(frozen=True)
class Record:
    """What outlives a reboot: what an agent (or a broker) was last found to be, and what was done and told about it.

    `since` and `tried_at`, when somebody was last told or could not be, in seconds since the epoch. `told`: the state that
    people know of.
    """

    state: str = ""
    since: float = 0.0
    reason: str = ""
    told: str = HEALTHY
    tried_at: float = 0.0
    restarts: tuple[float, ...] = ()


_REMEMBERED = 24 * HOUR
_TELL_AGAIN = 300.0  # seconds after somebody could not be told


def settled(record: Record, verdict: Verdict | None, now: float) -> Record:
    """The record after a verdict; `now` since the epoch. Restarts that the clock, set back since, puts into the future
    count as of now: they hold others up for their hour and no longer."""
    restarts = tuple(min(one, now) for one in record.restarts if one > now - _REMEMBERED)
    record = replace(record, restarts=restarts)
    if verdict is None:
        return record
    if verdict.state == record.state:
        return replace(record, reason=verdict.reason)
    return replace(record, state=verdict.state, since=now, reason=verdict.reason)


def to_tell(record: Record, now: float) -> bool:
    """Whether people do not know yet what is so. Whom it did not reach is told again later."""
    return bool(record.state) and record.state != record.told and not 0 <= now - record.tried_at < _TELL_AGAIN


def away(failures: int, probes: Iterable[BrokerProbe]) -> bool:
    """Whether a broker that failed so often in a row counts as away."""
    return failures >= min(probe.threshold for probe in probes)
