# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What health checks conclude: who is ill, who may be restarted and when, and what people are told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import health
from ansible_collections.muster.agents.plugins.module_utils.engine.health import (
    DEAF,
    GAVE_UP,
    HEALTHY,
    HOUR,
    NOT_READY,
    RUNNING,
    STARTING,
    STOPPED,
    STUCK,
    BrokerProbe,
    Health,
    Look,
    Record,
    Restarts,
    Track,
    Verdict,
)

DEADLINE = 120.0
TICK = 5.0
PUBLISHED = {
    "liveness": {"delay": 30.0, "period": 10.0, "timeout": 5.0, "threshold": 3},
    "readiness": {"delay": 10.0, "period": 5.0, "timeout": 3.0, "threshold": 2},
}


@dataclass
class Life:
    """An agent that is looked at every five seconds: what is remembered and concluded, with both clocks the same."""

    how: Health = field(default_factory=Health)
    heartbeat: float | None = None
    now: float = 1e9
    up_since: float = 1e9
    process: int = 1
    track: Track = field(default_factory=Track)
    record: Record = field(default_factory=Record)
    told: list[str] = field(default_factory=list)

    def look(
        self,
        alive: str = "",
        ready: str = "",
        broker: str | None = None,
        phase: str = RUNNING,
        beat: str | None = None,
    ) -> str:
        self.now += TICK
        age = self.now - self.up_since
        turn = (
            health.due(self.track, self.how, str(self.process), age, self.now) if phase == RUNNING else set()
        )
        seen = Look(
            phase,
            str(self.process),
            age,
            f"unit is {phase}",
            alive if health.ALIVE in turn else None,
            ready if health.READY in turn else None,
            broker if health.BROKER in turn else None,
            beat if health.BROKER in turn else None,
        )
        self.track = health.follow(self.track, seen, self.how, DEADLINE, self.heartbeat, self.now)
        verdict = health.judge(self.track, seen, self.how, DEADLINE, self.record.state, self.now)
        self.record = health.settled(self.record, verdict, self.now)
        if health.to_tell(self.record, self.now):
            self.told.append(self.record.state)
            self.record = replace(self.record, told=self.record.state)
        return self.record.state

    def looks(self, count: int, **answers: str | None) -> str:
        return [self.look(**answers) for _ in range(count)][-1]  # type: ignore[arg-type]

    def start_anew(self) -> None:
        self.process, self.up_since = self.process + 1, self.now


@pytest.fixture
def well() -> Life:
    life = Life()
    assert life.looks(20) == HEALTHY
    assert life.told == []
    return life


def test_the_defaults_are_the_published_numbers() -> None:
    how = asdict(Health())
    assert {name: how[name] for name in PUBLISHED} == PUBLISHED
    assert Health().tick == 5.0
    assert health.from_dict(how) == Health() == health.from_dict(None)


def test_nothing_is_asked_before_its_delay_nor_twice_within_its_period() -> None:
    life = Life()
    asked: dict[str, list[float]] = {}
    for _ in range(40):
        before = life.track.asked_at
        life.look(broker="")
        for name, at in life.track.asked_at.items():
            if before.get(name) != at:
                asked.setdefault(name, []).append(at - life.up_since)
    assert asked["liveness"][:3] == [30, 40, 50]
    assert asked["readiness"][:3] == [10, 15, 20]
    assert asked["broker"][:3] == [10, 40, 70]


def test_two_bad_answers_in_a_row_are_not_ready_and_one_is_nothing(well: Life) -> None:
    assert well.look(ready="/ready answered 503") == HEALTHY
    assert well.look() == HEALTHY
    assert well.look(ready="/ready answered 503") == HEALTHY
    assert well.look(ready="/ready answered 503") == NOT_READY
    assert well.record.reason == "/ready answered 503"
    assert well.looks(2) == HEALTHY
    assert well.told == [NOT_READY, HEALTHY]


