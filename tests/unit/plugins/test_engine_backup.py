# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backup and restore by the engine: what one host had, another one has, with secrets of its own day."""

from __future__ import annotations

import base64
import io
import json
import os
import pwd
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import (
    backup,
    broker_data,
    hold,
    releases,
    restore,
    systemd,
)
from ansible_collections.muster.agents.plugins.module_utils.engine import state as states
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError, NoRoom
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_bytes
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import Watch
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Request, parse
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, UNIT_PATH, nested, wanted
from tests.unit.plugins.small_host import PROGRAM, SECRETS, Host, version

WHO = {"user": "admin", "host": "laptop"}
TODAY = {KEY: {"API_KEY": "canary-of-the-restore"}}


def ask(phase: str, archive: Mapping[str, Any] | None = None, **changes: Any) -> Request:
    document = {"format": 1, "phase": phase, "who": WHO, "archive": archive or {}, **changes}
    return parse(json.dumps(document))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with two releases of `writer`, its data and a history."""
    monkeypatch.setattr(systemd, "run", lambda *words, **more: subprocess.CompletedProcess(words, 0, "", ""))
    monkeypatch.setattr(restore, "start_and_gate", healthy)
    host = Host(tmp_path / "old", monkeypatch)
    host.release(version(1), staged_at=1000)
    host.release(version(2), staged_at=2000)
    states.record(host.layout, {"key": KEY, "name": "writer", "result": "released"})
    folder = data(host.layout)
    folder.mkdir(parents=True)
    (folder / "notes").write_text("canary-notes")
    (folder / "last").symlink_to("notes")
    return host


@pytest.fixture
def new(old: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path / "new", monkeypatch)


def healthy(watches: Iterable[Watch], parallel: int) -> None:
    for watch in watches:
        watch.verdict = ""


def data(layout: Layout) -> Path:
    return layout.root / "var/lib/private/agent-writer"


def fetched(host: Host, **about: Any) -> tuple[bytes, dict[str, Any]]:
    report = backup.make(host.layout, ask("backup", about))
    asked = {"token": report["token"], "offset": 0, "length": 100}
    found = b""
    while piece := base64.b64decode(backup.piece(host.layout, json.dumps({**asked, "offset": len(found)}))):
        found += piece
    assert (len(found), sha256_bytes(found)) == (report["size"], report["sha256"])
    backup.forget(host.layout, ask("backup_end", {"token": report["token"]}))
    return found, report


def unpacked(host: Host, archive: bytes, **about: Any) -> tuple[str, dict[str, Any]]:
    asked = {"size": len(archive), "bytes": 1000, "files": 10, **about}
    token = restore.begin(host.layout, ask("restore_begin", asked))["token"]
    for offset in range(0, len(archive), 1000):
        head = json.dumps({"token": token, "offset": offset}).encode()
        restore.take(host.layout, head + b"\n" + archive[offset : offset + 1000])
    proof = {"token": token, "sha256": sha256_bytes(archive)}
    return token, restore.unpack(host.layout, ask("restore_unpack", proof))


def restored(host: Host, archive: bytes, **about: Any) -> dict[str, Any]:
    token, _ = unpacked(host, archive, **about)
    restore.place(host.layout, ask("restore_place", {"token": token, **about}))
    return restore.start(host.layout, ask("restore_start", secrets=TODAY))


def entries(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isreg()}  # type: ignore[union-attr]


def test_another_host_has_what_the_first_one_had(old: Host, new: Host) -> None:
    archive, report = fetched(old)
    assert (report["workloads"], report["left_out"]) == (["writer"], [])
    (outcome,) = restored(new, archive)["outcomes"]
    before, after = states.load(old.layout), states.load(new.layout)
    release = before.release(KEY)
    assert (outcome["result"], outcome["after"]) == ("released", release)
    assert releases.on_disk(new.layout, KEY) == releases.on_disk(old.layout, KEY)
    assert (after.release(KEY), after.proven(KEY)) == (release, before.proven(KEY))
    assert new.layout.current(KEY).resolve().name == release
    assert (new.layout.current(KEY) / "runtime/program").read_text() == PROGRAM
    assert new.layout.on_host(UNIT_PATH).read_text() == old.layout.on_host(UNIT_PATH).read_text()
    assert (data(new.layout) / "last").read_text() == "canary-notes"
    told = [
        json.loads(line)["via"] for line in new.layout.history.read_text().splitlines() if '"via"' in line
    ]
    assert told == ["restore"]
    assert len(new.layout.history.read_text().splitlines()) == 2


def test_todays_secrets_are_there_and_known_as_released(old: Host, new: Host) -> None:
    archive, _ = fetched(old)
    restored(new, archive)
    text = new.layout.secrets_file(KEY).read_text()
    assert "canary-of-the-restore" in text
    state = states.load(new.layout)
    assert state.workloads[KEY]["secrets"] == state.digest(text)


def test_no_secret_is_in_a_backup(old: Host) -> None:
    archive, _ = fetched(old)
    found = entries(archive)
    assert not any("etc/muster" in name for name in found)
    assert not any(value.encode() in one for one in found.values() for value in SECRETS.values())


def test_a_backup_leaves_nothing_on_the_host_and_changes_nothing(old: Host) -> None:
    before = old.bytes()
    fetched(old)
    assert old.bytes() == before
    report = backup.make(old.layout, ask("backup", check_mode=True))
    assert "token" not in report
    assert old.bytes() == before


def test_data_are_left_out_where_asked(old: Host, new: Host) -> None:
    notes = "var/lib/private/agent-writer/notes"
    assert notes in entries(fetched(old)[0])
    assert notes not in entries(fetched(old, data=False)[0])
    assert notes not in entries(fetched(old, without_data=["writer"])[0])
    assert restored(new, fetched(old, data=False)[0])["outcomes"][0]["result"] == "released"
    assert not data(new.layout).exists()


def test_what_cannot_be_restored_is_refused_or_told(old: Host) -> None:
    (data(old.layout) / "out").symlink_to("/etc/passwd")
    first, current = sorted(
        releases.on_disk(old.layout, KEY), key=lambda one: one == states.load(old.layout).release(KEY)
    )
    (old.layout.release(KEY, first) / "env").write_text("altered")
    _, report = fetched(old)
    assert [line.split(": ")[1] for line in report["left_out"]] == [
        "env altered since it was staged",
        "a link that leads out",
    ]
    (old.layout.release(KEY, current) / "env").write_text("altered")
    with pytest.raises(EngineError, match=f"its release {current} could not be restored: env altered"):
        backup.make(old.layout, ask("backup"))


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have an agent act when its data were looked at and are not read yet."""
    monkeypatch.setattr(backup, "require_room", lambda needs: act())


