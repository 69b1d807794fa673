# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""List prices of known models, for the cost limit of a task."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """US dollars per 1000 tokens."""

    per_1k_input: float
    per_1k_output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.per_1k_input + output_tokens * self.per_1k_output) / 1000


# From the providers' public price lists; [budget] price_per_1k_* goes before this table.
_PRICES = {
    ("openai", "gpt-4o"): Price(0.0025, 0.01),
    ("openai", "gpt-4o-mini"): Price(0.00015, 0.0006),
    ("openai", "gpt-4.1"): Price(0.002, 0.008),
    ("openai", "gpt-4.1-mini"): Price(0.0004, 0.0016),
    ("openai", "gpt-4.1-nano"): Price(0.0001, 0.0004),
    ("anthropic", "claude-3-haiku"): Price(0.00025, 0.00125),
    ("anthropic", "claude-3-5-haiku"): Price(0.0008, 0.004),
    ("anthropic", "claude-3-5-sonnet"): Price(0.003, 0.015),
    ("anthropic", "claude-3-7-sonnet"): Price(0.003, 0.015),
    ("anthropic", "claude-sonnet-4"): Price(0.003, 0.015),
}
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


def lookup(provider: str, model: str) -> Price | None:
    """The price of a model; a dated snapshot costs what its model does."""
    return _PRICES.get((provider, _DATED.sub("", model)))