def test_three_missed_signs_of_life_are_stuck(well: Life) -> None:
    assert well.looks(4, alive="/live answered nothing", ready="no") == NOT_READY
    assert well.looks(2, alive="/live answered nothing", ready="no") == STUCK


def test_whom_the_broker_calls_unavailable_is_deaf_though_ready(well: Life) -> None:
    assert well.looks(12, broker="unavailable") == HEALTHY
    assert well.looks(6, broker="unavailable") == DEAF
    assert well.record.reason == "unavailable"


def test_three_missed_heartbeats_are_deaf() -> None:
    life = Life(heartbeat=20.0)
    for number in range(30):
        assert life.look(broker="", beat=f"beat {number}") in ("", HEALTHY)
    # 60 s of silence are allowed, and what the third look after that says counts.
    assert life.looks(18, broker="", beat="beat 29") == HEALTHY
    assert life.looks(24, broker="", beat="beat 29") == DEAF
    assert "no sign of it for" in life.record.reason


def test_who_is_cut_off_stays_deaf_until_its_process_ends(well: Life) -> None:
    well.track = replace(well.track, cut_off="the broker is younger")
    assert well.look(broker="") == DEAF
    assert well.looks(20, broker="") == DEAF
    well.start_anew()
    assert well.looks(10, broker="") == HEALTHY


@pytest.mark.parametrize(("age", "up"), [(100.0, None), (100.0, 100.0), (100.0, 88.0), (5.0, 0.0)])
def test_who_may_be_younger_than_the_broker_is_not_cut_off(age: float, up: float | None) -> None:
    """What a broker says of its uptime is up to ten seconds old."""
    assert health.cut_off(age, up) == ""
    assert up is None or health.cut_off(up + 13, up)


def test_without_a_known_heartbeat_an_old_status_says_nothing() -> None:
    life = Life()
    assert life.looks(1000, broker="", beat="long ago") == HEALTHY


def test_who_starts_has_time_until_the_deadline() -> None:
    life = Life()
    assert life.looks(int(DEADLINE / TICK), alive="no", ready="no", broker="unavailable") == ""
    assert life.looks(2, alive="no", ready="no", broker="unavailable") == NOT_READY


def test_who_tries_to_start_again_and_again_is_not_ready_in_the_end() -> None:
    life = Life()
    states = []
    for _ in range(30):
        states.append(life.looks(3, phase=STARTING))
        life.start_anew()
    assert states[int(2 * DEADLINE / TICK / 3) - 1] == ""
    assert states[-1] == NOT_READY
    assert "has been trying to start for" in life.record.reason
    assert life.told == [NOT_READY]


@pytest.mark.parametrize("phase", [GAVE_UP, STOPPED])
def test_a_unit_that_is_down_is_told_once(well: Life, phase: str) -> None:
    assert well.look(phase=phase) == HEALTHY
    assert well.looks(100, phase=phase) == phase
    assert well.told == [phase]
    assert well.record.reason == f"unit is {phase}"


def test_who_crashes_again_after_some_good_answers_has_not_recovered(well: Life) -> None:
    well.looks(2, phase=GAVE_UP)
    for _ in range(5):
        well.start_anew()
        assert well.looks(5) == GAVE_UP  # up for 25 s, and good all the time
        assert well.looks(2, phase=GAVE_UP) == GAVE_UP
    well.start_anew()
    assert well.looks(6) == HEALTHY
    assert well.told == [GAVE_UP, HEALTHY]


def test_whom_nobody_could_tell_is_told_again_after_five_minutes() -> None:
    failed = Record(state=STUCK, told=HEALTHY, tried_at=1000.0)
    assert not health.to_tell(failed, 1299.0)
    assert health.to_tell(failed, 1301.0)
    assert health.to_tell(failed, 10.0)  # the clock was set back


# --- how often somebody may be restarted ----------------------------------------------------------------------


