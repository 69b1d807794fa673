# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""web_search: the Serper API."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from muster_agent.errors import ToolBroken, ToolError
from muster_agent.llm.base import ToolSpec

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS = 30.0


class WebSearch:
    spec = ToolSpec(
        name="web_search",
        description="Searches the web for current information; gives titles, addresses and snippets.",
        parameters={
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to search for"},
                "num_results": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 20,
                    "description": "How many results",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
    )

    def __init__(self, base_url: str, api_key: str, max_results: int) -> None:
        self._base_url = base_url
        self._headers = {"X-API-KEY": api_key}
        self._max_results = max_results
        self._http: httpx.AsyncClient | None = None

    async def initialize(self) -> None:
        return None

    async def execute(self, arguments: dict[str, Any]) -> Any:
        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(
                headers=self._headers, timeout=_TIMEOUT_SECONDS, verify=ssl.create_default_context()
            )
        count = min(arguments.get("num_results", self._max_results), self._max_results)
        try:
            response = await self._http.post(
                f"{self._base_url}/search", json={"q": arguments["query"], "num": count}
            )
        except httpx.HTTPError as error:
            raise ToolError(f"the search service cannot be reached: {type(error).__name__}") from None
        if response.status_code in (401, 403):
            raise ToolBroken("the search service refused the API key")
        if not response.is_success:
            raise ToolError(f"the search service answered {response.status_code}")
        return {"query": arguments["query"], "results": _results(response)[:count]}

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()


def _results(response: httpx.Response) -> list[dict[str, str]]:
    try:
        found = response.json()["organic"]
        return [
            {"title": str(item["title"]), "url": str(item["link"]), "snippet": str(item.get("snippet", ""))}
            for item in found
            if "title" in item and "link" in item
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToolError("the search service answered in an unknown form") from None
