# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rounds of health checks: look at every agent here, judge, restart whom that helps, tell people what changed.

A round takes the host's lock only for the moment of a restart. While a release is under way its agents are not looked at, and
nobody is restarted.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from . import (
    gate,
    health,
    health_memory,
    health_notify,
    health_timer,
    hold,
    names,
    presence,
    secret_files,
    status,
    systemd,
)
from .errors import Busy, EngineError
from .health import Look, Record, Track, Verdict
from .health_known import Known
from .health_memory import Memory
from .http_get import Asked
from .layout import KINDS, Layout
from .lock import HEALTH, locked
from .manifest import Manifest
from .mask import masked, secret_values
from .mqtt import BrokerError
from .state import State, load, record
from .systemd import Unit
from .table import written

_AGENTS = KINDS["agent"] + "/"
_PROBES_AT_ONCE = 32
_TOLD_AT_ONCE = 8
# So many restarts in one round at most: all agents of a host at once would be a storm, and hold the lock for long.
_RESTARTS_AT_ONCE = 4
RESTARTED = "restarted"


@dataclass
class Agent:
    """One agent in the course of a round."""

    layout: Layout
    key: str
    document: Manifest
    unit: Unit
    look: Look
    track: Track
    record: Record
    due: set[str] = field(default_factory=set)
    note: str = ""  # what is said of it beside its state
    action: str = ""  # what was done about it in this round

    @property
    def name(self) -> str:
        return names.name_of(self.key)

    @functools.cached_property
    def secrets(self) -> Mapping[str, str]:
        """Read only for who needs them: a round comes every few seconds, and to decrypt them is a program for each."""
        return secret_files.read(self.layout, self.key)

    @property
    def broker(self) -> str | None:
        return str(self.document.mqtt["url"]) if self.document.mqtt else None

    @property
    def heartbeat(self) -> float | None:
        return (self.document.mqtt or {}).get("heartbeat")

    def verdict(self, now: float) -> Verdict | None:
        return health.judge(
            self.track, self.look, self.document.health, self.document.gate.deadline, self.record.state, now
        )


def go_round(layout: Layout, seconds: float = health_timer.SECONDS) -> None:
    """Round after round, for so long, or until another engine takes this one's place. Raises as `go` does."""
    engine, end, known = _identity(layout), time.monotonic() + seconds, Known(layout)
    while True:
        began = time.monotonic()
        every = go(layout, known)
        if time.monotonic() + every > end or _identity(layout) != engine:
            return
        time.sleep(max(0.0, began + every - time.monotonic()))


def _identity(layout: Layout) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = layout.engine.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def go(layout: Layout, known: Known | None = None) -> float:
    """One round; the seconds from its beginning to the next one's. `known`: from the rounds before.

    Raises EngineError where the host's state cannot be read, OSError where nothing can be written.
    """
    memory, state = health_memory.recall(layout), load(layout)
    now, known = time.monotonic(), known or Known(layout)
    agents = list(_agents(layout, state, memory, known, now))
    _probe(agents)
    _look_again(agents, known, now)
    away = _ask_brokers(memory, agents, now)
    _judge_brokers(memory, agents, away)
    for agent in agents:
        agent.track = health.follow(
            agent.track,
            _masked(agent),
            agent.document.health,
            agent.document.gate.deadline,
            agent.heartbeat,
            now,
        )
        verdict = agent.verdict(now)
        if agent.broker in away:
            agent.note = f"its broker is not there: {away[agent.broker]}"
            # What a broker that is away explains is no news of the agent's own, and no restart would help.
            verdict = None
        elif verdict is not None and verdict.state == health.NOT_READY and _just_back(memory, agent):
            verdict = None  # it may need a while to connect again
        agent.record = health.settled(agent.record, verdict, time.time())
    _restart(layout, memory, agents, away)
    _tell(memory, agents, away)
    _remember(memory, state, agents)
    memory.every = min((one.document.health.tick for one in agents), default=health.Health().tick)
    warning = health_memory.keep(layout, memory)
    if warning and any(agent.action == RESTARTED for agent in agents):
        _say(4, warning)
    return memory.every


