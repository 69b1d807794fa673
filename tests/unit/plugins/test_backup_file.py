# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup as a file: what was written comes back, and nothing that was cut, altered or put together anew does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils import backup_file
from ansible_collections.muster.agents.plugins.plugin_utils.backup_file import BackupError, Header
from tests.unit.plugins.builders import few

PASSPHRASE = "canary-passphrase-9d1c"
# A cost that keeps the tests quick.
ABOUT = Header("agent-1", "2026-11-21T21:30:00Z", "c0ffee", size=12, bytes=30, files=3, cost=2)
PIECES = [b"canary-one" * 3, b"canary-two", b"x"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups") / "run" / "agent-1.backup"


@pytest.fixture(scope="module")
def whole(path: Path) -> bytes:
    backup_file.write(path, ABOUT, PASSPHRASE, iter(PIECES))
    return path.read_bytes()


def read(path: Path, passphrase: str = PASSPHRASE) -> list[bytes]:
    return list(backup_file.read(path, passphrase))


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(BackupError) as error:
        read(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_was_written_comes_back_and_only_its_owner_may_read_the_file(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    assert read(path) == PIECES
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@few
@given(pieces=st.lists(st.binary(min_size=1, max_size=100), max_size=4))
def test_any_pieces_come_back(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    file = tmp_path_factory.mktemp("any") / "h.backup"
    backup_file.write(file, ABOUT, PASSPHRASE, iter(pieces))
    assert b"".join(read(file)) == b"".join(pieces)


def test_the_header_is_for_everybody_and_nothing_else_is(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    header = backup_file.read_header(path)
    assert replace(header, salt="") == ABOUT
    assert b"canary" not in whole


def test_the_same_bytes_never_look_the_same(path: Path, whole: bytes, tmp_path: Path) -> None:
    other = tmp_path / "agent-1.backup"
    backup_file.write(other, ABOUT, PASSPHRASE, iter(PIECES))
    assert other.read_bytes().split(b"\n", 2)[2] != whole.split(b"\n", 2)[2]


@given(data=st.data())
def test_any_altered_bit_is_refused(path: Path, whole: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    refused(path, whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])


@given(data=st.data())
def test_any_cut_is_refused_and_so_is_more(path: Path, whole: bytes, data: st.DataObject) -> None:
    refused(path, whole[: data.draw(st.integers(0, len(whole) - 1))])
    refused(path, whole + data.draw(st.binary(min_size=1, max_size=40)))


def sealed(whole: bytes) -> tuple[bytes, list[bytes]]:
    magic, line, rest = whole.split(b"\n", 2)
    pieces = []
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        pieces.append(rest[:end])
        rest = rest[end:]
    return magic + b"\n" + line + b"\n", pieces


@pytest.mark.parametrize("order", [[0, 1], [0, 2], [1, 0, 2], [0, 1, 1, 2], [2], [0, 1, 2, 2], []])
def test_pieces_that_were_left_out_moved_or_repeated_are_refused(
    path: Path, whole: bytes, order: list[int]
) -> None:
    head, pieces = sealed(whole)
    assert len(pieces) == 3
    refused(path, head + b"".join(pieces[index] for index in order))


def test_a_header_of_another_backup_is_refused(path: Path, whole: bytes) -> None:
    altered = whole.replace(b'"host": "agent-1"', b'"host": "agent-2"')
    assert altered != whole
    assert "cut or altered" in refused(path, altered)


def test_another_passphrase_is_named_as_a_possible_reason_and_not_shown(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    with pytest.raises(BackupError, match="backup_passphrase is not the one") as error:
        read(path, "another-passphrase")
    assert "another-passphrase" not in str(error.value)


def with_header(whole: bytes, **changes: object) -> bytes:
    head, pieces = sealed(whole)
    magic, line, _ = head.split(b"\n")
    return b"\n".join([magic, json.dumps({**json.loads(line), **changes}).encode(), b"".join(pieces)])


def test_another_format_and_a_newer_muster_are_named_with_both_versions(path: Path, whole: bytes) -> None:
    assert "in format 2; this is muster" in refused(path, with_header(whole, format=2))
    said = refused(path, with_header(whole, engine="99.0.0"))
    assert f"made by muster 99.0.0; this is muster {backup_file.VERSION}" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "new"},
        {"salt": "zz"},
        {"salt": "00"},
        {"cost": 3},
        {"cost": 2**40},
        {"size": -1},
        {"files": "1"},
    ],
)
def test_a_header_that_says_nonsense_is_refused(path: Path, whole: bytes, changes: dict[str, object]) -> None:
    assert "first lines were altered" in refused(path, with_header(whole, **changes))


def test_a_host_that_fails_in_the_middle_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "h.backup"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise OSError(5, "gone")

    with pytest.raises(OSError, match="gone"):
        backup_file.write(path, ABOUT, PASSPHRASE, pieces())
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"h.backup": b"old"}


def test_a_backup_is_found_by_its_host_in_the_newest_run_or_the_one_that_is_named(tmp_path: Path) -> None:
    for run, host in (("2026-01-01", "a"), ("2026-01-01", "b"), ("2026-02-01", "a")):
        backup_file.write(backup_file.file_of(tmp_path, run, host), ABOUT, PASSPHRASE, [b""])
    assert backup_file.find(tmp_path, "", "a") == tmp_path / "2026-02-01" / "a.backup"
    assert backup_file.find(tmp_path, "2026-01-01", "a") == tmp_path / "2026-01-01" / "a.backup"
    with pytest.raises(BackupError, match="restore_run=2026-01-01 has one"):
        backup_file.find(tmp_path, "", "b")
    with pytest.raises(BackupError, match="--limit '!c' leaves the host out"):
        backup_file.find(tmp_path, "", "c")
    with pytest.raises(BackupError, match="there are no backups"):
        backup_file.find(tmp_path / "none", "", "a")
    with pytest.raises(BackupError, match="cannot name a backup"):
        backup_file.find(tmp_path, "../2026-01-01", "a")
