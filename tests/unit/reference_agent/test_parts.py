# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The small parts: answered tasks, tool parameters, forbidden addresses, the breaker, masking, prices."""

from __future__ import annotations

import asyncio
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_agent import backoff, logs
from muster_agent.errors import ToolError
from muster_agent.llm import api_client, prices
from muster_agent.notify import Notifier
from muster_agent.seen import SeenTasks
from muster_agent.tools import http_request, schema, web_search


def test_answered_tasks_are_bounded_and_survive_a_crash(tmp_path: Path) -> None:
    ids = [str(uuid.uuid4()) for _ in range(25)]
    seen = SeenTasks(tmp_path, limit=5)
    for task_id in ids:
        seen.add(task_id)
    file = tmp_path / "answered-tasks"
    assert len(file.read_text().splitlines()) <= 10
    with file.open("a") as torn:
        torn.write(ids[0][:20])
    again = SeenTasks(tmp_path, limit=5)
    assert [task_id in again for task_id in ids] == [False] * 20 + [True] * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (None, "not a JSON object"),
        ({}, "query is missing"),
        ({"query": 1}, "must be of type string"),
        ({"query": "x", "num_results": True}, "must be of type integer"),
        ({"query": "x", "num_results": 21}, "at most 20"),
        ({"query": "x", "num_results": 0}, "at least 1"),
        ({"query": "x", "other": 1}, "no parameter other"),
    ],
)
def test_wrong_parameters_are_told_to_the_model(arguments: dict[str, Any] | None, words: str) -> None:
    assert words in (schema.problem(web_search.WebSearch.spec.parameters, arguments) or "")


def test_right_parameters_pass() -> None:
    assert schema.problem(web_search.WebSearch.spec.parameters, {"query": "x", "num_results": 3}) is None
    assert (
        schema.problem(http_request.HttpRequest.spec.parameters, {"url": "http://x", "method": "GET"}) is None
    )
    assert "one of" in (
        schema.problem(http_request.HttpRequest.spec.parameters, {"url": "x", "method": "TRACE"}) or ""
    )


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "0.0.0.0", "fd00:ec2::254"]
)
def test_metadata_and_link_local_addresses_are_refused(address: str) -> None:
    assert http_request.is_forbidden(address)
    assert not http_request.is_forbidden("192.0.2.1")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x", "http://", "http://a:b@c/", "http://x:99999/", "//x"]
)
def test_only_plain_web_addresses_are_requested(url: str) -> None:
    with pytest.raises(ToolError):
        http_request._split(url)


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6) | st.integers()))
def test_headers_cannot_break_out(headers: dict[str, Any]) -> None:
    try:
        kept = http_request._headers(headers)
    except ToolError:
        return
    assert not any(mark in name + value for name, value in kept.items() for mark in "\r\n\0")


def test_the_breaker_opens_after_repeated_failures_only() -> None:
    breaker = api_client.Breaker(limit=2, pause=60)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open


@given(st.integers(1, 10_000))
def test_backoff_grows_to_its_cap(attempt: int) -> None:
    wait = backoff.delay(attempt, base=0.5, cap=30)
    assert min(30, 0.5 * 2 ** min(attempt - 1, 20)) / 2 <= wait <= 30


def test_secrets_are_masked_in_log_lines() -> None:
    logs.hide(["canary-4711", "ab"])
    event = logs._mask(None, "", {"reason": "key canary-4711 refused about", "size": 3})
    assert event == {"reason": "key *** refused about", "size": 3}


def test_a_dated_model_costs_what_its_family_does() -> None:
    assert prices.lookup("openai", "gpt-4o-mini-2024-07-18") == prices.lookup("openai", "gpt-4o-mini")
    assert prices.lookup("anthropic", "claude-sonnet-4-20250514") is not None
    assert prices.lookup("openai", "gpt-4o-audio") is None
    assert prices.Price(1.0, 2.0).of(1000, 500) == 2.0


def test_what_the_service_manager_has_no_room_for_is_told_later(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        filled = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others, pytest.raises(BlockingIOError):
            others.setblocking(False)
            while True:
                others.sendto(b"STATUS=starting", path)
                filled += 1

        async def tell() -> list[str]:
            notifier = Notifier({"NOTIFY_SOCKET": path})
            notifier.ready("available")
            notifier.status("no broker")
            for _ in range(filled):
                assert manager.recv(4096) == b"STATUS=starting"
            with pytest.raises(BlockingIOError):
                manager.recv(4096)
            heard = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), 10)
            return heard.decode().splitlines()

        assert asyncio.run(tell()) == ["READY=1", "STATUS=no broker"]