def swapped(path: Path, make: Callable[[Path], Any]) -> None:
    path.rename(path.with_name("aside"))
    make(path)


def test_a_folder_that_an_agent_swaps_for_a_link_is_not_followed(
    old: Host, new: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, cache = tmp_path / "secrets", data(old.layout) / "a/cache"
    for folder in (secrets / "deep", cache / "deep"):
        folder.mkdir(parents=True)
        (folder / "other.env").write_text("canary-of-another")
        (folder.parent / "other.env").write_text("canary-of-another")
    for path in cache.rglob("other.env"):
        path.write_text("mine")
    meanwhile(monkeypatch, lambda: swapped(cache, lambda path: path.symlink_to(secrets)))
    archive, report = fetched(old)
    assert not any(b"canary-of-another" in one for one in entries(archive).values())
    assert str(cache) in " ".join(report["left_out"])
    assert restored(new, archive)["outcomes"][0]["result"] == "released"
    assert (data(new.layout) / "notes").read_text() == "canary-notes"


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        socket_at,
        os.mkdir,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("last"),
        lambda path: None,
    ],
    ids=["fifo", "socket", "folder", "link out", "link in", "nothing"],
)
@pytest.mark.parametrize("name", ["notes", "last", "folder"])
def test_what_an_agent_swaps_before_it_is_read_spoils_no_restore(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], Any]
) -> None:
    (data(old.layout) / "folder").mkdir()
    (data(old.layout) / "folder/x").write_text("x")
    (data(old.layout) / "other").write_text("whole")
    meanwhile(monkeypatch, lambda: swapped(data(old.layout) / name, make))
    archive, _ = fetched(old)
    assert restored(new, archive)["outcomes"][0]["result"] == "released"
    assert (data(new.layout) / "other").read_text() == "whole"


