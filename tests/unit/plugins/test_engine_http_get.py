# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Questions to an agent: whatever it answers, and however slowly, there is an answer or a reason in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine.http_get import (
    Answer,
    Asked,
    NoAnswer,
    answer,
)
from tests.unit.plugins.builders import few, http_server

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"4;name=value\r\nsome\r\nA\r\n bytes are\r\n0\r\nTrailer: yes\r\n\r\n"


@contextmanager
def server(
    *said: bytes | None, pause: float = 0.0, host: str = "127.0.0.1"
) -> Iterator[tuple[int, list[bytes]]]:
    """(port, requests) of one that says the next of these, byte for byte with a pause, to each request; it hangs up where there
    is None, and then takes the next connection."""
    heard: list[bytes] = []
    try:
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listening:

        def serve() -> None:
            answers = list(said)
            while answers:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(ConnectionError):  # who asks has given up
                    while answers:
                        request = connection.recv(65536)
                        word = answers.pop(0)
                        if not request or word is None:
                            break
                        heard.append(request)
                        _say(connection, word, pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], heard
        thread.join(5)


def _say(connection: socket.socket, word: bytes, pause: float) -> None:
    for start in range(len(word)) if pause else [0]:
        connection.sendall(word[start : start + 1] if pause else word)
        time.sleep(pause)


# --- what an answer is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FINE, Answer(200, b"ok", last=False)),
        (FINE + b" and more", Answer(200, b"ok", last=False)),
        (b"HTTP/1.0 503 \r\ncontent-length:1\r\n\r\nx", Answer(503, b"x", last=True)),
        (b"HTTP/1.1 404\r\nCONNECTION: Close\r\nContent-Length: 0\r\n\r\n", Answer(404, b"", last=True)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, b"", last=False)),
        (b"HTTP/1.1 200 OK\n\ntill the end", Answer(200, b"till the end", last=True)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
            Answer(200, b"some bytes are", last=False),
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + FINE, Answer(200, b"ok", last=False)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + FINE, Answer(200, b"ok", last=False)),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            Answer(200, b"", last=True),
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70000, Answer(200, b"x" * 65536, last=True)),
    ],
)
def test_an_answer_is_read(data: bytes, expected: Answer) -> None:
    assert answer(data, ended=True) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\nsome",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nsome",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    ],
)
def test_what_is_none_is_refused_without_waiting_for_more(data: bytes) -> None:
    with pytest.raises(NoAnswer):
        answer(data, ended=False)


PIECES = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 100 C\r\n\r\n",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
            b"\r\n",
            b"\n",
            b"0",
            b"9" * 4301,
            b"-1",
            b"f" * 200,
            b"x" * 70000,
            b"\xff\x00",
        ]
    ),
    max_size=12,
).map(b"".join)


@few
@given(PIECES, st.booleans())
def test_no_pieces_are_put_together_too_oddly(data: bytes, ended: bool) -> None:
    try:
        answer(data, ended)
    except NoAnswer as error:
        assert str(error)


@few
@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_are_too_odd(data: bytes, ended: bool) -> None:
    for odd in (
        data,
        b"HTTP/1.1 200 OK\r\n" + data,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data,
    ):
        try:
            answer(odd, ended)
        except NoAnswer as error:
            assert str(error)


@few
@given(st.binary(min_size=1, max_size=50), st.booleans(), st.data())
def test_half_an_answer_is_none_yet(body: bytes, in_chunks: bool, data: st.DataObject) -> None:
    if in_chunks:
        text = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        text = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    whole = b"HTTP/1.1 200 OK\r\n" + text
    assert answer(whole, ended=False) == Answer(200, body, last=False)
    assert answer(whole[: data.draw(st.integers(0, len(whole) - 1))], ended=False) is None


# --- over a connection --------------------------------------------------------------------------------------


def test_one_connection_carries_several_questions() -> None:
    with server(FINE, FINE) as (port, heard), Asked("127.0.0.1", port) as asked:
        assert [asked.get(path, 5.0).body for path in ("/live", "/ready")] == [b"ok", b"ok"]
    assert [one.split(b"\r\n")[0] for one in heard] == [b"GET /live HTTP/1.1", b"GET /ready HTTP/1.1"]
    assert f"Host: 127.0.0.1:{port}\r\n".encode() in heard[0]


def test_one_that_closes_its_connection_after_each_answer_is_asked_on_another() -> None:
    with (
        http_server({"/live": (200, "a"), "/ready": (503, "b")}) as (port, _),
        Asked("127.0.0.1", port) as asked,
    ):
        assert [asked.get(path, 5.0)[:2] for path in ("/live", "/ready")] == [(200, b"a"), (503, b"b")]


def test_a_line_break_after_a_body_is_not_the_next_answer() -> None:
    with server(FINE + b"\r\n", FINE) as (port, heard), Asked("127.0.0.1", port) as asked:
        assert [asked.get(path, 5.0).body for path in ("/live", "/ready")] == [b"ok", b"ok"]
    assert len(heard) == 2


def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    with server(FINE, None, FINE) as (port, heard), Asked("127.0.0.1", port) as asked:
        assert asked.get("/live", 5.0).status == 200
        assert asked.get("/ready", 5.0).status == 200
    assert len(heard) == 2


def test_one_that_drips_its_answer_has_no_more_time_than_any_other() -> None:
    with server(FINE, pause=0.05) as (port, _), Asked("127.0.0.1", port) as asked:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="timed out"):
            asked.get("/ready", 0.4)
        assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "it hung up"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "it hung up in the middle of its answer"),
        (b"SSH-2.0-OpenSSH\r\n", "it does not speak HTTP"),
    ],
)
def test_what_was_there_instead_is_said(said: bytes | None, words: str) -> None:
    with (
        server(said) as (port, _),
        Asked("127.0.0.1", port) as asked,
        pytest.raises(NoAnswer, match=f"^{words}$"),
    ):
        asked.get("/ready", 5.0)


def test_where_nobody_listens_that_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Asked("127.0.0.1", port) as asked, pytest.raises(NoAnswer, match="Connection refused"):
        asked.get("/ready", 5.0)


def test_a_server_on_ipv6_is_asked_by_its_name() -> None:
    with server(FINE, host="::1") as (port, heard), Asked("::1", port) as asked:
        assert asked.get("/ready", 5.0).status == 200
    assert f"Host: [::1]:{port}\r\n".encode() in heard[0]
