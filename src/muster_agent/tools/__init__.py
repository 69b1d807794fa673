# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tools that a model may use. Only declared ones exist for it, and their libraries load at first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from muster_agent.config import ToolSection
from muster_agent.settings import Settings

if TYPE_CHECKING:
    from muster_agent.tools.base import Tool


def build(sections: Sequence[ToolSection], settings: Settings, secrets: Mapping[str, str]) -> dict[str, Tool]:
    """The declared tools by name, not yet initialized."""
    built: dict[str, Tool] = {}
    for section in sections:
        if section.name == "http_request":
            from muster_agent.tools.http_request import HttpRequest

            built[section.name] = HttpRequest(**section.options)
        else:
            from muster_agent.tools.web_search import WebSearch

            built[section.name] = WebSearch(
                settings.serper_base_url, secrets[section.api_key_env or ""], **section.options
            )
    return built
