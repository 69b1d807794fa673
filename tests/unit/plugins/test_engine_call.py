# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module that stands before the engine on a host: what it answers where the engine is not there, and where it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import request as engine_request
from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import packed
from tests.unit.plugins.ansible_project import AnsibleProject

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the module wants root")


@pytest.fixture
def project(tmp_path: Path) -> AnsibleProject:
    return AnsibleProject(tmp_path)


def call(project: AnsibleProject, **more: str) -> dict[str, Any]:
    """Ask this machine for a phase that no engine knows: that answers, and looks at nothing."""
    asked = {"format": engine_request.FORMAT, "phase": "frobnicate", "workloads": []}
    arguments = {
        "engine_sha256": engine_archive()[1],
        "request": packed(json.dumps(asked).encode()),
        "secrets": packed(b"{}"),
        **more,
    }
    (result,) = project.check(arguments, module="muster.agents.engine_call")
    return result


def test_an_engine_that_is_not_there_is_asked_for(project: AnsibleProject) -> None:
    assert call(project)["report"]["kind"] == "no_engine"


def test_an_engine_that_came_along_answers_and_leaves_nothing(
    project: AnsibleProject, tmp_path: Path
) -> None:
    result = call(project, engine=packed(engine_archive()[0]))
    assert result["report"] == {"error": "unknown phase 'frobnicate'", "kind": "refused"}
    assert not list(tmp_path.rglob(".muster-*.pyz"))


def test_an_engine_that_arrives_altered_is_not_run(project: AnsibleProject) -> None:
    altered = engine_archive()[0] + b"\0"
    result = call(project, engine=packed(altered))
    assert result["failed"]
    assert result["msg"] == "the engine arrived with another digest than announced; nothing was installed"