def _agents(layout: Layout, state: State, memory: Memory, known: Known, now: float) -> Iterable[Agent]:
    """Those to look at: not who is held, who is being released, or whose release is damaged (`muster status` says so).

    Who is down while somebody works on this host may just be on its way out.
    """
    worked_on = status.holder(layout) is not None
    busy = (state.transaction or {}).get("after", {})
    keys = [key for key in sorted(state.workloads) if key.startswith(_AGENTS) and key not in busy]
    keys = [key for key in keys if hold.held(layout, key) is None]
    for seen in status.look(layout, state, keys, known.show, known.read):
        if seen.document is None or (worked_on and not seen.unit.running):
            continue
        yield Agent(
            layout=layout,
            key=seen.key,
            document=seen.document,
            unit=seen.unit,
            look=_look(seen.unit, now),
            track=memory.tracks.get(seen.key, Track()),
            record=memory.records.get(seen.key, Record()),
        )


def _look(unit: Unit, now: float) -> Look:
    age = max(0.0, now - unit.active_since) if unit.running else 0.0
    return Look(_phase(unit), unit.invocation, age, _words(unit))


def _words(unit: Unit) -> str:
    return f"unit is failed ({unit.result})" if unit.active == "failed" else status.words(unit)


def _phase(unit: Unit) -> str:
    if unit.job or unit.active in ("activating", "deactivating"):
        return health.STARTING
    if unit.running:
        return health.RUNNING
    return health.GAVE_UP if unit.active == "failed" else health.STOPPED


def _probe(agents: Iterable[Agent]) -> None:
    """Ask every agent whose turn it is, many at once."""

    def ask(agent: Agent) -> None:
        if agent.look.phase != health.RUNNING:
            return
        how, about = agent.document.health, agent.document.gate
        agent.due = health.due(agent.track, how, agent.look.invocation, agent.look.age, time.monotonic())
        with Asked(about.host, about.port) as asked:
            if health.ALIVE in agent.due:
                agent.look = replace(agent.look, alive=gate.alive(about, asked, how.liveness.timeout))
            if health.READY in agent.due:
                answer = gate.ready(about, asked, how.readiness.timeout, identify=not _is_itself(agent))
                agent.look = replace(agent.look, ready=answer)

    with concurrent.futures.ThreadPoolExecutor(max_workers=_PROBES_AT_ONCE) as pool:
        list(pool.map(ask, agents))


def _is_itself(agent: Agent) -> bool:
    """Whether this process answered as the right agent when it was last asked. It is asked who it is with every look at whether
    it lives, not with those between."""
    same = agent.track.invocation == agent.look.invocation
    return same and agent.track.said.get(health.READY) == "" and health.ALIVE not in agent.due


def _look_again(agents: Iterable[Agent], known: Known, now: float) -> None:
    """Who did not answer well may have been on its way out or down, or is another process by now: that one was not asked."""
    doubtful = [one for one in agents if one.look.alive or one.look.ready]
    units = known.show_again(one.unit.name for one in doubtful)
    for agent in doubtful:
        unit = units[agent.unit.name]
        if (unit.invocation, _phase(unit)) != (agent.unit.invocation, agent.look.phase):
            agent.unit, agent.look = unit, _look(unit, now)


def _ask_brokers(memory: Memory, agents: Iterable[Agent], now: float) -> dict[str, str]:
    """Fill in what the brokers say of their agents; URL -> why, for those that are not there.

    A broker is asked when it is an agent's turn, and whenever one of its agents is about to be called ill or to be restarted.
    """
    by_broker: dict[str, list[Agent]] = {}
    for agent in agents:
        if agent.broker:
            by_broker.setdefault(agent.broker, []).append(agent)
    away = {}
    for url, group in by_broker.items():
        if memory.failures.get(url) or any(health.BROKER in one.due or _is_news(one, now) for one in group):
            try:
                _ask(group)
                memory.failures[url] = 0
            except BrokerError as error:
                memory.failures[url] = memory.failures.get(url, 0) + 1
                away[url] = str(error)
    return away


def _is_news(agent: Agent, now: float) -> bool:
    """Whether this round will call it ill, or restart it."""
    how, deadline = agent.document.health, agent.document.gate.deadline
    track = health.follow(agent.track, agent.look, how, deadline, None, now)
    verdict = health.judge(track, agent.look, how, deadline, agent.record.state, now)
    if verdict is None or verdict.state not in health.BAD:
        return False
    return verdict.state != agent.record.state or (
        verdict.state in health.CURED_BY_RESTART and time.time() >= how.restart.next(agent.record.restarts)
    )


