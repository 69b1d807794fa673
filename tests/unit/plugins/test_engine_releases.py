# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choosing a release: what there is, which one a rollback means, and what is said where it means none."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import releases
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load
from tests.unit.plugins.builders import KEY
from tests.unit.plugins.small_host import NAMED, Host, host, version

__all__ = ["host"]


def resolve(host: Host, target: str = "") -> str:
    return releases.resolve(host.layout, load(host.layout), KEY, target)


def marks(host: Host) -> dict[str, list[str]]:
    found = releases.named(host.layout, ["writer"])["releases"][KEY]
    return {
        one["release"]: [word for word in ("current", "proven", "previous", "whole") if one[word]]
        for one in found
    }


def test_the_list_says_what_each_release_is(host: Host) -> None:
    first, second = host.release(version(1), 1000.0), host.release(version(2), 2000.0)
    staged = host.stage(version(3), 3000.0)
    report = releases.named(host.layout, [])
    assert report["workloads"] == {KEY: {"name": "writer", "base": "writer", "agent_id": "writer-agent"}}
    assert [one["release"] for one in report["releases"][KEY]] == [staged, second, first]
    assert report["releases"][KEY][2] == {
        "release": first,
        "current": False,
        "proven": True,
        "previous": True,
        "staged_at": "1970-01-01T00:16:40Z",
        "runtime": "reference 1.2",
        "version": "1.1",
        "whole": True,
        "secrets": NAMED,
    }
    assert marks(host) == {
        staged: ["whole"],
        second: ["current", "proven", "whole"],
        first: ["proven", "previous", "whole"],
    }


@pytest.mark.parametrize("damage", ["agent.toml", "manifest.json", "runtime"])
def test_a_damaged_release_is_not_whole(host: Host, damage: str) -> None:
    first, second = host.release(version(1)), host.release(version(2))
    path = host.layout.release(KEY, first) / damage
    path.unlink()
    assert "whole" not in marks(host)[first]
    assert "whole" in marks(host)[second]


def test_a_release_without_its_runtime_is_not_whole(host: Host) -> None:
    first = host.release(version(1))
    shutil.rmtree(host.layout.runtimes)
    assert marks(host) == {first: ["current", "proven"]}


def test_names_of_nothing_are_passed_over(host: Host) -> None:
    host.release(version(1))
    assert releases.named(host.layout, ["editor"]) == {"releases": {}, "workloads": {}}


def test_the_previous_one_is_the_newest_proven_that_is_not_current(host: Host) -> None:
    first, second = host.release(version(1)), host.release(version(2))
    host.release(version(3))
    assert resolve(host) == second
    shutil.rmtree(host.layout.release(KEY, second))
    assert resolve(host) == first, "what is gone from the disk is nothing to go back to"
    host.release(version(1))
    assert resolve(host) not in (first, second)


def test_an_id_or_its_beginning_names_one(host: Host) -> None:
    first = host.release(version(1))
    host.release(version(2))
    assert resolve(host, first) == resolve(host, first[:4]) == first


def test_nothing_to_go_back_to_is_said_with_what_there_is(host: Host) -> None:
    only, staged = host.release(version(1), 1000.0), host.stage(version(2), 2000.0)
    with pytest.raises(EngineError) as refusal:
        resolve(host)
    told = str(refusal.value)
    assert told.startswith("has no proven release to go back to; there are ")
    assert f"{only} (current, proven, staged 1970-01-01" in told
    assert f"{staged} (staged 1970-01-01" in told


def test_an_unknown_id_gets_the_list(host: Host) -> None:
    first = host.release(version(1), 1000.0)
    with pytest.raises(
        EngineError, match=f"has no release 'ffff0000'; there are {first} .current, proven, staged"
    ):
        resolve(host, "ffff0000")


def test_a_short_and_an_ambiguous_prefix_are_refused(host: Host) -> None:
    host.release(version(1))
    twins = ["abcd" + digit * 12 for digit in "01"]
    for twin in twins:
        host.layout.release(KEY, twin).mkdir()
    with pytest.raises(EngineError, match="has 2 releases that begin with 'abcd'") as refusal:
        resolve(host, "abcd")
    assert all(twin in str(refusal.value) for twin in twins)
    with pytest.raises(EngineError, match="too short"):
        resolve(host, "abc")
    with pytest.raises(EngineError, match="has no release"):
        resolve(host, "../../etc")
