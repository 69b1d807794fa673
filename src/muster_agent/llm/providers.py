# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Picks the provider that a config names. Only the chosen one is imported."""

from __future__ import annotations

from collections.abc import Mapping

from muster_agent.config import LlmSection
from muster_agent.llm.base import Provider
from muster_agent.settings import Settings


def build(section: LlmSection, settings: Settings, secrets: Mapping[str, str]) -> Provider:
    if section.provider == "echo":
        from muster_agent.llm.echo import Echo

        return Echo()
    api_key = secrets[section.api_key_env or ""]
    if section.provider == "anthropic":
        from muster_agent.llm.anthropic import Anthropic

        return Anthropic(section, settings.anthropic_base_url, api_key)
    from muster_agent.llm.openai import OpenAi

    return OpenAi(section, settings.openai_base_url, api_key)
