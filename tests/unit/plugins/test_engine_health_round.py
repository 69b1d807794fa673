# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A round of health checks on a host: whom it restarts, whom it leaves alone, and what it tells."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import (
    cli,
    health_memory,
    health_round,
    health_timer,
    history,
    hold,
    hooks,
    mqtt,
    presence,
    systemd,
)
from ansible_collections.muster.agents.plugins.module_utils.engine import state as states
from ansible_collections.muster.agents.plugins.module_utils.engine.health import Record
from ansible_collections.muster.agents.plugins.module_utils.engine.health_known import Known
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Manifest
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, http_server
from tests.unit.plugins.small_host import NAMED, Host, host, version

__all__ = ["host"]
# Every answer counts at once, and nothing waits.
PROBE = {"delay": 0.0, "period": 1.0, "timeout": 1.0, "threshold": 1}
HEALTH = {
    "liveness": PROBE,
    "readiness": PROBE,
    "broker": {"period": 1.0, "timeout": 1.0, "threshold": 1, "heartbeats": 1},
    "restart": {"wait": 60.0, "most": 4},
}
WELL = {"/live": (200, ""), "/ready": (200, ""), "/health": (200, '{"agent_id": "writer-agent"}')}
SICK = {**WELL, "/live": (503, "key canary-of-today"), "/ready": (503, "key canary-of-today")}
NOBODY_LISTENS = "mqtt://127.0.0.1:1"


class Watched:
    """The agent `writer` on a small host, answered for by a server, with a command that notes what it is told."""

    def __init__(self, host: Host, restarted: list[str], log: Path) -> None:
        self.host, self.restarted, self._log = host, restarted, log

    def release(self, port: int, **changes: Any) -> None:
        gate = {"port": port, "ready": "/ready", "identity": "/health", "agent_id": "writer-agent"}
        self.host.release(
            version(
                1,
                gate={**gate, "deadline": 0.0, "min_healthy_time": 0.0},
                health=HEALTH,
                notify={"run": ["/bin/sh", "-c", f"cat >> {self._log}"], "timeout": 10, "user": "root"},
                **changes,
            )
        )

    def round(self, known: Known | None = None, due: Iterable[str] = ("/live", "/ready")) -> None:
        # A probe is made once in its period, which is a second here.
        memory = health_memory.recall(self.host.layout)
        asked_at = {
            "liveness": 0.0 if "/live" in due else time.monotonic(),
            "readiness": 0.0 if "/ready" in due else time.monotonic(),
            "broker": 0.0,
        }
        memory.tracks = {key: replace(one, asked_at=asked_at) for key, one in memory.tracks.items()}
        if memory.tracks:
            health_memory.keep(self.host.layout, memory)
        health_round.go(self.host.layout, known)

    @property
    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    @property
    def record(self) -> Record:
        return health_memory.recall(self.host.layout).records[KEY]


