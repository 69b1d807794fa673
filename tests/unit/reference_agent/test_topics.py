# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_agent.protocol import topics


@pytest.mark.parametrize(
    ("given_topic", "expected"),
    [
        ("//control//agents/foo/", "/control/agents/foo"),
        ("control/agents/bar", "/control/agents/bar"),
        ("///", "/"),
        ("", "/"),
    ],
)
def test_canonical_form_of_the_rfcs_examples(given_topic: str, expected: str) -> None:
    assert topics.canonical(given_topic) == expected


@given(st.text())
def test_canonical_form_is_stable_and_well_formed(topic: str) -> None:
    once = topics.canonical(topic)
    assert topics.canonical(once) == once
    assert once.startswith("/")
    assert "//" not in once
    assert once == "/" or not once.endswith("/")


@given(st.text(st.sampled_from("ab/+#\0\n-."), max_size=8))
def test_a_conversation_id_never_leaves_its_level(text: str) -> None:
    if topics.is_conversation_id(text):
        topic = topics.conversation_topic(text, "me")
        assert topic.count("/") == 3
        assert not set(topic) & set("+#\0\n")
        assert topics.conversation_of(topic) == (text, "me")
    else:
        assert text == "" or set(text) & set("/+#\0\n")


@pytest.mark.parametrize(
    "topic",
    [
        "/control/agents/+/input",
        "/control/agents/a/b/input",
        "/control/agents//input",
        "/control/agents/a/status",
    ],
)
def test_only_an_agents_input_is_one(topic: str) -> None:
    assert topics.input_agent(topic) is None
    assert topics.input_agent("/control/agents/a.b-c_1/input") == "a.b-c_1"
