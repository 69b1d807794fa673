# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files on a host: the old bytes or the new ones, whatever happens in between."""

from __future__ import annotations

import grp
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import files
from tests.unit.plugins.builders import nested, sha256, with_collection

# Says everything that it saw a link point at, until its standard input ends.
READER = """
import os, select, sys

seen = set()
print("reading", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000):
        try:
            seen.add(os.readlink(sys.argv[1]))
        except FileNotFoundError:
            seen.add("nothing")
print(*seen)
"""


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def write_in_a_process(path: Path, before: str) -> subprocess.CompletedProcess[str]:
    """Write 1 MiB to `path` in a process of its own, which runs `before` first."""
    script = f"""
import os, resource, signal, sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.module_utils.engine import files
{before}
files.write(Path(sys.argv[1]), b"new" * (1 << 20), 0o600)
"""
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, env=with_collection(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o644, 0o755])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int, wanted: int) -> None:
    path = tmp_path / "file"
    files.write(path, b"old", 0o644)
    files.write(path, b"new", wanted)
    assert (path.read_bytes(), mode(path), os.listdir(tmp_path)) == (b"new", wanted, ["file"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to a group")
def test_a_file_belongs_to_its_group(tmp_path: Path) -> None:
    files.write(tmp_path / "acl", b"x", 0o640, "daemon")
    assert grp.getgrgid((tmp_path / "acl").stat().st_gid).gr_name == "daemon"


def test_a_directory_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    files.make_directory(tmp_path / "a/b", 0o711)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o711, 0o711)


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    files.make_directory(tmp_path / "mine/new", 0o755)
    files.make_directory(tmp_path / "mine", 0o755)
    assert (mode(tmp_path / "mine"), mode(tmp_path / "mine/new")) == (0o700, 0o755)


def test_a_process_killed_in_the_middle_leaves_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    done = write_in_a_process(path, "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = files.leftovers(tmp_path)
    assert mode(left) == 0o600
    assert files.remove(left)
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_full_disk_leaves_the_old_bytes_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    done = write_in_a_process(path, "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))")
    assert "OSError" in done.stderr
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["state.json"])


def test_a_group_that_is_not_there_leaves_the_old_bytes_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "acl"
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        files.write(path, b"new", 0o640, "no-such-group")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["acl"])


def test_a_link_is_never_gone_while_it_is_switched(tmp_path: Path) -> None:
    link = tmp_path / "current"
    files.link(link, "releases/a")
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(link)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for number in range(300):
            files.link(link, f"releases/{'ab'[number % 2]}")
        seen = reader.communicate()[0].split()
    assert set(seen) <= {"releases/a", "releases/b"}
    assert files.read_link(link) == "releases/b"


def test_a_link_that_a_killed_run_left_is_overcome(tmp_path: Path) -> None:
    (tmp_path / ".current.muster-00000000").symlink_to("releases/stale")
    files.link(tmp_path / "current", "releases/new")
    assert files.read_link(tmp_path / "current") == "releases/new"
    (left,) = files.our_leftovers(tmp_path)
    assert files.remove(left)
    assert os.listdir(tmp_path) == ["current"]


def test_only_the_engine_s_own_leftovers_are_found_where_others_write_too(tmp_path: Path) -> None:
    for name in (".agent.service.muster-new", ".#agent.service0123", ".hidden", "agent.service.muster-new"):
        (tmp_path / name).touch()
    assert files.our_leftovers(tmp_path) == [tmp_path / ".agent.service.muster-new"]
    assert files.our_leftovers(tmp_path / "absent") == []


@pytest.mark.parametrize("wanted", [0o600, 0o644])
def test_what_is_there_already_is_not_written_again(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "file"
    files.write(path, b"same", wanted)
    files.link(tmp_path / "link", "file")
    before = {one.name: one.lstat().st_ino for one in tmp_path.iterdir()}
    files.write(path, b"same", wanted)
    files.link(tmp_path / "link", "file")
    assert {one.name: one.lstat().st_ino for one in tmp_path.iterdir()} == before
    files.write(path, b"same", 0o640)
    assert mode(path) == 0o640


def test_a_link_to_the_same_bytes_is_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"same")
    (tmp_path / "file").symlink_to("other")
    files.write(tmp_path / "file", b"same", 0o644)
    assert not (tmp_path / "file").is_symlink()


def test_what_is_no_link_points_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert files.read_link(tmp_path / "file") is None
    assert files.read_link(tmp_path / "absent") is None


def test_remove_takes_files_links_and_trees(tmp_path: Path) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").touch()
    (tmp_path / "link").symlink_to("tree")
    assert files.remove(tmp_path / "link")
    assert (tmp_path / "tree/below/file").exists(), "a link was followed"
    assert files.remove(tmp_path / "tree")
    assert not files.remove(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "depth"), [("d", 1100), ("d", 3000), ("long" * 60, 20)])
def test_remove_takes_a_tree_however_deep(tmp_path: Path, name: str, depth: int) -> None:
    tree = tmp_path / "tree"
    for one in ("a", "b"):
        (tree / one).mkdir(parents=True)
        (tree / one / "link").symlink_to(tmp_path)
    with nested(tree / "a", name, depth), nested(tree / "b", name, depth):
        assert files.remove(tree)
        assert os.listdir(tmp_path) == []


def test_remove_goes_up_to_nowhere_but_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/b/file").touch()
    (tmp_path / "elsewhere/a").mkdir(parents=True)
    real = os.unlink

    def moving(name: str, *, dir_fd: int) -> None:
        (tmp_path / "tree/a/b").rename(tmp_path / "elsewhere/b")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", moving)
    with pytest.raises(OSError, match=r"was moved while it was removed: .*tree"):
        files.remove(tmp_path / "tree")
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["a", "b"]


def test_digests(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "file").write_bytes(data)
    assert files.sha256_file(tmp_path / "file") == files.sha256_bytes(data) == sha256(data)
    assert files.sha256_file(tmp_path / "absent") is None
    assert files.sha256_file(tmp_path / "file/below") is None
    assert files.sha256_file(tmp_path) is None, "a folder in its place is another thing"
    assert files.read_bytes(tmp_path / "absent") is None
