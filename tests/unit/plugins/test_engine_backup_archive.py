# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archive of a backup: what was put in comes out, and nothing comes out that could do harm."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import archive
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from tests.unit.plugins.builders import few, sha256

Entry = tuple[tarfile.TarInfo, bytes]


def folder_of(parts: Sequence[str]) -> int:
    return 1 if parts[0] in ("data", "other") else 0


def pack(root: Path, data: Path) -> bytes:
    stream = io.BytesIO()
    writer = archive.Writer(stream, root)
    for found in archive.walk(data):
        assert not found.unfit
        writer.add(found)
    writer.close()
    return stream.getvalue()


def unpack(folder: Path, data: bytes) -> Path:
    file, root = folder / "a.tar.gz", folder / "root"
    file.write_bytes(data)
    archive.unpack(file, root, folder_of)
    return root


def looks(folder: Path) -> dict[str, tuple[int, str | bytes]]:
    found: dict[str, tuple[int, str | bytes]] = {}
    for path in sorted(folder.rglob("*")):
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, what)
    return found


def some_data(root: Path) -> Path:
    data = root / "data"
    (data / "deep/er").mkdir(parents=True)
    (data / "deep/er/note").write_bytes(b"canary\0\xff")
    (data / "deep").chmod(0o750)
    (data / "empty").touch(0o640)
    (data / "näme\nwith \udcff bytes").write_text("x")
    (data / "link").symlink_to("deep/er/note")
    (data / "deep/up").symlink_to("../empty")
    (data / "dangling").symlink_to("nowhere")
    return data


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    data = some_data(tmp_path / "there")
    os.utime(data / "empty", (1000, 1000))
    root = unpack(tmp_path, pack(tmp_path / "there", data))
    assert looks(root / "data") == looks(data)
    assert (root / "data/empty").stat().st_mtime == 1000


def test_what_cannot_be_in_it_is_named_with_the_reason(tmp_path: Path) -> None:
    data = some_data(tmp_path)
    (data / "out").symlink_to("../secrets")
    (data / "etc").symlink_to("/etc")
    (data / "deep/behind").symlink_to("er/../../../x")
    os.mkfifo(data / "pipe")
    unfit = {found.path.name: found.unfit for found in archive.walk(data) if found.unfit}
    assert unfit == {
        "out": "a link that leads out",
        "etc": "a link that leads out",
        "behind": "a link that leads out",
        "pipe": "neither a file nor a folder",
    }


def test_a_file_that_shrinks_or_goes_while_it_is_read_does_not_spoil_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "log").write_bytes(b"0123456789")
    real = os.fstat

    def larger(handle: int) -> os.stat_result:
        found = list(real(handle))
        found[6] += 5  # st_size: as it was before it shrank
        return os.stat_result(found)

    (data / "gone").touch()
    stream = io.BytesIO()
    writer = archive.Writer(stream, tmp_path)
    _, gone, log = archive.walk(data)
    (data / "gone").unlink()
    monkeypatch.setattr(os, "fstat", larger)
    writer.add(log)
    monkeypatch.undo()
    writer.add(gone)
    writer.close()
    assert writer.left_out == [f"{data / 'log'}: what it lost while it was read"]
    assert (writer.files, writer.bytes) == (1, 15)
    assert (unpack(tmp_path, stream.getvalue()) / "data/log").read_bytes() == b"0123456789" + bytes(5)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Some data, and one archive of them: another would have other times, and another length."""
    folder = tmp_path_factory.mktemp("sample")
    data = some_data(folder)
    return data, pack(folder, data)


@few
@given(data=st.data())
def test_an_altered_archive_is_refused_or_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, sample: tuple[Path, bytes], data: st.DataObject
) -> None:
    source, whole = sample
    place = data.draw(st.integers(0, len(whole) - 1))
    altered = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    try:
        root = unpack(tmp_path_factory.mktemp("altered"), altered)
    except EngineError:
        return
    # Only what no file is made of is left: times, modes and the frame of the compression.
    contents = [
        {name: what for name, (_, what) in looks(folder).items()} for folder in (root / "data", source)
    ]
    assert contents[0] == contents[1]


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


def made(*entries: Entry, listed: bool = True) -> bytes:
    """An archive of these, with a list that agrees."""
    files = {info.name: sha256(data) for info, data in entries if info.isreg()}
    end = [entry(archive.CONTENTS, data=json.dumps({"files": files}).encode())] if listed else []
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in (*entries, *end):
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(stream.getvalue())


@pytest.mark.parametrize(
    "entries",
    [
        [entry("/data/x")],
        [entry("../x")],
        [entry("data/../../x")],
        [entry("data/./x")],
        [entry("data//x")],
        [entry("elsewhere/x")],
        [entry("data/x", tarfile.LNKTYPE, link="/etc/passwd")],
        [entry("data/x", tarfile.CHRTYPE)],
        [entry("data/x", tarfile.BLKTYPE)],
        [entry("data/x", tarfile.FIFOTYPE)],
        [entry("data/x", tarfile.SYMTYPE, link="/etc")],
        [entry("data/x", tarfile.SYMTYPE, link="../outside")],
        [entry("data/x", tarfile.SYMTYPE, link="../other/x")],
        [entry("data/a/x", tarfile.SYMTYPE, link="b/../../../y")],
        [entry("data", tarfile.SYMTYPE, link="..")],
        [entry("data/x", data=b"1"), entry("data/x", data=b"1")],
    ],
    ids=lambda entries: f"{entries[-1][0].name}-{entries[-1][0].type.decode()}-{entries[-1][0].linkname}",
)
def test_what_could_do_harm_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "outside").mkdir()
    with pytest.raises(EngineError, match="the backup holds"):
        unpack(tmp_path, made(*entries))
    assert not any((tmp_path / "outside").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "a.tar.gz", "root"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """Links come last: what is below the name of one is in a folder of that name, and the link has no place any more."""
    with pytest.raises((EngineError, FileExistsError)):
        unpack(tmp_path, made(entry("data/l", tarfile.SYMTYPE, link="sub"), entry("data/l/x", data=b"1")))
    assert not (tmp_path / "root/data/sub").exists()


def test_no_mode_gives_more_than_permissions(tmp_path: Path) -> None:
    info, data = entry("data/x", data=b"1")
    info.mode = 0o6755
    root = unpack(tmp_path, made((info, data)))
    assert (root / "data/x").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "data",
    [
        made(entry("data/x"), listed=False),
        made(entry(archive.CONTENTS, data=b'{"files": {}}'), entry("data/x"), listed=False),
        made(entry("data/x"), entry(archive.CONTENTS, data=b'{"files": {"data/x": "0"}}'), listed=False),
        made(entry("data/x"), entry(archive.CONTENTS, data=b"[]"), listed=False),
        made(entry("data/x", data=os.urandom(3000)))[:1500],
        b"no archive",
        b"",
    ],
)
def test_an_archive_that_is_not_what_its_list_says_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EngineError, match="the backup is damaged"):
        unpack(tmp_path, data)
