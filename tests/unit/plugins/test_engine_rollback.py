# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollback refuses, with nothing changed, and what it would take back with it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import hold, manifest, rollback
from ansible_collections.muster.agents.plugins.module_utils.engine.files import make_directory
from ansible_collections.muster.agents.plugins.module_utils.engine.request import parse
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load, save
from tests.unit.plugins.builders import KEY, TEXTS, UNIT, raw_manifest
from tests.unit.plugins.small_host import NAMED, Host, host, version

__all__ = ["host"]
OTHER = {"name": "editor", "base": "editor", "unit": "agent-editor.service", "install": {}}


def outcomes(host: Host, **asked: Any) -> dict[str, dict[str, Any]]:
    request = parse(json.dumps({"format": 1, "phase": "rollback", "names": ["writer"], **asked}))
    return {one["name"]: one for one in rollback.rollback(host.layout, request)["outcomes"]}


def refusal(host: Host, **asked: Any) -> str:
    before = host.bytes()
    found = outcomes(host, **asked)
    assert {one["result"] for one in found.values()} == {"refused"}
    assert host.bytes() == before, "a refused rollback changes nothing"
    told = json.loads(host.layout.history.read_text().splitlines()[-1])
    assert (told["via"], told["result"], told["phase"]) == ("rollback", "refused", "check")
    return str(found["writer"]["reason"])


def test_there_must_be_something_to_go_back_to(host: Host) -> None:
    host.release(version(1))
    assert "has no proven release to go back to" in refusal(host)


def test_the_release_must_be_there_whole_and_another_one(host: Host) -> None:
    first, second = host.release(version(1)), host.release(version(2))
    assert f"is on release {second} already" in refusal(host, target=second[:6])
    assert "has no release 'eeee'" in refusal(host, target="eeee")
    (host.layout.release(KEY, first) / "agent.toml").write_text("tampered")
    assert refusal(host) == f"release {first} cannot run: agent.toml altered since it was staged"
    (host.layout.release(KEY, first) / "manifest.json").unlink()
    assert "manifest.json: missing" in refusal(host)


def test_its_runtime_must_be_there(host: Host) -> None:
    first = host.release(version(1))
    host.release(version(2, runtime=None))
    shutil.rmtree(host.layout.runtimes)
    assert refusal(host) == f"release {first} cannot run: its runtime reference is gone"


def test_a_secret_that_is_nowhere_is_named_and_one_that_is_given_will_do(host: Host) -> None:
    first = host.release(version(1, secrets={**NAMED, "OLD_KEY": {"from": "secret", "name": "OLD_KEY"}}))
    host.release(version(2))
    told = refusal(host)
    assert f"release {first} needs OLD_KEY, which is not on this host any more" in told
    assert "rollback.yml" in told and "canary" not in told
    assert outcomes(host, check_mode=True, secrets={KEY: {"OLD_KEY": "given"}}) == {}


def test_todays_secrets_go_with_it_and_no_others(host: Host) -> None:
    first = host.release(version(1))
    host.release(version(2, secrets={**NAMED, "NEW": {"from": "secret", "name": "NEW"}}))
    host.layout.secrets_file(KEY).write_text('API_KEY="rotated"\nNEW="n"\n')
    request = parse(json.dumps({"format": 1, "names": ["writer"], "target": first}))
    (target,) = rollback._plan(host.layout, request)
    assert (target.refusal, target.secrets) == ("", {"API_KEY": "rotated"})


def test_a_service_that_needs_no_secret_keeps_none(host: Host) -> None:
    """A broker that goes back to a release without TLS."""
    plain = manifest.parse(raw_manifest(TEXTS, kind="service", name="mosquitto"))
    make_directory(host.layout.secrets, 0o700)
    host.layout.secrets_file(plain.key).write_text('TLS_KEY="canary"\n')
    assert rollback._todays(host.layout, plain, {}) == {}


def test_who_is_held_stays_held(host: Host) -> None:
    host.release(version(1))
    host.release(version(2))
    hold.put(host.layout, KEY, {"note": "disk"})
    assert refusal(host) == "is held; `muster unhold writer` first"


def test_one_refused_agent_keeps_the_others_as_they_are(host: Host) -> None:
    host.release(version(1))
    host.release(version(1, **OTHER))
    host.release(version(2, **OTHER))
    before = host.bytes()
    found = outcomes(host, names=["writer", "editor"])
    assert "has no proven release" in found["writer"]["reason"]
    assert found["editor"]["reason"] == "is left as it is, because writer was refused"
    assert {one["result"] for one in found.values()} == {"refused"}
    assert host.bytes() == before


def test_a_release_of_another_id_asks_the_broker_first(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.release(version(1))
    host.release(version(2))
    state = load(host.layout)
    state.workloads[KEY]["agent_id"] = "writer-renamed"
    save(host.layout, state)
    monkeypatch.setattr(
        rollback, "twin", lambda document, secrets: f"{document.gate.agent_id} runs elsewhere"
    )
    assert refusal(host) == "writer-agent runs elsewhere"
    assert outcomes(host, check_mode=True, assume_gone=True) == {}


def test_each_agent_may_have_its_own_target(host: Host) -> None:
    first = host.release(version(1))
    host.release(version(2))
    host.release(version(3))
    request = parse(json.dumps({"format": 1, "names": ["writer"], "targets": {"writer": first}}))
    (target,) = rollback._plan(host.layout, request)
    assert target.document is not None and target.document.release == first
    (change,) = rollback._changes(host.layout, [target])
    assert (change.unit, change.action, change.reasons) == (UNIT, "restart", ["agent.toml", "rollback"])


def test_names_of_nothing_here_are_passed_over(host: Host) -> None:
    host.release(version(1))
    assert outcomes(host, names=["editor"], check_mode=True) == {}
