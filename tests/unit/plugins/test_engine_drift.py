# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drift: each thing that a person can change by hand is seen, named and shown, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import diff
from ansible_collections.muster.agents.plugins.module_utils.engine.files import link
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, UNIT_PATH, sha256
from tests.unit.plugins.small_host import PROGRAM, Host, host, version

__all__ = ["host"]
TYPO = "[Unit]\nDescription=by hand\n"


@pytest.fixture
def writer(host: Host) -> Host:
    host.release(version(1))
    host.release(version(2))
    return host


def found(host: Host) -> dict[str, Any]:
    (entry,) = diff.host(host.layout, load(host.layout), [KEY])
    return entry


def current(host: Host, name: str) -> str:
    return str(host.layout.current(KEY) / name)


CHANGES: dict[str, Callable[[Host], Any]] = {
    "unit": lambda host: host.layout.on_host(UNIT_PATH).write_text(TYPO),
    "config": lambda host: (host.layout.current(KEY) / "agent.toml").write_text("by hand"),
    "env": lambda host: (host.layout.current(KEY) / "env").unlink(),
    "runtime": lambda host: (host.layout.runtime(sha256(PROGRAM)) / "program").write_text("patched"),
    "link": lambda host: link(host.layout.current(KEY), f"releases/{load(host.layout).proven(KEY)[0]}"),
    "secrets": lambda host: host.layout.secrets_file(KEY).write_text('API_KEY="canary-by-hand"\n'),
    "not enabled": lambda host: host.units.update({UNIT: replace(RUNNING, file_state="disabled")}),
    "masked": lambda host: host.units.update({UNIT: replace(RUNNING, load="masked", file_state="masked")}),
}


def test_what_is_as_released_has_none(writer: Host) -> None:
    assert found(writer)["drift"] == []
    assert diff.host_text([found(writer)]) == "nothing differs from what was released\n"


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_each_change_by_hand_is_named(writer: Host, what: str) -> None:
    released = found(writer)["release"]
    CHANGES[what](writer)
    entry = found(writer)
    assert [one["what"] for one in entry["drift"]] == [what]
    assert entry["release"] == released or what == "link"
    assert "canary" not in str(entry) + diff.host_text([entry])


def test_digests_say_what_was_found_and_expected(writer: Host) -> None:
    CHANGES["runtime"](writer)
    (one,) = found(writer)["drift"]
    assert (one["expected"], one["found"]) == (sha256(PROGRAM), sha256("patched"))
    assert f"expected SHA-256 {sha256(PROGRAM)}\n    found    {sha256('patched')}" in diff.host_text(
        [found(writer)]
    )


def test_the_unit_is_shown_as_a_diff_against_the_release(writer: Host) -> None:
    CHANGES["unit"](writer)
    (one,) = found(writer)["drift"]
    assert (
        one["diff"]
        == f"--- released/unit\n+++ {writer.layout.on_host(UNIT_PATH)}\n@@ -1 +1,2 @@\n [Unit]\n+Description=by hand\n"
    )


def test_a_file_of_the_release_is_shown_as_long_as_another_release_has_its_text(writer: Host) -> None:
    (writer.layout.current(KEY) / "env").write_text('A="2"\nTOKEN="canary-of-today"\n')
    (one,) = found(writer)["drift"]
    assert '-A="1"\n+A="2"\n+TOKEN="********"\n' in one["diff"]
    CHANGES["config"](writer)
    by_name = {one["what"]: one for one in found(writer)["drift"]}
    assert by_name["config"]["diff"] == "", "its text is nowhere on this host any more"
    assert by_name["config"]["found"] == sha256("by hand")


def test_hidden_files_are_never_shown(host: Host) -> None:
    host.release(version(1, hidden=["unit"]))
    CHANGES["unit"](host)
    assert "by hand" not in diff.host_text([found(host)])
    (one,) = found(host)["drift"]
    assert one["found"] == sha256(TYPO)


def test_secrets_are_told_by_name_only(writer: Host) -> None:
    path = writer.layout.secrets_file(KEY)
    path.write_text('EXTRA="canary"\n')
    os.chmod(path, 0o644)
    (one,) = found(writer)["drift"]
    assert one["detail"] == "API_KEY is missing; EXTRA was added; others than root may read it"


def test_drop_ins_of_people_are_shown_and_no_drift(writer: Host) -> None:
    theirs = f"{UNIT_PATH}.d/override.conf"
    ours, lxc = f"{UNIT_PATH}.d/50-muster-hold.conf", "/run/systemd/system/service.d/zzz-lxc.conf"
    package = f"/usr/lib/systemd/system/{UNIT}.d/10.conf"
    hold = str(writer.layout.root) + ours
    writer.units[UNIT] = replace(RUNNING, drop_ins=(theirs, hold, lxc, package))
    assert (found(writer)["drift"], found(writer)["overrides"]) == ([], [theirs])
    assert diff.host_text([found(writer)]) == f"writer: override, left alone: {theirs}\n"


def test_a_damaged_manifest_is_one_finding(writer: Host) -> None:
    (writer.layout.current(KEY) / "manifest.json").write_text("{}")
    (one,) = found(writer)["drift"]
    assert (one["what"], one["path"]) == (
        "manifest.json",
        str((writer.layout.current(KEY) / "manifest.json").resolve()),
    )


def test_two_releases_are_compared_file_by_file(writer: Host) -> None:
    first, second = load(writer.layout).proven(KEY)
    between = diff.between(writer.layout, KEY, first, second)
    assert [one["file"] for one in between["files"]] == ["agent.toml", "manifest.json"]
    assert "-number = 1\n+number = 2\n" in between["files"][0]["diff"]
    assert '- "version": "1.1"\n+ "version": "1.2"\n' in between["files"][1]["diff"]
    assert diff.between(writer.layout, KEY, first, first)["files"] == []


def test_hidden_files_of_two_releases_only_differ(host: Host) -> None:
    first, second = (host.release(version(number, hidden=["agent.toml"])) for number in (1, 2))
    text = diff.between_text(diff.between(host.layout, KEY, first, second))
    assert "number" not in text and "hidden" in text
