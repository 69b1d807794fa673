# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a switch takes on: what differs, what has to restart although nothing does, and what this request does not allow."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import release, request, trial
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from tests.unit.plugins.builders import KEY, RUNNING, UNIT
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]


def asked(number: int, **more: Any) -> request.Request:
    item = version(number)
    workload = {"manifest": dict(item.manifest.raw), "files": dict(item.texts)}
    secrets = {item.manifest.key: dict(item.secrets)}
    return request.parse(
        json.dumps({"format": request.FORMAT, "workloads": [workload], "secrets": secrets, **more})
    )


def test_what_does_not_differ_restarts_where_the_broker_did(host: Host) -> None:
    host.release(version(1))
    assert release._changes(host.layout, asked(1)) == []
    (change,) = release._changes(host.layout, asked(1, restart=["writer"]))
    assert (change.action, change.reasons) == ("restart", ["the broker was restarted"])
    assert change.before == change.after


@pytest.mark.parametrize(("running", "refused"), [(True, {"writer": "not now"}), (False, {})])
def test_a_restart_of_what_runs_may_be_forbidden(host: Host, running: bool, refused: dict[str, str]) -> None:
    host.release(version(1))
    if not running:
        host.units[UNIT] = replace(RUNNING, active="inactive", sub="dead", pid=0)
    for number, expected in ((2, refused), (1, {} if running else refused)):
        order = asked(number, forbid={"restart": "not now"})
        assert release._forbidden(release._changes(host.layout, order), order) == expected


def test_what_a_new_package_started_may_be_restarted(host: Host) -> None:
    """The first release of a broker, also in a deploy of some agents: nobody's agents are on it yet."""
    host.units[UNIT] = RUNNING
    order = asked(1, forbid={"restart": "not now"})
    (change,) = release._changes(host.layout, order)
    assert (change.before, change.action, change.running) == (None, "restart", True)
    assert release._forbidden([change], order) == {}


def test_what_a_refused_check_prunes_leaves_as_many_as_are_to_be_kept(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 7):
        host.release(version(number))
    monkeypatch.setattr(release, "check", lambda layout, fresh, parallel: {KEY: "no"})
    monkeypatch.setattr(release, "trial", lambda layout, item: "")
    refused = asked(7, phase="stage", keep=6)
    assert release.stage(host.layout, refused)["refused"] == {"writer": "check: no"}
    staged = {version(number).manifest.release for number in range(1, 7)}
    assert {path.name for path in host.layout.releases(KEY).iterdir()} == staged


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt(), EngineError("no answer")])
def test_a_release_whose_check_was_interrupted_is_checked_by_the_next_stage(
    host: Host, monkeypatch: pytest.MonkeyPatch, ended_by: BaseException
) -> None:
    checked: list[str] = []

    def check(layout: Layout, fresh: list[Wanted], parallel: int) -> dict[str, str]:
        checked.extend(item.manifest.release for item in fresh)
        if len(checked) == 1:
            raise ended_by
        return {KEY: "no"} if len(checked) == 2 else {}

    monkeypatch.setattr(release, "check", check)
    monkeypatch.setattr(release, "trial", lambda layout, item: "")
    host.release(version(1))
    order, new = asked(2, phase="stage"), version(2).manifest.release
    with pytest.raises(type(ended_by)):
        release.stage(host.layout, order)
    assert host.layout.release(KEY, new).is_dir()
    assert release.stage(host.layout, order)["refused"] == {"writer": "check: no"}
    assert not host.layout.release(KEY, new).is_dir()
    for _ in range(2):
        assert release.stage(host.layout, order)["refused"] == {}
    assert checked == [new, new, new], "once it has passed, it is not checked again"


MOSQUITTO = """1795283444: Loading config file /etc/mosquitto/conf.d/muster.conf
1795283444: Error: Unknown configuration variable "bogus".
1795283444: Error found at /etc/mosquitto/conf.d/muster.conf:9.
"""


def test_only_what_a_program_says_of_its_config_refuses_it() -> None:
    refused = trial.complaints(MOSQUITTO, "Error found at")
    assert refused == MOSQUITTO.splitlines()[1:]
    assert trial.complaints("Error: Cannot assign requested address", "Error found at") == []
