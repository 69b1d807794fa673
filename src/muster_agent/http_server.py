# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small HTTP/1.1 server on asyncio: h11 does the protocol, this does the sockets and the limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

MAX_HEADER_BYTES = 16 * 1024
MAX_CONNECTIONS = 64
IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Request:
    """`path` without the query; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[int], Response]


class HttpServer:
    """`handler` answers requests; `refusal` makes the response for a request that never became one."""

    def __init__(self, handler: Handler, refusal: Refusal, max_body: int) -> None:
        self._handler = handler
        self._refusal = refusal
        self._max_body = max_body
        self._server: asyncio.AbstractServer | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listens from now on. Raises OSError when the address is taken or not ours."""
        self._server = await asyncio.start_server(self._accept, host, port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) <= MAX_CONNECTIONS:
                await _Connection(self, reader, writer).serve()
        except (OSError, asyncio.TimeoutError, h11.LocalProtocolError, asyncio.CancelledError):
            # The other side went away or idled, or we are closing: there is nobody to answer.
            pass
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, request: Request) -> Response:
        return await self._handler(request)

    def refuse(self, status: int) -> Response:
        return self._refusal(status)

    @property
    def max_body(self) -> int:
        return self._max_body


class _TooLarge(Exception):
    """The body is larger than the server takes."""


class _Connection:
    """One client connection: requests one after the other until either side wants no more."""

    def __init__(
        self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)

    async def serve(self) -> None:
        while True:
            try:
                request = await self._request()
            except h11.RemoteProtocolError as error:
                await self._send(self._server.refuse(error.error_status_hint), head=False)
                return
            except _TooLarge:
                await self._send(self._server.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE), head=False)
                return
            if request is None:
                return
            await self._send(await self._server.answer(request), head=request.method == "HEAD")
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _request(self) -> Request | None:
        """The next request with its whole body, None at the end of the connection."""
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        body = bytearray()
        while True:
            part = await self._event()
            if isinstance(part, h11.Data):
                body += part.data
                if len(body) > self._server.max_body:
                    raise _TooLarge
            elif isinstance(part, h11.EndOfMessage):
                break
            else:
                return None
        path = urlsplit(event.target.decode("latin-1")).path
        return Request(event.method.decode("ascii"), path, headers, bytes(body))

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event) or event is h11.PAUSED:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            self._http.receive_data(await asyncio.wait_for(self._reader.read(65536), IDLE_SECONDS))

    async def _send(self, response: Response, head: bool) -> None:
        status = HTTPStatus(response.status)
        headers = {
            "content-type": response.content_type,
            "content-length": str(len(response.body)),
            "cache-control": "no-store",
            **response.headers,
        }
        start = h11.Response(
            status_code=status.value,
            reason=status.phrase.encode(),
            headers=[
                (name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()
            ],
        )
        data = self._http.send(start) or b""
        if not head:
            data += self._http.send(h11.Data(data=response.body)) or b""
        await self._write(data + (self._http.send(h11.EndOfMessage()) or b""))

    async def _write(self, data: bytes | None) -> None:
        self._writer.write(data or b"")
        await asyncio.wait_for(self._writer.drain(), IDLE_SECONDS)
