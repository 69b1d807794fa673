# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JSON over HTTP to a model provider: retries with backoff, and a circuit breaker for a provider that is down."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from muster_agent import backoff, logs
from muster_agent.errors import LlmError

ATTEMPTS = 4
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_MAX_RETRY_AFTER = 20.0


class NotFound(LlmError):
    """The provider answered 404."""


class Breaker:
    """Refuses calls for `pause` seconds after `limit` failures in a row; then one success closes it again."""

    def __init__(self, limit: int = 5, pause: float = 30.0) -> None:
        self._limit = limit
        self._pause = pause
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self._open_until

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = time.monotonic() + self._pause


class ApiClient:
    """`name` is the provider's, for messages; neither requests nor response bodies are ever put into one."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str]) -> None:
        self._name = name
        self._base_url = base_url
        self._breaker = Breaker()
        # The host's trust store counts, as for the broker, not one that was bundled when this file was built.
        self._http = httpx.AsyncClient(headers=headers, timeout=TIMEOUT, verify=ssl.create_default_context())

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body)

    def trouble(self) -> str | None:
        return (
            f"{self._name} failed repeatedly and is left alone for a while" if self._breaker.is_open else None
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        trouble = self.trouble()
        if trouble:
            raise LlmError(trouble)
        for attempt in range(1, ATTEMPTS + 1):
            reason, wait = "", backoff.delay(attempt, base=0.5, cap=8.0)
            try:
                response = await self._http.request(method, self._base_url + path, json=body)
            except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
                reason = f"{self._name} cannot be reached: {_kind(error)}"
            except httpx.HTTPError as error:
                raise LlmError(f"{self._name} cannot be called: {_kind(error)}") from None
            else:
                if response.status_code not in _RETRIED:
                    self._breaker.succeeded()
                    return self._answer(response)
                reason = f"{self._name} answered {response.status_code}"
                wait = max(wait, _retry_after(response))
            if attempt < ATTEMPTS:
                logs.get().warning("llm_retry", reason=reason, attempt=attempt, wait_seconds=round(wait, 2))
                await asyncio.sleep(wait)
        self._breaker.failed()
        raise LlmError(reason)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        code = response.status_code
        if code in (401, 403):
            raise LlmError(f"{self._name} refused the API key ({code})")
        if code == 404:
            raise NotFound(f"{self._name} answered 404")
        if not response.is_success:
            raise LlmError(f"{self._name} answered {code}")
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise LlmError(f"{self._name} answered with something that is not a JSON object")
        return value


def _kind(error: Exception) -> str:
    """A transport error's class in words: its text could hold an address or more."""
    return type(error).__name__


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _MAX_RETRY_AFTER) if text.isdecimal() else 0.0
