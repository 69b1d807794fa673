# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Staging: all that a release needs, beside what runs, or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest, stage
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError, NoRoom
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from tests.unit.plugins.builders import KEY, TEXTS, sha256, small_disk, wanted

PROGRAM = b"#!/bin/sh\necho program\n"
DIGEST = sha256(PROGRAM)
RUNTIME = {"name": "reference", "version": "1", "artifacts": {"any": DIGEST}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "host")


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "pushed"
    path.write_bytes(PROGRAM)
    return str(path)


def tree(path: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with its inode and time: equal trees were not touched."""
    return {
        str(file.relative_to(path)): (file.lstat().st_ino, file.lstat().st_mtime_ns)
        for file in path.rglob("*")
    }


# --- releases -----------------------------------------------------------------------------------------------


def test_a_release_is_staged_whole_and_for_root_alone(layout: Layout) -> None:
    item = wanted(runtime=RUNTIME)
    assert stage.stage_release(layout, item)
    directory = layout.release(KEY, item.manifest.release)
    assert {name: (directory / name).read_text() for name in TEXTS} == TEXTS
    assert (directory / "release.env").read_text() == f"MUSTER_RELEASE={item.manifest.release}\n"
    ours = [*TEXTS, "manifest.json", "release.env"]
    assert {(directory / name).stat().st_mode & 0o777 for name in ours} == {0o600}
    assert os.readlink(directory / "runtime") == str(layout.runtime(DIGEST))
    assert manifest.read(layout, KEY, item.manifest.release) == item.manifest
    assert os.listdir(directory.parent) == [item.manifest.release]
    assert not layout.current(KEY).exists()


def test_staging_again_touches_nothing(layout: Layout) -> None:
    stage.stage_release(layout, wanted(runtime=RUNTIME))
    stage.passed(layout, wanted(runtime=RUNTIME).manifest)
    before = tree(layout.root)
    assert not stage.stage_release(layout, wanted(runtime=RUNTIME))
    assert tree(layout.root) == before


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def _redirect(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nonexistent")


@pytest.mark.parametrize(
    ("name", "tamper"),
    [
        *((name, tamper) for name in [*sorted(TEXTS), "manifest.json"] for tamper in (_append, Path.unlink)),
        ("runtime", Path.unlink),
        ("runtime", _redirect),
    ],
)
def test_a_staged_release_that_was_tampered_with_is_staged_again(
    layout: Layout, name: str, tamper: Callable[[Path], None]
) -> None:
    item = wanted(runtime=RUNTIME)
    stage.stage_release(layout, item)
    directory = layout.release(KEY, item.manifest.release)
    tamper(directory / name)
    assert stage.stage_release(layout, item)
    assert manifest.read(layout, KEY, item.manifest.release) == item.manifest
    assert manifest.altered(directory, item.manifest) == []
    assert os.readlink(directory / "runtime") == str(layout.runtime(DIGEST))


def test_what_a_killed_run_left_is_cleaned_up(layout: Layout) -> None:
    item = wanted()
    left = layout.releases(KEY) / f".{item.manifest.release}.4711"
    left.mkdir(parents=True)
    (left / "unit").write_text("half")
    assert stage.stage_release(layout, item)
    assert os.listdir(layout.releases(KEY)) == [item.manifest.release]


def test_other_releases_stay_as_they_are(layout: Layout) -> None:
    stage.stage_release(layout, wanted())
    before = tree(layout.releases(KEY))
    stage.stage_release(layout, wanted({**TEXTS, "env": 'A="2"\n'}))
    after = tree(layout.releases(KEY))
    assert before.items() <= after.items()
    assert len(os.listdir(layout.releases(KEY))) == 2


# --- runtimes -----------------------------------------------------------------------------------------------


def test_a_runtime_gets_to_its_content_address_and_runs(layout: Layout, program: str) -> None:
    assert list(stage.missing_runtimes(layout, [wanted(runtime=RUNTIME).manifest])) == [DIGEST]
    stage.stage_runtimes(layout, {DIGEST: program})
    path = layout.runtimes / DIGEST / "program"
    assert subprocess.check_output([path], text=True) == "program\n"
    assert path.stat().st_mode & 0o777 == 0o755
    assert stage.missing_runtimes(layout, [wanted(runtime=RUNTIME).manifest]) == {}


def test_a_runtime_with_another_digest_is_refused_and_not_installed(layout: Layout, program: str) -> None:
    Path(program).write_bytes(PROGRAM + b"#")
    with pytest.raises(
        EngineError, match=f"is {sha256(PROGRAM + b'#')}, not {DIGEST}; nothing was installed"
    ):
        stage.stage_runtimes(layout, {DIGEST: program})
    assert not layout.runtimes.exists() or os.listdir(layout.runtimes) == []


def test_a_runtime_that_never_arrived_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="runtime refused"):
        stage.stage_runtimes(layout, {DIGEST: str(tmp_path / "absent")})


def test_a_digest_that_is_a_path_is_refused(layout: Layout, program: str) -> None:
    with pytest.raises(EngineError, match="not a SHA-256 digest"):
        stage.stage_runtimes(layout, {"../../etc": program})


def test_a_runtime_that_was_altered_is_asked_for_and_replaced(layout: Layout, program: str) -> None:
    stage.stage_runtimes(layout, {DIGEST: program})
    _append(layout.runtimes / DIGEST / "program")
    assert list(stage.missing_runtimes(layout, [wanted(runtime=RUNTIME).manifest])) == [DIGEST]
    stage.stage_runtimes(layout, {DIGEST: program})
    assert stage.missing_runtimes(layout, [wanted(runtime=RUNTIME).manifest]) == {}
    assert os.listdir(layout.runtimes) == [DIGEST]


def test_what_a_killed_push_left_is_cleaned_up(layout: Layout, program: str) -> None:
    left = layout.runtimes / f".{'c' * 64}.4711"
    left.mkdir(parents=True)
    (left / "program").write_bytes(b"half")
    stage.stage_runtimes(layout, {DIGEST: program})
    assert os.listdir(layout.runtimes) == [DIGEST]


def test_a_runtime_that_another_deploy_brought_meanwhile_is_no_failure(layout: Layout, program: str) -> None:
    """Two deploys saw it missing; both push it, one after the other."""
    stage.stage_runtimes(layout, {DIGEST: program})
    stage.stage_runtimes(layout, {DIGEST: program})
    assert os.listdir(layout.runtimes) == [DIGEST]


# --- room and packages --------------------------------------------------------------------------------------


def test_where_there_is_room_nothing_is_said(layout: Layout, program: str) -> None:
    stage.make_room(layout, [wanted()], {DIGEST: program})
    assert not layout.root.exists()


def test_too_little_space_is_refused_before_anything_is_written(layout: Layout, program: str) -> None:
    with small_disk(layout.root, "size=1m"):
        stage.make_room(layout, [wanted()], {})
        with pytest.raises(NoRoom, match=r"bytes free, \d+ needed") as refusal:
            stage.make_room(layout, [wanted({**TEXTS, "agent.toml": "#" * 500_000})], {})
        assert refusal.value.exit_code == 73
        assert list(layout.root.iterdir()) == []


def test_too_little_space_for_the_runtime_is_refused(layout: Layout, program: str) -> None:
    Path(program).write_bytes(b"#" * 500_000)
    with small_disk(layout.root, "size=1m"), pytest.raises(NoRoom, match="nothing was changed"):
        stage.make_room(layout, [wanted()], {DIGEST: program})


def test_a_file_system_of_its_own_is_named(layout: Layout, program: str) -> None:
    Path(program).write_bytes(b"#" * 500_000)
    with small_disk(layout.runtimes, "size=600k"), pytest.raises(NoRoom, match="opt/muster/runtimes"):
        stage.make_room(layout, [wanted()], {DIGEST: program})


def test_too_few_inodes_are_refused(layout: Layout) -> None:
    with small_disk(layout.root, "size=4m,nr_inodes=120"):
        stage.make_room(layout, [wanted()], {})
        with pytest.raises(NoRoom, match=r"inodes free, \d+ needed"):
            stage.make_room(layout, [wanted()] * 3, {})


def test_a_release_that_does_not_fit_leaves_the_running_one(layout: Layout) -> None:
    with small_disk(layout.root, "size=256k"):
        first = wanted()
        stage.stage_release(layout, first)
        with pytest.raises(OSError, match="No space left"):
            stage.stage_release(layout, wanted({**TEXTS, "agent.toml": "#" * 300_000}))
        assert manifest.altered(layout.release(KEY, first.manifest.release), first.manifest) == []
        assert os.listdir(layout.releases(KEY)) == [first.manifest.release], "half of a release is left"
        assert stage.stage_release(layout, wanted({**TEXTS, "env": ""}))


def test_a_package_is_missing_as_long_as_its_file_is(layout: Layout) -> None:
    item = wanted(requires={"/usr/sbin/mosquitto": "mosquitto", "/usr/bin/x": "x"}).manifest
    assert stage.missing_packages(layout, [item, item]) == ["mosquitto", "x"]
    path = layout.on_host("/usr/sbin/mosquitto")
    path.parent.mkdir(parents=True)
    path.touch()
    assert stage.missing_packages(layout, [item]) == ["x"]
    shutil.rmtree(layout.root)
