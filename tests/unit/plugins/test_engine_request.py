# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The request from the controller: whole, or refused in words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import request
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from tests.unit.plugins.builders import KEY, TEXTS, few, raw_manifest
from tests.unit.plugins.test_engine_manifest import json_values


def document(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "phase": "stage",
        "who": {"user": "ada", "host": "laptop"},
        "workloads": [{"manifest": raw_manifest(), "files": TEXTS}],
        "names": ["writer"],
        "fleet": ["writer", "editor"],
        "secrets": {KEY: {"API_KEY": "canary"}},
        **changes,
    }


def test_a_whole_request_is_read() -> None:
    asked = request.parse(json.dumps(document(check_mode=True, parallel=3)))
    assert asked.phase == "stage"
    assert asked.wanted[KEY].texts == TEXTS
    assert asked.wanted[KEY].secrets_text == 'API_KEY="canary"\n'
    assert asked.secrets == {KEY: {"API_KEY": "canary"}}
    assert (asked.names, asked.fleet) == (("writer",), ("writer", "editor"))
    assert (asked.check_mode, asked.purge, asked.assume_gone, asked.parallel) == (True, False, False, 3)


def test_without_secrets_there_is_no_secrets_file() -> None:
    assert request.parse(json.dumps(document(secrets={}))).wanted[KEY].secrets_text is None


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize("change", ["altered", "lost"])
def test_a_file_with_another_digest_is_refused_by_its_name(name: str, change: str) -> None:
    files = {**TEXTS, name: "canary"}
    if change == "lost":
        del files[name]
    with pytest.raises(EngineError, match=f"writer: {name} arrived with another digest") as refusal:
        request.parse(json.dumps(document(workloads=[{"manifest": raw_manifest(), "files": files}])))
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", '"x"', "{}", '{"format": 2}', '{"format": "1"}']
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="not a request"):
        request.parse(text)


@few
@given(st.sampled_from(sorted(document())), json_values)
def test_any_other_value_gives_a_request_or_a_refusal(name: str, value: object) -> None:
    with contextlib.suppress(EngineError):
        assert request.parse(json.dumps(document(**{name: value}))).parallel