def test_a_link_that_an_agent_turns_outwards_is_left_out(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = data(old.layout) / "last"
    meanwhile(monkeypatch, lambda: swapped(last, lambda path: path.symlink_to("../agent-other/notes")))
    archive, report = fetched(old)
    assert [line.split(": ")[0] for line in report["left_out"]] == [str(last)]
    restored(new, archive)
    assert not (data(new.layout) / "last").is_symlink()


def test_a_file_that_an_agent_makes_huge_is_read_as_far_as_there_is_room(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, log = data(old.layout) / "notes", data(old.layout) / "log"
    log.write_text("1")

    def grow() -> None:
        os.truncate(notes, 64 << 20)
        log.write_text("12")

    meanwhile(monkeypatch, grow)
    archive, report = fetched(old)
    assert report["left_out"] == [f"{notes}: what it gained while the backup was made"]
    assert report["bytes"] == sum(map(len, entries(archive).values())) - listed(archive)
    restored(new, archive)
    assert (data(new.layout) / "notes").read_text() == "canary-notes"
    assert (data(new.layout) / "log").read_text() == "12", "one that was replaced is whole"


def listed(archive: bytes) -> int:
    return len(entries(archive)["contents.json"])


def test_a_file_of_our_own_that_is_none_any_more_fails_the_backup(
    old: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: swapped(old.layout.history, os.mkfifo))
    with pytest.raises(EngineError, match=r"history.* could not be read: it became another thing"):
        backup.make(old.layout, ask("backup"))
    assert not backup.folder(old.layout).exists()


def test_a_tree_that_is_too_deep_costs_no_more_than_itself(old: Host, new: Host) -> None:
    with nested(data(old.layout), "d", 1100), nested(data(old.layout), "long" * 60, 20):
        archive, report = fetched(old)
    assert [line.split(": ")[-1] for line in report["left_out"]] == [
        "its path is longer than 3840 bytes",
        "more than 128 folders deep",
    ]
    assert restored(new, archive)["outcomes"][0]["result"] == "released"
    assert (data(new.layout) / "notes").read_text() == "canary-notes"
    assert data(new.layout).joinpath(*["d"] * 128).is_dir()


def test_no_time_that_an_agent_sets_spoils_a_restore(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems keep any number."""
    real = os.fstat

    def late(handle: int) -> os.stat_result:
        found = list(real(handle))
        found[8] = 1 << 63  # st_mtime
        return os.stat_result(found)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", late)
        archive, _ = fetched(old)
    assert restored(new, archive)["outcomes"][0]["result"] == "released"


def test_pieces_end_where_another_backup_begins(old: Host) -> None:
    first = backup.make(old.layout, ask("backup"))
    backup.make(old.layout, ask("backup"))
    asked = {"token": first["token"], "offset": 0, "length": 10}
    with pytest.raises(EngineError, match="another backup of this host has begun"):
        backup.piece(old.layout, json.dumps(asked))
    with pytest.raises(EngineError, match="no backup's token"):
        backup.piece(old.layout, json.dumps({**asked, "token": "../../x"}))


def test_what_is_held_stays_held_and_can_go_on(old: Host, new: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    hold.prepare(old.layout, KEY, UNIT)
    hold.put(old.layout, KEY, {"since": "2026-11-21T00:00:00Z", "note": "disk"})
    started: list[Watch] = []
    archive, _ = fetched(old)
    monkeypatch.setattr(restore, "start_and_gate", lambda watches, parallel: started.extend(watches))
    (outcome,) = restored(new, archive)["outcomes"]
    assert (outcome["result"], started) == ("unchanged", [])
    held = hold.held(new.layout, KEY)
    assert held is not None and held["note"] == "disk"
    assert str(new.layout.root) in hold.drop_in(new.layout, UNIT).read_text()
    assert new.layout.on_host(UNIT_PATH).exists()


def test_one_that_does_not_become_ready_stays_in_place_and_says_why(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(watches: Iterable[Watch], parallel: int) -> None:
        for watch in watches:
            watch.verdict, watch.log = "exited with status 1", ["said canary-of-the-restore"]

    monkeypatch.setattr(restore, "start_and_gate", crash)
    (outcome,) = restored(new, fetched(old)[0])["outcomes"]
    assert (outcome["result"], outcome["reason"]) == ("failed", "exited with status 1")
    assert outcome["log"] == ["said ********"]
    assert new.layout.current(KEY).exists()


def test_a_host_that_has_something_is_refused_unless_it_is_to_be_replaced(old: Host, new: Host) -> None:
    archive, _ = fetched(old)
    new.release(version(3))
    data(new.layout).mkdir(parents=True)
    (data(new.layout) / "stale").touch()
    before = new.bytes()
    for step, about in ((restore.look, {}), (restore.begin, {"size": 1, "bytes": 1, "files": 1})):
        with pytest.raises(EngineError, match="muster runs writer here already; nothing was changed"):
            step(new.layout, ask("restore", about))
    assert new.bytes() == before
    restored(new, archive, replace=True)
    assert releases.on_disk(new.layout, KEY) == releases.on_disk(old.layout, KEY)
    assert sorted(path.name for path in data(new.layout).iterdir()) == ["last", "notes"]


def test_nothing_is_in_place_until_all_of_it_was_proven(old: Host, new: Host) -> None:
    archive, _ = fetched(old)
    with pytest.raises(EngineError):
        unpacked(new, archive[:-30])
    token = restore.begin(new.layout, ask("restore_begin", {"size": 1, "bytes": 1, "files": 1}))["token"]
    restore.take(new.layout, json.dumps({"token": token, "offset": 0}).encode() + b"\nx")
    with pytest.raises(EngineError, match="did not arrive whole"):
        restore.unpack(new.layout, ask("restore_unpack", {"token": token, "sha256": "0"}))
    restore.drop(new.layout, ask("restore_drop", {"token": token}))
    assert list(new.bytes()) == []


def killed(*words: Any, **more: Any) -> None:
    raise KeyboardInterrupt


def test_a_restore_that_was_killed_at_any_file_begins_anew(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = fetched(old)
    for at in ("stage_release", "_place_data", "write", "save"):
        with monkeypatch.context() as patch:
            patch.setattr(restore, at, killed)
            with pytest.raises(KeyboardInterrupt):
                restored(new, archive)
        assert states.load(new.layout).workloads == {}
    assert restored(new, archive)["outcomes"][0]["result"] == "released"
    assert (data(new.layout) / "notes").read_text() == "canary-notes"
    assert not list(new.layout.root.rglob("*.muster-*"))
    assert not (new.layout.lib / "restore").exists()


def test_only_the_last_restore_that_began_may_go_on(old: Host, new: Host) -> None:
    archive, _ = fetched(old)
    token, _ = unpacked(new, archive)
    unpacked(new, archive)
    with pytest.raises(EngineError, match="another restore of this host has begun"):
        restore.place(new.layout, ask("restore_place", {"token": token}))


def test_a_disk_that_is_too_small_is_told_first(new: Host) -> None:
    with pytest.raises(NoRoom):
        restore.begin(new.layout, ask("restore_begin", {"size": 2**60, "bytes": 1, "files": 1}))


def test_an_id_that_runs_elsewhere_is_not_started(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        restore.presence, "twin", lambda document, secrets: "is available on the broker already"
    )
    archive, _ = fetched(old)
    (outcome,) = restored(new, archive)["outcomes"]
    assert (outcome["result"], outcome["reason"]) == ("refused", "is available on the broker already")
    assert not new.layout.on_host(UNIT_PATH).exists()


def test_a_host_without_anything_has_no_backup(new: Host) -> None:
    report = backup.make(new.layout, ask("backup"))
    assert (report["workloads"], list(new.bytes())) == ([], [])


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("var/lib/muster/state.json", 3),
        ("opt/muster/runtimes/0/program", 3),
        ("var/lib/mosquitto/mosquitto.db", 4),
        ("var/lib/private/agent-x/y", 4),
        ("var/log/agent-x", 3),
        ("var/lib/mosquitto/other", 0),
        ("var/lib/private/agent", 0),
        ("var/lib/private", 0),
        ("var/cache/agent-x/y", 0),
        ("etc/muster/secrets/x.env", 0),
        ("etc/systemd/system/agent-x.service", 0),
    ],
)
def test_only_what_a_backup_has_finds_a_place(name: str, length: int) -> None:
    assert restore.folder_of(tuple(name.split("/"))) == length


BROKER = {
    "kind": "service",
    "name": "mosquitto",
    "base": "mosquitto",
    "unit": "mosquitto.service",
    "install": {},
    "config": None,
}


@pytest.mark.parametrize(("conf", "kept"), [("persistence true\n", True), ("persistence false\n", False)])
def test_a_brokers_database_is_taken_where_it_keeps_one(old: Host, conf: str, kept: bool) -> None:
    old.release(wanted({"conf": conf}, **BROKER))
    old.units["mosquitto.service"] = replace(RUNNING, active="inactive")
    path = broker_data.database(old.layout)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"retained")
    assert ("var/lib/mosquitto/mosquitto.db" in entries(fetched(old)[0])) == kept


def test_a_brokers_database_goes_to_its_own_user_in_a_folder_that_stays(
    old: Host, new: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.release(wanted({"conf": "persistence true\n"}, **BROKER))
    monkeypatch.setattr(broker_data, "saved", lambda layout, state: broker_data.database(layout))
    stopped: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        systemd,
        "run",
        lambda *words, **more: stopped.append(words) or subprocess.CompletedProcess(words, 0, "", ""),
    )
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(broker_data.pwd, "getpwnam", lambda name: nobody)
    path = broker_data.database(new.layout)
    for folder in (broker_data.database(old.layout).parent, path.parent):
        folder.mkdir(parents=True)
        folder.chmod(0o770)
    broker_data.database(old.layout).write_bytes(b"retained")
    restored(new, fetched(old)[0])
    assert path.read_bytes() == b"retained"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (nobody.pw_uid, 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o770
    assert ("systemctl", "stop", "--", "mosquitto.service") in stopped