def _ask(group: list[Agent]) -> None:
    timeout = max(agent.document.health.broker.timeout for agent in group)
    answer = presence.ask({one.key: (one.document, one.secrets) for one in group}, timeout)
    for agent in group:
        if agent.look.phase == health.RUNNING and not (agent.document.mqtt or {}).get("resubscribes"):
            agent.look = replace(agent.look, cut_off=health.cut_off(agent.look.age, answer.up))
        found = answer.said.get(agent.key)
        if found is None:
            agent.note = f"the broker does not say how it is: {answer.unknown[agent.key]}"
        elif agent.look.phase == health.RUNNING and agent.look.age >= agent.document.health.readiness.delay:
            agent.look = replace(agent.look, broker=found.complaint, beat=found.beat)


def _judge_brokers(memory: Memory, agents: Iterable[Agent], away: Mapping[str, str]) -> None:
    probes: dict[str, list[health.BrokerProbe]] = {}
    for agent in agents:
        if agent.broker:
            probes.setdefault(agent.broker, []).append(agent.document.health.broker)
    for url, several in probes.items():
        failures = memory.failures.get(url)
        if failures is None:
            continue  # nobody has asked it yet
        verdict = Verdict(health.HEALTHY) if failures == 0 else None
        if health.away(failures, several):
            verdict = Verdict(health.AWAY, away.get(url, ""))
        memory.records[url] = health.settled(memory.records.get(url, Record()), verdict, time.time())


def _just_back(memory: Memory, agent: Agent) -> bool:
    """Whether its broker has been there for no longer than the broker's word on an agent needs to count."""
    how, broker = agent.document.health.broker, memory.records.get(agent.broker or "")
    return broker is not None and 0 <= time.time() - broker.since < how.period * how.threshold


def _masked(agent: Agent) -> Look:
    """What an agent answers may hold anything, also its own secrets."""
    if not (agent.look.alive or agent.look.ready):
        return agent.look
    hide = secret_values({agent.key: agent.secrets})
    return replace(
        agent.look,
        alive=None if agent.look.alive is None else masked(agent.look.alive, hide),
        ready=None if agent.look.ready is None else masked(agent.look.ready, hide),
    )


# --- restarts -------------------------------------------------------------------------------------------------


def _restart(layout: Layout, memory: Memory, agents: list[Agent], away: Mapping[str, str]) -> None:
    """Restart whom it helps and whose turn it is, unless a release is under way: then the next round will.

    Raises OSError, with nobody restarted, where it cannot be written down first: limits that are forgotten are none.
    """
    now = time.time()
    ill = [one for one in agents if one.broker not in away and one.verdict(time.monotonic()) is not None]
    ill = [one for one in ill if one.record.state in health.CURED_BY_RESTART]
    turn = [one for one in ill if now >= one.document.health.restart.next(one.record.restarts)]
    for agent in ill:
        agent.action = _why_not(agent, now)
    turn = turn[:_RESTARTS_AT_ONCE]
    if not turn:
        return
    who = {"user": "muster", "host": socket.gethostname()}
    try:
        with locked(layout, {**who, "via": HEALTH}):
            state = load(layout)
            units = systemd.show([agent.unit.name for agent in turn])
            sure = [agent for agent in turn if _still_so(layout, state, agent, units[agent.unit.name])]
            for agent in turn:
                agent.action = "not restarted, as somebody else is at it"
            for agent in sure:
                agent.record = replace(agent.record, restarts=(*agent.record.restarts, now))
            _remember(memory, state, agents)
            health_memory.keep(layout, memory)
            for agent in sure:
                _restart_one(layout, agent, who, now)
    except Busy as error:
        for agent in turn:
            agent.action = f"to be restarted when the host is no longer {error}"


def _why_not(agent: Agent, now: float) -> str:
    when = agent.document.health.restart.next(agent.record.restarts)
    if agent.document.health.restart.most < 1:
        return "not restarted, since restarts are switched off"
    if now < when:
        return f"restarted {_times(agent.record.restarts, now)} in the last hour; again at {written(when)}"
    return "to be restarted in the next round"


