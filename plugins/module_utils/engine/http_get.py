# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GET requests to one agent, one after the other on one connection, each within its time.

A host's agents are asked every few seconds: `http.client` takes several times as long for a question, most of it to parse
headers that nobody reads, and bounds the time between two bytes instead of the time that an answer takes.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

_LONGEST = 64 * 1024  # bytes of headers, and of a body: the rest of it is not read
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")  # Python refuses to read a number of thousands of digits
_WITHOUT_BODY = (204, 304)


class NoAnswer(Exception):
    """Nothing answered in time, or nothing that speaks HTTP; the message says what was there instead."""


class Answer(NamedTuple):
    """`last`: nothing more can be asked on this connection."""

    status: int
    body: bytes
    last: bool


class _Head(NamedTuple):
    """`old`: HTTP/1.0, which ends the connection; `end`: where the body begins."""

    status: int
    old: bool
    headers: Mapping[bytes, bytes]
    end: int


class Asked:
    """An agent that is being asked: a context, which ends the connection."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connection: socket.socket | None = None

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def get(self, path: str, timeout: float) -> Answer:
        """Ask once, `timeout` seconds for all of it. Raises NoAnswer."""
        deadline = time.monotonic() + timeout
        try:
            found = self._ask(self._connection, path, deadline) if self._connection else None
            if found is None:  # there is no connection, or the other side has closed it since its last answer
                self._close()
                self._connection = socket.create_connection((self._host, self._port), _left(deadline))
                found = self._ask(self._connection, path, deadline)
            if found is None:
                raise NoAnswer("it hung up")
        except OSError as error:
            self._close()
            raise NoAnswer(error.strerror or str(error) or type(error).__name__) from None
        except NoAnswer:
            self._close()
            raise
        if found.last:
            self._close()
        return found

    def _ask(self, connection: socket.socket, path: str, deadline: float) -> Answer | None:
        """None where the other side hung up before it said anything."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        data = b""
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{self._port}\r\n\r\n".encode())
            while True:
                connection.settimeout(_left(deadline))
                part = connection.recv(65536)
                data = (data + part).lstrip(b"\r\n")  # some end a body with a line break that is not of it
                found = answer(data, ended=not part)
                if found is not None:
                    return found
                if not part:
                    break
        except ConnectionError:
            if data:
                raise
        if data:
            raise NoAnswer("it hung up in the middle of its answer")
        return None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


def answer(data: bytes, ended: bool) -> Answer | None:
    """The answer that these bytes are, None while there is more of it to come. `ended`: nothing more will come.

    Raises NoAnswer where it is none, or one that is too long.
    """
    head = _head(data, ended)
    if head is None:
        return None
    code, headers, body = head.status, head.headers, data[head.end :]
    last = head.old or b"close" in headers.get(b"connection", b"")
    if code in _WITHOUT_BODY:
        return Answer(code, b"", last)
    if len(body) > _LONGEST:
        return Answer(code, body[:_LONGEST], True)
    if b"chunked" in headers.get(b"transfer-encoding", b""):
        whole = _joined(body)
        return None if whole is None else Answer(code, whole, last)
    length = headers.get(b"content-length")
    if length is not None:
        if not _LENGTH.fullmatch(length):
            raise NoAnswer("it does not speak HTTP")
        return Answer(code, body[: int(length)], last) if len(body) >= int(length) else None
    return Answer(code, body, True) if ended else None


def _head(data: bytes, ended: bool) -> _Head | None:
    """What stands before the body; what only says that the answer is on its way is passed over. Raises NoAnswer."""
    start = 0
    while True:
        status = _STATUS.match(data, start)
        end = _END_OF_HEADERS.search(data, start)
        if status is None and (end or (ended and data) or data.find(b"\n", start) >= 0):
            raise NoAnswer("it does not speak HTTP")
        if status is None or end is None:
            if len(data) > _LONGEST:
                raise NoAnswer(f"its headers are longer than {_LONGEST} bytes")
            return None
        if not status[2].startswith(b"1"):
            headers = _headers(data[status.end() : end.start()])
            return _Head(int(status[2]), status[1] == b"0", headers, end.end())
        start = end.end()


def _headers(lines: bytes) -> dict[bytes, bytes]:
    """By name; both in lower case."""
    pairs = (line.partition(b":") for line in lines.lower().splitlines())
    return {name.strip(): value.strip() for name, _colon, value in pairs}


def _joined(body: bytes) -> bytes | None:
    """The chunks of a body in one, None while the last one is not there."""
    whole = b""
    while True:
        size, newline, rest = body.partition(b"\r\n")
        if not newline:
            return None
        try:
            length = int(size.split(b";")[0].strip(), 16)
        except ValueError:
            raise NoAnswer("it does not speak HTTP") from None
        if length < 0:
            raise NoAnswer("it does not speak HTTP")
        if length == 0:
            return whole if b"\r\n" in rest else None
        if len(rest) < length + 2:
            return None
        whole += rest[:length]
        body = rest[length + 2 :]
