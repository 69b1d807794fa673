# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate: healthy means answered, by this agent, by the same process, for long enough."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import systemd
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import (
    Watch,
    judge,
    probe,
    start_and_gate,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import RECORD, RELOAD, RESTART
from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import Unit
from tests.unit.plugins.builders import RUNNING, gate, http_server, with_gate

START = 1000.0
GOOD = ""
BEFORE = replace(RUNNING, invocation="old", pid=50)
CRASHED = replace(
    RUNNING, active="failed", sub="failed", result="exit-code", pid=0, exit_code=1, exit_status=3
)
AGAIN = replace(CRASHED, active="activating", sub="auto-restart")

Look = tuple[float, Unit, str | None]


def watch(action: str = RESTART, **changes: object) -> Watch:
    """One of a restart that began at START: 10 s until the deadline, 3 s to be healthy."""
    return Watch(with_gate(), action, old_invocation="old", started=START, **changes)  # type: ignore[arg-type]


def after(looks: Sequence[Look], one: Watch | None = None) -> Watch:
    """The watch after these looks, at seconds since the start; all but the last leave the verdict open."""
    one = one or watch()
    for seconds, unit, answer in looks:
        assert one.verdict is None
        judge(one, unit, answer, START + seconds)
    return one


def test_a_journal_that_does_not_answer_keeps_nobody_from_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def journal(*words: object) -> list[str]:
        raise EngineError("journalctl --quiet gave no answer within 90 s")

    crashed = replace(RUNNING, active="failed", result="exit-code", exit_code=1, pid=0)
    monkeypatch.setattr(systemd, "show", lambda names: dict.fromkeys(names, crashed))
    monkeypatch.setattr(systemd, "journal", journal)
    both = [watch(RECORD), watch(RECORD)]
    start_and_gate(both, 8)
    assert [(one.log, "exited with status 0" in (one.verdict or "")) for one in both] == [([], True)] * 2


# --- healthy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "verdict"), [(3.9, None), (4.0, "")])
def test_it_is_healthy_after_min_healthy_time_and_not_before(seconds: float, verdict: str | None) -> None:
    one = after([(1.0, RUNNING, GOOD), (2.5, RUNNING, GOOD), (seconds, RUNNING, GOOD)])
    assert one.verdict == verdict
    assert one.healthy == (verdict == "")
    assert one.seconds == pytest.approx(seconds)


def test_one_bad_answer_starts_the_time_again() -> None:
    looks = [(1.0, RUNNING, GOOD), (3.5, RUNNING, "/ready answered 503"), (4.0, RUNNING, GOOD)]
    assert after([*looks, (6.9, RUNNING, GOOD)]).verdict is None
    assert after([*looks, (6.9, RUNNING, GOOD), (7.0, RUNNING, GOOD)]).healthy


def test_answers_while_it_is_not_active_do_not_count() -> None:
    starting = replace(RUNNING, active="activating", sub="start")
    assert after([(1.0, starting, GOOD), (4.5, starting, GOOD), (5.0, RUNNING, GOOD)]).verdict is None


def test_without_min_healthy_time_one_good_answer_is_enough() -> None:
    one = Watch(with_gate(min_healthy_time=0.0), RESTART, old_invocation="old", started=START)
    assert after([(0.2, RUNNING, GOOD)], one).healthy


def test_the_first_start_of_a_unit_counts() -> None:
    one = Watch(with_gate(min_healthy_time=0.0), RESTART, old_invocation="", started=START)
    assert after([(0.2, RUNNING, GOOD)], one).healthy


# --- the process before this one ----------------------------------------------------------------------------


def test_the_old_process_is_not_believed() -> None:
    """The restart is queued; the old process still runs and answers well."""
    assert after([(0.1, BEFORE, GOOD), (3.5, BEFORE, GOOD), (4.0, RUNNING, GOOD)]).verdict is None


def test_restarts_of_the_old_process_are_no_crash_of_the_new_one() -> None:
    looks = [(0.1, replace(BEFORE, restarts=7), GOOD), (1.0, RUNNING, GOOD), (4.0, RUNNING, GOOD)]
    assert after(looks).healthy


def test_a_stop_that_takes_for_ever_ends_too() -> None:
    stopping = replace(BEFORE, active="deactivating", sub="stop-sigterm")
    one = after([(5.0, stopping, "no answer yet"), (100.1, stopping, "no answer yet")])
    assert one.verdict == "not ready within 10 s: no answer yet"


def test_the_old_process_may_take_its_time_to_stop() -> None:
    stopping = replace(BEFORE, active="deactivating", sub="stop-sigterm")
    slow = [(9.0, stopping, "no answer yet"), (18.0, RUNNING, "/ready answered 503"), (18.5, RUNNING, "")]
    assert after(slow).verdict is None
    assert after([*slow, (21.6, RUNNING, "")]).verdict == ""
    assert "not ready" in (after([*slow[:2], (19.1, RUNNING, "/ready answered 503")]).verdict or "")


# --- crashes end the wait at once ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (CRASHED, "exited with status 3 after 0.4 s"),
        (AGAIN, "exited with status 3 after 0.4 s"),
        (
            replace(CRASHED, result="signal", exit_code=2, exit_status=9),
            "was killed by signal 9 (signal) after 0.4 s",
        ),
        (
            replace(CRASHED, result="oom-kill", exit_code=2, exit_status=9),
            "was killed by signal 9 (oom-kill) after 0.4 s",
        ),
        (
            replace(CRASHED, result="core-dump", exit_code=3, exit_status=11),
            "was killed by signal 11 (core-dump) after 0.4 s",
        ),
        (
            replace(CRASHED, result="start-limit-hit", exit_code=0),
            "ended with result 'start-limit-hit' after 0.4 s",
        ),
        (replace(CRASHED, result="timeout", exit_code=0), "ended with result 'timeout' after 0.4 s"),
    ],
)
def test_a_crash_is_told_at_once_and_in_words(unit: Unit, words: str) -> None:
    assert after([(0.4, unit, "port 20001: Connection refused")]).verdict == words


