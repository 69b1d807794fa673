# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""http_request: lets the model fetch from and post to web services, within limits.

The model is steered by what it reads, so its requests are not trusted: only http and https, no addresses that
are link-local (a cloud's metadata service lives there), and a response is cut at a size and a time. The name is
resolved once and the connection made to the address that was checked, so a name cannot change its mind between.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from muster_agent.errors import ToolError
from muster_agent.llm.base import ToolSpec

if TYPE_CHECKING:
    import httpx

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# These belong to the connection and are set by it.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
# Cloud metadata that is not in the link-local range.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})


class HttpRequest:
    spec = ToolSpec(
        name="http_request",
        description="Makes one HTTP request and gives its status, content type and body. Redirects are not followed.",
        parameters={
            "type": "object",
            "properties": {
                "url": {"type": "string", "description": "An http or https address"},
                "method": {"type": "string", "enum": _METHODS, "description": "GET if not given"},
                "headers": {"type": "object", "description": "Header names and string values"},
                "body": {"type": "string", "description": "The request body"},
            },
            "required": ["url"],
            "additionalProperties": False,
        },
    )

    def __init__(self, allowed_hosts: Sequence[str], max_response_size: int, timeout_secs: float) -> None:
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._max_size = max_response_size
        self._timeout = timeout_secs
        self._http: httpx.AsyncClient | None = None

    async def initialize(self) -> None:
        return None

    async def execute(self, arguments: dict[str, Any]) -> Any:
        try:
            return await asyncio.wait_for(self._request(arguments), self._timeout)
        except asyncio.TimeoutError:
            raise ToolError(f"no complete response within {self._timeout:g} s") from None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def _request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        import httpx

        if self._http is None:
            # trust_env off: a proxy would resolve the name again, past the check of its address.
            self._http = httpx.AsyncClient(
                timeout=self._timeout, verify=ssl.create_default_context(), trust_env=False
            )
        scheme, host, port, rest = _split(arguments["url"])
        if self._allowed_hosts and host not in self._allowed_hosts:
            raise ToolError("this host is not among the allowed hosts")
        address = await _safe_address(host, port)
        headers = _headers(arguments.get("headers", {}))
        named = f"[{host}]" if ":" in host else host
        headers["host"] = named if port == {"http": 80, "https": 443}[scheme] else f"{named}:{port}"
        literal = f"[{address}]" if ":" in address else address
        request = self._http.build_request(
            arguments.get("method", "GET"),
            f"{scheme}://{literal}:{port}{rest}",
            headers=headers,
            content=arguments.get("body", "").encode(),
            extensions={"sni_hostname": host},
        )
        try:
            response = await self._http.send(request, stream=True)
            try:
                body, cut = await _read(response, self._max_size)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolError(f"the request failed: {type(error).__name__}") from None
        return {
            "status": response.status_code,
            "content_type": response.headers.get("content-type", ""),
            "location": response.headers.get("location", ""),
            "body": body,
            "truncated": cut,
        }


def _split(url: str) -> tuple[str, str, int, str]:
    """Scheme, host in lower case, port, and the rest from the path on. Raises ToolError."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise ToolError("this is not a valid address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ToolError("only http and https addresses can be requested")
    if "@" in parts.netloc:
        raise ToolError("an address with credentials is refused")
    rest = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), rest


async def _safe_address(host: str, port: int) -> str:
    """One address of the host. Raises ToolError when it has none, or any that must not be reached."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ToolError("the host's name cannot be resolved") from None
    addresses = [str(item[4][0]) for item in found]
    if any(is_forbidden(address) for address in addresses):
        raise ToolError("this address is link-local or a metadata service, which is refused")
    return addresses[0]


def is_forbidden(address: str) -> bool:
    """Whether an IP address is link-local, multicast, unspecified or a cloud's metadata service."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    return parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified or parsed in _METADATA


def _headers(given: dict[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in given.items():
        if (
            not isinstance(value, str)
            or not name.isascii()
            or not value.isascii()
            or any(c in name + value for c in "\r\n\0")
        ):
            raise ToolError("headers must be names with plain string values")
        if name.lower() not in _OWN_HEADERS:
            headers[name.lower()] = value
    return headers


async def _read(response: httpx.Response, limit: int) -> tuple[str, bool]:
    """The body as text, and whether it was cut at `limit` bytes."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limit:
            break
    kept, cut = bytes(content[:limit]), len(content) > limit
    try:
        return kept.decode(response.charset_encoding or "utf-8", "replace"), cut
    except LookupError:  # a charset that nobody knows
        return kept.decode("utf-8", "replace"), cut