@pytest.fixture
def watched(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    restarted: list[str] = []
    monkeypatch.setattr(systemd, "restart", restarted.append)
    return Watched(host, restarted, tmp_path / "told")


@pytest.fixture
def sick(watched: Watched) -> Iterator[Watched]:
    """It answers, and says that it is not alive."""
    with http_server(SICK) as (port, _asked):
        watched.release(port)
        yield watched


def described_by(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> tuple[Known, list[str]]:
    """What rounds know of a host where systemd keeps its links, and the units that they have described, one after the other."""
    described: list[str] = []
    show = systemd.show

    def shown(names: Sequence[str]) -> dict[str, systemd.Unit]:
        described.extend(names)
        return show(names)

    monkeypatch.setattr(systemd, "show", shown)
    links = watched.host.layout.invocations
    links.mkdir(parents=True)
    (links / f"invocation:{UNIT}").symlink_to(RUNNING.invocation)
    return Known(watched.host.layout), described


def test_who_is_well_is_left_alone(watched: Watched) -> None:
    with http_server(WELL) as (port, _asked):
        watched.release(port)
        watched.round()
    assert (watched.record.state, watched.restarted, watched.told) == ("healthy", [], [])


def test_who_runs_on_is_neither_described_nor_identified_in_every_round(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, described = described_by(watched, monkeypatch)
    with http_server(WELL) as (port, asked):
        watched.release(port)
        for questions in (["/live", "/ready", "/health"], ["/ready"], ["/live", "/ready", "/health"]):
            asked.clear()
            watched.round(known, due={"/live", "/ready"} & set(questions))
            assert asked == questions
        assert described == [UNIT]
        link = watched.host.layout.invocations / f"invocation:{UNIT}"
        link.unlink()
        link.symlink_to("another")
        watched.round(known)
    assert described == [UNIT, UNIT]


@pytest.mark.parametrize(
    "by_now", [{"active": "activating", "sub": "auto-restart"}, {"invocation": "another"}]
)
def test_another_process_is_not_judged_by_what_the_one_before_answered(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, by_now: dict[str, str]
) -> None:
    known, _described = described_by(watched, monkeypatch)
    answers: dict[str, Any] = dict(WELL)
    with http_server(answers) as (port, _asked):
        watched.release(port)
        watched.round(known)
        answers.update(SICK)
        watched.host.units[UNIT] = replace(RUNNING, **by_now)
        watched.round(known)
        assert (watched.record.state, watched.restarted) == ("healthy", [])
        watched.host.units[UNIT] = replace(RUNNING, invocation="another")
        watched.round(known)
    assert watched.restarted == [UNIT]


def test_an_agent_that_was_another_one_stays_so_until_it_says_who_it_is(watched: Watched) -> None:
    known = Known(watched.host.layout)
    answers: dict[str, Any] = {**WELL, "/health": (200, '{"agent_id": "other"}')}
    with http_server(answers) as (port, _asked):
        watched.release(port)
        for due in ({"/live", "/ready"}, {"/ready"}):
            watched.round(known, due)
            assert watched.record.state == "not ready"
            assert "answered by agent 'other'" in watched.record.reason


def test_an_altered_manifest_is_seen_by_who_has_read_it_before(watched: Watched) -> None:
    known = Known(watched.host.layout)
    with http_server(WELL) as (port, asked):
        watched.release(port)
        watched.round(known)
        asked.clear()
        release = states.load(watched.host.layout).release(KEY) or ""
        path = watched.host.layout.release(KEY, release) / "manifest.json"
        path.write_text(path.read_text() + " ")
        watched.round(known)
        assert asked == []  # `muster status` says that it is damaged


def test_who_is_stuck_is_restarted_once_and_told_once(
    sick: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        sick.round()
    assert sick.restarted == [UNIT]
    (news,) = sick.told
    assert (news["agent"], news["state"], news["state_before"]) == ("writer", "stuck", "healthy")
    assert news["message"] == "writer is stuck: /live answered 503; restarted"
    (entry,) = history.read(sick.host.layout)
    assert (entry["via"], entry["result"], entry["name"]) == ("health", "restarted", "writer")
    assert entry["before"] == entry["after"] == states.load(sick.host.layout).release(KEY)
    said = capsys.readouterr().out
    assert said == "<4>writer is stuck: /live answered 503; restarted\n"
    assert "canary" not in said + json.dumps(sick.told) + (sick.host.layout.run / "health.json").read_text()


def test_after_its_pause_it_is_restarted_again_also_across_a_reboot(
    sick: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    sick.round()
    (sick.host.layout.run / "health.json").unlink()
    sick.round()
    assert sick.restarted == [UNIT]
    memory = health_memory.recall(sick.host.layout)
    memory.records[KEY] = replace(memory.records[KEY], restarts=(time.time() - 61,))
    health_memory.keep(sick.host.layout, memory)
    sick.round()
    assert sick.restarted == [UNIT, UNIT]
    assert len(sick.told) == 1
    assert capsys.readouterr().out.endswith("<4>writer is stuck: restarted\n")


def test_the_recovery_is_told(watched: Watched) -> None:
    answers: dict[str, Any] = dict(SICK)
    with http_server(answers) as (port, _asked):
        watched.release(port)
        watched.round()
        answers.update(WELL)
        watched.round()
    assert [one["state"] for one in watched.told] == ["stuck", "healthy"]
    assert watched.told[1]["message"] == "writer is healthy again"
    assert watched.told[1]["restarts"] == "1"


def test_a_held_agent_is_not_even_asked(watched: Watched) -> None:
    with http_server(SICK) as (port, asked):
        watched.release(port)
        hold.put(watched.host.layout, KEY, {"since": "", "user": "", "host": "", "note": ""})
        watched.round()
        assert asked == []
    assert watched.restarted == []


def test_nobody_is_touched_while_a_release_is_under_way(sick: Watched) -> None:
    state = states.load(sick.host.layout)
    state.transaction = {"began": 0.0, "before": {KEY: None}, "after": {KEY: "a" * 16}, "touched": {}}
    states.save(sick.host.layout, state)
    sick.round()
    assert (sick.restarted, sick.told) == ([], [])


def test_while_somebody_has_the_lock_a_restart_waits_for_the_next_round(sick: Watched) -> None:
    with locked(sick.host.layout, {"user": "ann", "host": "laptop"}):
        began = time.monotonic()
        sick.round()
        assert time.monotonic() - began < 4
    assert sick.restarted == []
    assert "held by ann from laptop" in sick.told[0]["message"]
    sick.round()
    assert sick.restarted == [UNIT]


def test_a_process_that_is_another_by_now_is_left_alone(
    sick: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = iter(["judged", "another"])
    ask = systemd.show

    def show(units: Sequence[str]) -> dict[str, systemd.Unit]:
        invocation = next(shown)
        return {name: replace(one, invocation=invocation) for name, one in ask(units).items()}

    monkeypatch.setattr(systemd, "show", show)
    sick.round()
    assert sick.restarted == []


def test_where_restarts_are_off_it_is_only_told(watched: Watched) -> None:
    with http_server(SICK) as (port, _asked):
        health = {**HEALTH, "restart": {"wait": 60.0, "most": 0}}
        gate = {"port": port, "ready": "/ready", "deadline": 0.0, "min_healthy_time": 0.0}
        watched.host.release(version(1, gate=gate, health=health))
        watched.round()
    assert watched.restarted == []
    assert watched.record.state == "stuck"


def test_who_is_not_ready_is_told_and_not_restarted(watched: Watched) -> None:
    with http_server({**WELL, "/ready": (503, "no model")}) as (port, _asked):
        watched.release(port)
        watched.round()
    assert watched.restarted == []
    assert watched.told[0]["message"] == "writer is not ready: /ready answered 503 no model"


def test_a_unit_that_systemd_gave_up_on_is_told_once_and_tried_again_within_limits(watched: Watched) -> None:
    watched.release(1)
    watched.host.units[UNIT] = replace(
        RUNNING, active="failed", sub="failed", result="start-limit-hit", pid=0
    )
    for _ in range(5):
        watched.round()
    assert watched.restarted == [UNIT]
    (news,) = watched.told
    assert news["message"] == (
        "writer is down, and systemd gave up on it: unit is failed (start-limit-hit); restarted"
    )


def with_broker(url: str) -> dict[str, Any]:
    about = {"url": url, "status_topic": "/control/agents/writer-agent/status", "heartbeat": None}
    return {"mqtt": {**about, "username": "writer-agent", "username_env": None, "password_env": None}}


def test_while_the_broker_is_away_nobody_is_restarted_and_that_is_what_is_told(watched: Watched) -> None:
    with http_server(SICK) as (port, _asked):
        watched.release(port, **with_broker(NOBODY_LISTENS))
        for _ in range(3):
            watched.round()
    assert watched.restarted == []
    (news,) = watched.told
    assert (news["broker"], news["state"]) == (NOBODY_LISTENS, "away")
    assert "no agent is restarted for that, and these wait: writer" in news["message"]
    assert watched.record.state == ""


def test_who_is_stuck_already_waits_for_its_broker_too(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server(SICK) as (port, _asked):
        watched.release(port, **with_broker(NOBODY_LISTENS))
        ill = Record(state="stuck", since=1.0, told="healthy")
        health_memory.keep(watched.host.layout, health_memory.Memory(records={KEY: ill}))
        watched.round()
        assert watched.restarted == []
        assert [one["state"] for one in watched.told] == ["away"]
        monkeypatch.setattr(mqtt, "read_several", lambda broker, topics, timeout: {})
        watched.round()
    assert watched.restarted == [UNIT]
    assert {(one["state"], "broker" in one) for one in watched.told[1:]} == {
        ("stuck", False),
        ("healthy", True),
    }


def test_who_connects_again_to_a_broker_that_is_back_has_a_while(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "read_several", lambda broker, topics, timeout: {})
    with http_server({**WELL, "/ready": (503, "no broker")}) as (port, _asked):
        watched.release(port, **with_broker("mqtt://broker"))
        watched.round()
        assert watched.told == []
        time.sleep(1)
        watched.round()
    assert [one["state"] for one in watched.told] == ["not ready"]


def test_a_secret_in_an_answer_reaches_nobody(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    cut_in_the_middle = "#" * 190 + "canary-of-today"
    with http_server({**WELL, "/ready": (503, cut_in_the_middle)}) as (port, _asked):
        watched.release(port)
        watched.round()
    kept = (watched.host.layout.run / "health.json").read_text()
    assert "********" in watched.told[0]["message"]
    assert "canary" not in kept + capsys.readouterr().out + json.dumps(watched.told)


def test_whom_the_broker_calls_unavailable_is_restarted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = b'{"status": "unavailable", "timestamp": "2026-01-01T00:00:00Z"}'
    monkeypatch.setattr(mqtt, "read_several", lambda broker, topics, timeout: dict.fromkeys(topics, status))
    with http_server(WELL) as (port, _asked):
        watched.release(port, **with_broker("mqtt://broker"))
        watched.round()
    assert watched.restarted == [UNIT]
    assert watched.told[0]["message"] == (
        "writer is deaf: its process is up, and the broker says that it is unavailable; restarted"
    )


@pytest.mark.parametrize("resubscribes", [False, True])
def test_who_is_older_than_the_broker_is_restarted_unless_it_subscribes_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, resubscribes: bool
) -> None:
    status = b'{"status": "available", "timestamp": "2026-01-01T00:00:00Z"}'

    def read(broker: mqtt.Broker, topics: Sequence[str], timeout: float) -> Mapping[str, bytes | None]:
        return {topic: b"35 seconds" if topic == "$SYS/broker/uptime" else status for topic in topics}

    monkeypatch.setattr(mqtt, "read_several", read)
    about = with_broker("mqtt://broker")
    about["mqtt"]["resubscribes"] = resubscribes
    with http_server(WELL) as (port, _asked):
        watched.release(port, **about)
        watched.round()
    assert watched.restarted == ([] if resubscribes else [UNIT])
    if not resubscribes:
        assert "writer is deaf: its broker was started anew 35 s ago, after it" in watched.told[0]["message"]


def test_a_message_that_reached_nobody_is_told_later(
    sick: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hooks, "execute", lambda *words, **more: hooks.Done("no"))
    monkeypatch.setattr(
        "ansible_collections.muster.agents.plugins.module_utils.engine.health_notify.execute", hooks.execute
    )
    sick.round()
    sick.round()
    assert capsys.readouterr().out.count("nobody was told of it: no; tried again in five minutes") == 1
    assert sick.record.told == "healthy"


def test_nobody_is_restarted_where_that_cannot_be_written_down(sick: Watched) -> None:
    sick.host.layout.run.parent.mkdir(parents=True)
    sick.host.layout.run.write_text("in the way")
    for _ in range(3):
        with pytest.raises(OSError):
            sick.round()
    assert sick.restarted == []


def test_on_a_full_disk_the_limit_holds(sick: Watched) -> None:
    (sick.host.layout.lib / "health.json").mkdir()  # as good as full, for root
    for _ in range(3):
        sick.round()
    assert sick.restarted == [UNIT]


def test_who_is_just_being_removed_is_not_told(watched: Watched) -> None:
    watched.release(1)
    watched.host.units[UNIT] = replace(RUNNING, active="inactive", sub="dead", pid=0)
    with locked(watched.host.layout, {"user": "ann", "host": "laptop"}):
        watched.round()
    assert watched.told == []
    watched.round()
    assert [one["state"] for one in watched.told] == ["stopped"]


# --- the command that is told ---------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_command_runs_as_its_user_with_nothing_of_root_s() -> None:
    done = hooks.execute("notify", ["/bin/sh", "-c", "id -u; id -G; exit 1"], {}, 10, "nobody", b"{}")
    assert done.log[0] != "0"
    assert "0" not in done.log[1].split()


def test_a_user_who_is_not_there_is_told() -> None:
    done = hooks.execute("notify", ["/bin/true"], {}, 10, "no-such-user", b"")
    assert done.reason == "notify: /bin/true: there is no user 'no-such-user' on this host"


def test_a_command_need_not_read_what_it_is_told() -> None:
    assert hooks.execute("notify", ["/bin/true"], {}, 10, None, b"x" * 60000).reason == ""


# --- what the broker says -------------------------------------------------------------------------------------


def test_one_login_asks_for_all_and_each_for_itself_where_it_must(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker of somebody else's shows each agent its own status only, lets c not in and d not read."""
    asked: list[str] = []

    def read(broker: mqtt.Broker, topics: Sequence[str], timeout: float) -> Mapping[str, bytes | None]:
        asked.append(broker.username or "")
        if broker.username == "c":
            raise mqtt.LoginRefused("wrong password")
        if broker.username == "d":
            return {}
        mine = b'{"status": "available", "timestamp": "now"}'
        return {topic: mine if topic == f"/{broker.username}" else None for topic in topics}

    monkeypatch.setattr(mqtt, "read_several", read)
    agents: dict[str, tuple[Manifest, Mapping[str, str]]] = {}
    for name in "abcd":
        about = {"url": "mqtt://b", "status_topic": f"/{name}", "username": name, "heartbeat": 5}
        agents[name] = (version(1, mqtt=about, secrets=NAMED).manifest, {})
    answer = presence.ask(agents, 1.0)
    assert asked == ["a", "b", "c", "d"]
    assert answer.said == {name: presence.Status("", "now") for name in "ab"}
    assert answer.unknown == {"c": "wrong password", "d": "it has no status there, or may not read it"}
    assert answer.up is None


# --- the timer ------------------------------------------------------------------------------------------------


def test_the_timer_comes_with_the_first_agent_and_goes_with_the_last(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.layout.units / health_timer.TIMER
    host.release(version(1))
    state = states.load(host.layout)
    assert health_timer.ensure(host.layout, state) == ""
    assert host.calls == [("enable", "--", path.name), ("restart", "--", path.name)]
    # A run that was killed here has enabled nothing, so the next one does.
    assert health_timer.ensure(host.layout, state) == ""
    assert host.calls[2:] == [("enable", "--", path.name), ("restart", "--", path.name)]
    enabled = path.parent / "timers.target.wants" / path.name
    enabled.parent.mkdir()
    enabled.symlink_to(path)
    host.calls.clear()
    assert health_timer.ensure(host.layout, state) == ""
    assert (path.exists(), host.calls) == (True, [])
    state.workloads.clear()
    monkeypatch.setattr(systemd, "run", lambda *words: host.calls.append(words))
    monkeypatch.setattr(systemd, "daemon_reload", lambda: None)
    assert health_timer.ensure(host.layout, state) == ""
    assert not path.exists()
    assert host.calls[-1] == ("systemctl", "stop", "--", path.name, health_timer.SERVICE)


def test_a_masked_timer_stays_masked(host: Host) -> None:
    host.release(version(1))
    path = host.layout.units / health_timer.TIMER
    path.symlink_to("/dev/null")
    assert health_timer.ensure(host.layout, states.load(host.layout)) == ""
    assert (path.is_symlink(), host.calls) == (True, [])


def test_rounds_follow_each_other_until_another_engine_is_there(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = watched.host.layout
    with http_server(WELL) as (port, asked):
        watched.release(port)
        began = time.monotonic()
        health_round.go_round(layout, seconds=2.5)
        assert 1.9 < time.monotonic() - began < 2.6
        assert asked.count("/ready") == 3
        monkeypatch.setattr(time, "sleep", lambda seconds: layout.engine.parent.mkdir(parents=True))
        monkeypatch.setattr(health_round, "_identity", lambda layout: layout.engine.parent.exists())
        health_round.go_round(layout)
    assert layout.engine.parent.exists()


# --- muster health --------------------------------------------------------------------------------------------


def shown(host: Host, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    return cli.main(["health", *words], host.layout), capsys.readouterr().out


def test_muster_health_shows_the_last_results(sick: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = shown(sick.host, capsys)
    assert code == 1 and "nobody looks after them: nobody has since the boot" in text
    sick.round()
    code, text = shown(sick.host, capsys, "writer")
    row = text.splitlines()[1].split()
    assert (code, row[:2], row[4:8]) == (1, ["writer", "stuck"], ["no", "no", "-", "1"])
    assert "writer: /live answered 503\n" in text
    code, text = shown(sick.host, capsys, "--json")
    (entry,) = json.loads(text)["agents"]
    assert (entry["state"], entry["reason"], len(entry["restarts"])) == ("stuck", "/live answered 503", 1)
    assert entry["probes"]["liveness"]["said"] == "/live answered 503"


def test_muster_health_is_0_where_all_is_well(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    with http_server(WELL) as (port, _asked):
        watched.release(port)
        watched.round()
    code, text = shown(watched.host, capsys)
    assert (code, len(text.splitlines())) == (0, 2)
    assert shown(watched.host, capsys, "nobody")[0] == 1


def test_what_cannot_be_read_is_learned_again(sick: Watched) -> None:
    for path in (sick.host.layout.run, sick.host.layout.lib):
        path.mkdir(parents=True, exist_ok=True)
        (path / "health.json").write_text('{"records": {"agents/writer": {"strange": 1}}, "tracks": 5')
    sick.round()
    assert sick.record.state == "stuck"