def _times(restarts: Iterable[float], now: float) -> str:
    count = sum(one > now - health.HOUR for one in restarts)
    return "once" if count == 1 else f"{count} times"


def _still_so(layout: Layout, state: State, agent: Agent, unit: Unit) -> bool:
    """With the lock held: the process is the one that was judged, and nobody else has plans with it."""
    return (
        state.transaction is None
        and state.release(agent.key) == agent.document.release
        and hold.held(layout, agent.key) is None
        and (unit.invocation, unit.active, unit.job) == (agent.unit.invocation, agent.unit.active, 0)
    )


def _restart_one(layout: Layout, agent: Agent, who: Mapping[str, str], now: float) -> None:
    reason = f"{agent.record.state}: {agent.record.reason}"
    result = agent.action = RESTARTED
    try:
        systemd.restart(agent.unit.name)
    except EngineError as error:
        result, agent.action = "failed", f"could not be restarted: {error}"
        reason += f"; {agent.action}"
    release = agent.document.release
    about = {"who": dict(who), "via": HEALTH, "key": agent.key, "name": agent.name, "reason": reason}
    warning = record(layout, {**about, "before": release, "after": release, "result": result})
    if warning or not health.to_tell(agent.record, now):  # else that is told with the news
        _say(
            4,
            "; ".join(
                filter(
                    None,
                    [f"{agent.name} is {health_notify.words(agent.record.state)}: {agent.action}", warning],
                )
            ),
        )


# --- telling people -------------------------------------------------------------------------------------------


def _tell(memory: Memory, agents: list[Agent], away: Mapping[str, str]) -> None:
    """Tell each change once, of agents and of brokers, at the same time; who could not be told is told later."""
    now = time.time()
    news = [
        (
            one.key,
            one.record,
            health_notify.of_agent(one.document, one.record, one.action),
            one.document.notify,
        )
        for one in agents
        if one.broker not in away and health.to_tell(one.record, now)
    ]
    for url in sorted({one.broker for one in agents if one.broker}):
        found = memory.records.get(url, Record())
        if health.to_tell(found, now):
            several = [one for one in agents if one.broker == url]
            command = next((one.document.notify for one in several if one.document.notify), None)
            waiting = [one.name for one in several]
            news.append((url, found, health_notify.of_broker(url, found, waiting), command))
    by_key = {one.key: one for one in agents}
    with concurrent.futures.ThreadPoolExecutor(max_workers=_TOLD_AT_ONCE) as pool:
        done = list(pool.map(lambda one: health_notify.tell(one[3], one[2]), news))
    for (key, found, facts, _command), trouble in zip(news, done):
        _say(5 if found.state == health.HEALTHY else 4, facts["MUSTER_MESSAGE"])
        if trouble:
            _say(4, f"nobody was told of it: {trouble}; tried again in five minutes")
        after = replace(found, tried_at=now) if trouble else replace(found, told=found.state, tried_at=0.0)
        if key in by_key:
            by_key[key].record = after
        else:
            memory.records[key] = after


def _say(priority: int, text: str) -> None:
    """A line for the journal, with syslog's number for how much it matters. The unit lets through what matters at all."""
    for line in text.splitlines():
        sys.stdout.write(f"<{priority}>{line}\n")
    with contextlib.suppress(OSError):
        sys.stdout.flush()


def _remember(memory: Memory, state: State, agents: Iterable[Agent]) -> None:
    """Nothing of agents and brokers that are gone; of one that was not looked at, what was known."""
    looked = {one.key: one for one in agents}
    brokers = {one.broker for one in looked.values() if one.broker}
    there = {key for key in memory.records if key in state.workloads or key in brokers}
    if any(key.startswith(_AGENTS) and key not in looked for key in state.workloads):
        there |= {
            key for key in memory.records if "://" in key
        }  # it may be the broker of who was not looked at
    memory.records = {
        **{key: memory.records[key] for key in there},
        **{key: one.record for key, one in looked.items()},
    }
    memory.failures = {
        url: count for url, count in memory.failures.items() if url in memory.records or url in brokers
    }
    memory.tracks = {key: one.track for key, one in looked.items()}
    memory.notes = {
        key: "; ".join(filter(None, [one.note, one.action]))
        for key, one in looked.items()
        if one.note or one.action
    }
    memory.at = time.time()
