# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The agent's HTTP interface: what each path answers."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from muster_agent import __version__, logs
from muster_agent.config import AgentConfig
from muster_agent.errors import TaskError
from muster_agent.health import HEALTHY, Health
from muster_agent.http_server import Request, Response
from muster_agent.llm.dialogue import Dialogue
from muster_agent.metrics import CONTENT_TYPE, Metrics
from muster_agent.protocol import messages

MAX_BODY = messages.MAX_MESSAGE_BYTES
MAX_GENERATE = 4
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENDPOINTS = {
    "GET /": "this description",
    "GET /live": "200 while the process runs",
    "GET /ready": "200 while the agent takes tasks from the broker",
    "GET /health": "the state of each part; 200 or 503",
    "GET /metrics": "Prometheus text",
    "POST /generate": "answers {prompt, instruction?} with {response}",
}
_QUIET = ("/live", "/ready", "/health", "/metrics")


class _Refused(Exception):
    """A request that gets an error: its status and what was wrong."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Api:
    """Answers requests. `dialogue` is set once the agent has started; /generate waits for that."""

    def __init__(self, config: AgentConfig, health: Health, metrics: Metrics) -> None:
        self._config = config
        self._health = health
        self._metrics = metrics
        self.generating = 0
        self.dialogue: Dialogue | None = None
        self._routes: dict[str, tuple[str, Callable[[Request, str], Awaitable[Response]]]] = {
            "/": ("GET", self._root),
            "/live": ("GET", self._live),
            "/ready": ("GET", self._ready),
            "/health": ("GET", self._health_report),
            "/metrics": ("GET", self._metrics_text),
            "/generate": ("POST", self._generate),
        }

    async def handle(self, request: Request) -> Response:
        started = time.monotonic()
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        with logs.bind(request_id=request_id):
            try:
                response = await self._route(request)(request, request_id)
            except _Refused as refused:
                response = _error(refused.status, refused.message, request_id)
            except Exception:  # noqa: BLE001 (one bad request must not end the agent)
                logs.get().exception("request_failed")
                response = _error(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "the agent failed on this request", request_id
                )
            seconds = time.monotonic() - started
            # Only known paths become label values: anything else would let a scanner fill the memory.
            path = request.path if request.path in self._routes else "other"
            method = request.method if request.method in ("GET", "HEAD", "POST") else "other"
            self._metrics.requests.labels(method, path, str(response.status)).inc()
            self._metrics.request_seconds.labels(path).observe(seconds)
            say = logs.get().debug if path in _QUIET else logs.get().info
            say("request", method=method, path=path, status=response.status, seconds=round(seconds, 3))
        return Response(
            response.status,
            response.body,
            response.content_type,
            {**response.headers, "x-request-id": request_id},
        )

    def refusal(self, status: int) -> Response:
        """The response to bytes that were no acceptable request."""
        self._metrics.requests.labels("other", "other", str(status)).inc()
        return _error(HTTPStatus(status), HTTPStatus(status).phrase, str(uuid.uuid4()))

    def _route(self, request: Request) -> Callable[[Request, str], Awaitable[Response]]:
        if request.path not in self._routes:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing here; GET / lists what is")
        method, answer = self._routes[request.path]
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"use {method}")
        return answer

    async def _root(self, _request: Request, _request_id: str) -> Response:
        agent = self._config.agent
        return _json(
            HTTPStatus.OK,
            {
                "agent_id": agent.id,
                "description": agent.description,
                "capabilities": list(agent.capabilities),
                "version": __version__,
                "endpoints": _ENDPOINTS,
            },
        )

    async def _live(self, _request: Request, _request_id: str) -> Response:
        return _json(HTTPStatus.OK, {"alive": True, "agent_id": self._config.agent.id})

    async def _ready(self, _request: Request, _request_id: str) -> Response:
        ready = self._health.ready
        body: dict[str, Any] = {"ready": ready, "agent_id": self._config.agent.id}
        if not ready:
            body["reason"] = self._health.mqtt.message if self._health.started else "starting"
        return _json(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, body)

    async def _health_report(self, _request: Request, _request_id: str) -> Response:
        report = {"agent_id": self._config.agent.id, "version": __version__, **self._health.report()}
        healthy = report["status"] == HEALTHY
        return _json(HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, report)

    async def _metrics_text(self, _request: Request, _request_id: str) -> Response:
        return Response(HTTPStatus.OK, self._metrics.render(), CONTENT_TYPE)

    async def _generate(self, request: Request, request_id: str) -> Response:
        prompt, instruction = _generate_fields(request.body)
        if self.dialogue is None or self._health.stopping:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the agent is starting or stopping")
        if self.generating >= MAX_GENERATE:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once; try again")
        self.generating += 1
        try:
            text = await self.dialogue.answer(instruction, prompt)
        except TaskError as error:
            raise _Refused(_status_of(error), error.message) from None
        finally:
            self.generating -= 1
        return _json(
            HTTPStatus.OK, {"response": text, "agent_id": self._config.agent.id, "request_id": request_id}
        )


def _generate_fields(body: bytes) -> tuple[Any, str | None]:
    """The prompt and the instruction of a request. 400 for what is no JSON object, 422 for wrong fields."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    prompt, instruction = fields.get("prompt", fields.get("input")), fields.get("instruction")
    if prompt is None or prompt == "":
        raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "prompt is missing")
    if not isinstance(prompt, (str, dict)):
        raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "prompt must be a string or an object")
    if not isinstance(instruction, (str, type(None))):
        raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "instruction must be a string")
    return prompt, instruction


def _status_of(error: TaskError) -> HTTPStatus:
    if error.code in (messages.LLM_ERROR, messages.TOOL_EXECUTION_FAILED):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _error(status: HTTPStatus, message: str, request_id: str) -> Response:
    return _json(status, {"error": message, "request_id": request_id})


def _json(status: HTTPStatus, value: dict[str, Any]) -> Response:
    return Response(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
