# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets never reach a text that somebody reads."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine.mask import (
    HIDDEN,
    masked,
    secret_values,
    shortened,
)
from tests.unit.plugins.builders import few

# No part of what hides them.
secrets = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=6, max_size=30)


def hidden(text: str, *values: str) -> str:
    return masked(
        text, secret_values({"agents/writer": {f"S{index}": value for index, value in enumerate(values)}})
    )


@few
@given(secrets, st.text(max_size=10), st.text(max_size=10))
def test_a_secret_is_in_no_text(secret: str, before: str, after: str) -> None:
    assert secret not in hidden(f"{before}{secret}{after}", secret)
    assert hidden(f"key={secret}.", secret) == "key=********."


@few
@given(secrets)
def test_a_secret_is_in_no_json_either(secret: str) -> None:
    assert hidden(json.dumps({"key": secret}), secret) == '{"key": "********"}'


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    assert hidden("abcdef-longer and abcdef", "abcdef", "abcdef-longer") == "******** and ********"


def test_short_values_do_not_blot_out_ordinary_words() -> None:
    assert hidden("the port is on 8080", "on", "8080", "") == "the port is on 8080"


def test_the_secrets_of_all_agents_are_hidden() -> None:
    values = secret_values({"agents/a": {"X": "canary-one"}, "agents/b": {"X": "canary-two"}})
    assert masked("canary-one canary-two", values) == "******** ********"


@few
@given(secrets, st.integers(0, 60))
def test_no_more_of_a_secret_is_left_in_a_shortened_text_than_may_be_shown(secret: str, most: int) -> None:
    line = hidden(shortened(f"refused:\n\tthe key {secret} is old", most), secret)
    secret = " ".join(secret.split())
    assert len(line.replace(HIDDEN, "")) <= most + 1
    assert all(secret[:length] not in line for length in range(6, len(secret) + 1))


def test_of_two_secrets_the_one_of_which_more_is_left_is_hidden() -> None:
    longer, other = "sk-AAAA-0123456789-abcdefghij", "abcdefghij-and-more-than-that"
    cut = shortened(f"the key {longer} is old", 8 + 28)
    assert hidden(cut, other, longer) == hidden(cut, longer, other) == "the key ********…"


def test_a_short_text_is_only_brought_onto_one_line() -> None:
    assert shortened("no\n\tbroker ", 9) == "no broker"
    assert shortened("no broker", 8) == "no broke…"


def test_a_secret_of_blanks_blots_out_no_words() -> None:
    assert hidden("the key is old", "       ", "a     b") == "the key is old"
