# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rotation wants on a host: the release that is there, with new values; and nothing else that differs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import release, rotation
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Request, parse
from tests.unit.plugins.builders import KEY, UNIT_PATH
from tests.unit.plugins.small_host import NAMED, SECRETS, Host, host, version

__all__ = ["host"]
TWO = {**NAMED, "OTHER": {"from": "secret", "name": "OTHER"}}


def asked(values: dict[str, str], **more: Any) -> Request:
    document = {"format": 1, "phase": "stage", "rotate": ["writer"], "secrets": {KEY: values}, **more}
    return parse(json.dumps(document))


def survey(host: Host, **values: str) -> dict[str, Any]:
    return release.stage(host.layout, asked(values, check_mode=True))


def test_only_the_secrets_differ(host: Host) -> None:
    now = host.release(version(1))
    host.stage(version(2))  # what waits for a deploy
    report = survey(host, API_KEY="canary-of-tomorrow")
    (one,) = report["workloads"]
    assert (one["before"], one["after"], one["action"], one["reasons"]) == (now, now, "restart", ["secrets"])
    assert report["refused"] == {}
    assert "canary" not in json.dumps(report)


def test_todays_value_is_nothing_to_rotate_whatever_else_differs(host: Host) -> None:
    host.release(version(1))
    host.layout.on_host(UNIT_PATH).write_text("[Unit]\n# by hand\n")
    (one,) = survey(host, **SECRETS)["workloads"]
    assert one["action"] == "nothing"


def test_the_others_stay_as_they_are_on_the_host(host: Host) -> None:
    item = version(1, secrets=TWO)
    host.release(type(item)(item.manifest, item.texts, {**SECRETS, "OTHER": "kept"}))
    wanted = rotation.completed(host.layout, asked({"API_KEY": "new"})).wanted[KEY]
    assert wanted.secrets == {"API_KEY": "new", "OTHER": "kept"}


def test_who_only_restarts_stays_on_release_and_secrets(host: Host) -> None:
    now = host.release(version(1))
    host.stage(version(2))  # what the deploy would have brought
    request = rotation.completed(host.layout, asked({}, phase="switch", restart=["writer"]))
    (change,) = release._changes(host.layout, request)
    assert (change.before, change.after, change.action) == (now, now, "restart")
    assert change.reasons == ["the broker was restarted"]
    assert request.wanted[KEY].secrets == SECRETS


def test_what_somebody_wrote_by_hand_does_not_become_released(host: Host) -> None:
    item = version(1, secrets=TWO)
    host.release(type(item)(item.manifest, item.texts, {**SECRETS, "OTHER": "kept"}))
    host.layout.secrets_file(KEY).write_text('API_KEY="canary-of-today"\nOTHER="canary-by-hand"\n')
    with pytest.raises(
        EngineError, match=r"writer cannot be given new secrets.*changed by hand.*deploy.yml"
    ) as told:
        survey(host, API_KEY="new")
    assert "canary" not in str(told.value)
    assert survey(host, API_KEY="new", OTHER="new too")["workloads"][0]["action"] == "restart"


def test_a_secret_that_is_gone_is_named(host: Host) -> None:
    host.release(version(1, secrets=TWO))
    with pytest.raises(EngineError, match=r"OTHER is not on this host any more; deploy.yml"):
        survey(host, API_KEY="new")


def test_a_release_that_could_not_start_again_is_refused(host: Host) -> None:
    now = host.release(version(1))
    (host.layout.release(KEY, now) / "agent.toml").write_text("tampered")
    report = survey(host, API_KEY="new")
    assert "could not be started again: agent.toml altered" in report["refused"]["writer"]
    assert survey(host, **SECRETS)["refused"] == {}


def test_nothing_that_may_hold_the_old_value_stays_beside(host: Host) -> None:
    host.release(version(1))
    path = host.layout.secrets_file(KEY)
    left = [
        path.with_name(name)
        for name in ("writer.env.old", "writer.env~", ".writer.env.swp", "writer.env.bak")
    ]
    for one in left:
        one.write_text("old")
    neighbour = path.with_name("writer.env.b.env")
    neighbour.write_text("another agent's")
    state = json.loads(host.layout.state.read_text())
    state["workloads"]["agents/writer.env.b"] = state["workloads"][KEY]
    host.layout.state.write_text(json.dumps(state))
    rotation.sweep(host.layout, [KEY])
    assert [one.name for one in left if one.exists()] == []
    assert path.exists() and neighbour.exists()