def test_a_crash_between_two_looks_is_noticed_by_the_count_of_restarts() -> None:
    one = after([(1.0, RUNNING, GOOD), (2.0, replace(RUNNING, restarts=1, pid=101), GOOD)])
    assert one.verdict
    assert "after 2.0 s" in one.verdict


def test_another_process_is_not_the_one_that_was_watched() -> None:
    one = after([(1.0, RUNNING, GOOD), (2.0, replace(RUNNING, pid=101), GOOD)])
    assert one.verdict == "its main process changed from 100 to 101 while it was watched"


def test_a_start_that_fails_before_it_has_an_id_of_its_own_is_a_failure() -> None:
    assert after([(0.4, replace(CRASHED, invocation="old"), "no answer yet")]).verdict


# --- the deadline -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "/ready answered 503 no broker",
        "port 20001 is answered by agent 'other', not 'writer-agent'",
        "port 20001: Connection refused",
    ],
)
def test_the_deadline_tells_the_last_answer(answer: str) -> None:
    one = after([(1.0, RUNNING, "/ready answered nothing"), (10.1, RUNNING, answer)])
    assert one.verdict == f"not ready within 10 s: {answer}"


def test_a_moment_before_the_deadline_nothing_is_said() -> None:
    assert after([(9.9, RUNNING, "/ready answered 503")]).verdict is None


# --- reload -------------------------------------------------------------------------------------------------


def test_a_reload_of_what_was_restarted_long_ago_is_fine() -> None:
    unit = replace(RUNNING, restarts=4)
    one = Watch(with_gate(), RELOAD, started=START, pid=100, restarts=4)
    assert after([(0.5, unit, GOOD), (3.5, unit, GOOD)], one).healthy


def test_a_reload_that_kills_the_process_is_not() -> None:
    for unit in (replace(RUNNING, restarts=5, pid=101), replace(RUNNING, restarts=4, pid=101), CRASHED):
        one = Watch(with_gate(), RELOAD, started=START, pid=100, restarts=4)
        judge(one, unit, GOOD, START + 0.5)
        assert one.verdict, unit


# --- only looking -------------------------------------------------------------------------------------------


def look() -> Watch:
    """At a process that ran before and is left alone."""
    return Watch(with_gate(), RECORD, started=START, pid=100, restarts=4, invocation="new")


def test_a_process_that_was_left_alone_is_looked_at() -> None:
    unit = replace(RUNNING, restarts=4)
    assert after([(0.5, unit, GOOD), (3.4, unit, GOOD)], look()).verdict is None
    assert after([(0.5, unit, GOOD), (3.5, unit, GOOD)], look()).healthy
    assert "not ready" in (after([(10.1, unit, "/ready answered 503")], look()).verdict or "")


@pytest.mark.parametrize(
    "unit",
    [
        replace(RUNNING, restarts=5),
        replace(RUNNING, restarts=4, invocation="newer"),
        replace(CRASHED, restarts=4),
        replace(AGAIN, restarts=4),
        replace(RUNNING, restarts=4, active="inactive", sub="dead", pid=0),
    ],
)
def test_one_that_ends_while_it_is_looked_at_is_not_healthy(unit: Unit) -> None:
    assert after([(0.5, unit, GOOD)], look()).verdict


# --- between two looks --------------------------------------------------------------------------------------