def spread(policy: Restarts, hours: float, step: float = 5.0) -> list[float]:
    """When an agent that never recovers is restarted."""
    done: list[float] = []
    for now in range(0, int(hours * HOUR), int(step)):
        if now >= policy.next(done):
            done.append(float(now))
    return done


def test_pauses_double_and_four_an_hour_are_the_most() -> None:
    assert spread(Restarts(), 2.0) == [0, 60, 180, 420, 3600, 4080, 4200, 4440]


def test_none_where_they_are_switched_off() -> None:
    assert Restarts(most=0).next([]) == math.inf
    assert spread(Restarts(most=0), 5) == []


policies = st.builds(Restarts, wait=st.integers(1, 1800).map(float), most=st.integers(1, 12))


@given(policies, st.lists(st.integers(5, 4000), max_size=60))
def test_no_storm_whenever_somebody_is_ill(policy: Restarts, pauses: Sequence[int]) -> None:
    """At any moments at which an agent is found ill: each hour has its limit, each restart its pause."""
    done: list[float] = []
    now = 1e9
    for pause in pauses:
        now += pause
        if now >= policy.next(done):
            done.append(now)
    for index, one in enumerate(done):
        recent = [other for other in done[:index] if other > one - HOUR]
        assert len(recent) < policy.most
        if index and done[index - 1] > one - HOUR:
            streak = sum(other > done[index - 1] - HOUR for other in done[:index])
            assert one - done[index - 1] >= min(policy.wait * 2 ** (streak - 1), HOUR)


@given(policies, st.lists(st.floats(0, 2e9), max_size=20), st.floats(1e9, 1.1e9))
def test_whatever_the_clock_did_nobody_is_held_up_for_more_than_an_hour(
    policy: Restarts, restarts: Sequence[float], now: float
) -> None:
    record = health.settled(Record(restarts=tuple(restarts)), None, now)
    assert policy.next(record.restarts) <= now + HOUR


# --- any life at all ------------------------------------------------------------------------------------------

answers = st.sampled_from(["", "", "", "no"])
steps: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(dict, alive=answers, ready=answers, broker=st.sampled_from(["", "", "unavailable", None])),
    st.builds(dict, phase=st.sampled_from([RUNNING, STARTING, GAVE_UP, STOPPED])),
    st.just({"process": "another"}),
)


@given(st.lists(st.tuples(steps, st.integers(1, 15)), max_size=40))
def test_nobody_is_called_ill_without_a_reason_or_told_twice(
    course: Sequence[tuple[dict[str, Any], int]],
) -> None:
    life = Life()
    limits = {STUCK: ("liveness", 3), NOT_READY: ("readiness", 2), DEAF: ("broker", 3)}
    for step, count in course:
        for _ in range(count):
            before = life.record.state
            if "process" in step:
                life.start_anew()
                life.look()
            else:
                life.look(**step)
            found = life.record.state
            if found in (before, HEALTHY):
                continue
            name, least = limits.get(found, (found, 2))
            lingering = found == NOT_READY and "trying to start" in life.record.reason
            assert lingering or life.track.bad[name] >= least
            if found in limits and not lingering:
                assert life.track.was_ready or life.now - life.up_since >= DEADLINE
    changes = [one for one, last in zip(life.told, [HEALTHY, *life.told]) if one == last]
    assert changes == [], "people are told of changes only"


def test_a_broker_counts_as_away_by_the_most_impatient_of_its_agents() -> None:
    probes = [BrokerProbe(threshold=5), BrokerProbe(threshold=2)]
    assert [health.away(failures, probes) for failures in (0, 1, 2)] == [False, False, True]


def test_a_reason_may_change_while_the_state_stays() -> None:
    record = health.settled(Record(state=STUCK, since=5.0, reason="old"), Verdict(STUCK, "new"), 10.0)
    assert (record.since, record.reason) == (5.0, "new")