def test_another_start_than_the_one_that_was_watched_is_a_crash() -> None:
    """systemd 247 counts restarts anew after some; the id of a start never comes again."""
    one = after([(1.0, RUNNING, GOOD), (1.5, replace(RUNNING, invocation="newer", pid=0), GOOD)])
    assert one.verdict


def test_a_start_that_is_queued_behind_a_crashed_process_is_waited_for() -> None:
    queued = replace(AGAIN, invocation="old", job=7)
    assert after([(0.1, queued, "no answer yet"), (1.0, RUNNING, GOOD), (4.0, RUNNING, GOOD)]).healthy


def test_a_start_that_never_came_about_ends_the_wait() -> None:
    """Its condition failed, or somebody cancelled the job."""
    assert after([(0.4, replace(BEFORE, active="inactive", sub="dead", pid=0), "no answer yet")]).verdict


def test_a_main_process_that_ends_well_is_gone_all_the_same() -> None:
    gone = replace(RUNNING, active="inactive", sub="dead", pid=0, exit_code=1)
    assert after([(1.0, RUNNING, GOOD), (2.0, gone, GOOD)]).verdict == "exited with status 0 after 2.0 s"


def test_no_new_answer_is_neither_good_nor_bad() -> None:
    looks: list[Look] = [(1.0, RUNNING, GOOD), (2.0, RUNNING, None), (4.5, RUNNING, None)]
    assert after(looks).verdict is None
    assert after([*looks, (4.6, RUNNING, GOOD)]).healthy
    assert after([*looks, (4.6, CRASHED, None)]).verdict == "exited with status 3 after 4.6 s"


# --- the probe, against a real server -----------------------------------------------------------------------


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def peer(said: bytes) -> Iterator[int]:
    """The port of something that says this to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


ME = json.dumps({"status": "healthy", "agent_id": "writer-agent"})


def test_the_right_agent_that_is_ready_is_content() -> None:
    with http_server({"/ready": (200, "ok"), "/health": (200, ME)}) as (port, asked):
        assert probe(gate(port)) == ""
        assert asked == ["/ready", "/health"]


def test_an_agent_that_says_it_is_stale_is_still_itself() -> None:
    with http_server({"/ready": (200, "ok"), "/health": (503, ME)}) as (port, _):
        assert probe(gate(port)) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, "broker not connected"), "/ready answered 503 broker not connected"),
        ((204, ""), "/ready answered 204"),
        ((500, ""), "/ready answered 500"),
        ((301, ""), "/ready answered 301"),
    ],
)
def test_an_agent_that_is_not_ready_is_quoted(answer: tuple[int, str], words: str) -> None:
    with http_server({"/ready": answer, "/health": (200, ME)}) as (port, _):
        assert probe(gate(port)) == words


def test_another_agent_on_the_port_is_named() -> None:
    with http_server({"/ready": (200, "ok"), "/health": (200, '{"agent_id": "other"}')}) as (port, _):
        assert probe(gate(port)) == f"port {port} is answered by agent 'other', not 'writer-agent'"


def test_another_agent_with_a_long_name_is_not_quoted_whole() -> None:
    with http_server({"/ready": (200, "ok"), "/health": (200, f'{{"agent_id": "{"x" * 9000}"}}')}) as (
        port,
        _,
    ):
        assert len(probe(gate(port))) < 400


@pytest.mark.parametrize(
    "body",
    [
        "",
        "ok",
        "[]",
        "null",
        '"writer-agent"',
        '{"agent_id": null}',
        '{"agent_id": [["writer-agent"]]}',
        '{"id": "writer-agent"}',
        pytest.param('{"agent_id": ' + "[" * 60000, id="deep"),
        pytest.param('{"agent_id": ' + "9" * 60000 + "}", id="long"),
        b"\xff\0",
    ],
)
def test_something_else_on_the_port_is_not_taken_for_the_agent(body: str | bytes) -> None:
    with http_server({"/ready": (200, "ok"), "/health": (200, body)}) as (port, _):
        assert probe(gate(port)) == f"port {port} is answered by agent None, not 'writer-agent'"


def test_an_agent_without_an_identity_is_asked_for_its_readiness_only() -> None:
    with http_server({"/up": (200, "")}) as (port, asked):
        assert probe(gate(port, ready="/up", identity=None)) == ""
        assert asked == ["/up"]


def test_nothing_listening_is_said(unused_port: int) -> None:
    assert probe(gate(unused_port)) == "/ready answered nothing (Connection refused)"
    assert probe(gate(unused_port, ready=None)) == f"port {unused_port}: Connection refused"


def test_a_service_without_http_needs_only_to_take_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert probe(gate(server.getsockname()[1], ready=None)) == ""


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_a_peer_that_does_not_speak_http_is_not_ready(said: bytes) -> None:
    with peer(said) as port:
        assert probe(gate(port)).startswith("/ready answered ")
