# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runtimes on the controller: never handed on with another digest than pinned."""

from __future__ import annotations

import concurrent.futures
import os
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.artifacts import local_file
from ansible_collections.muster.agents.plugins.plugin_utils.checked_before import cache_directory
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import InputError
from tests.unit.plugins.builders import http_server, sha256

PROGRAM = os.urandom(100_000)
DIGEST = sha256(PROGRAM)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory() / "runtimes"


def test_a_file_with_the_right_digest_is_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(PROGRAM)
    assert local_file(DIGEST, {"src": str(path)}) == path


def test_a_file_with_another_digest_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(PROGRAM[:-1])
    with pytest.raises(
        InputError,
        match=f"{path}: error MA423: runtime refused: its SHA-256 is {sha256(PROGRAM[:-1])}, not {DIGEST}",
    ):
        local_file(DIGEST, {"src": str(path)})
    assert path.exists()


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such runtime file on the controller"):
        local_file(DIGEST, {"src": str(tmp_path / name)})


def test_a_download_is_made_once(cache: Path) -> None:
    with http_server({"/program": (200, PROGRAM)}) as (port, asked):
        for _ in range(2):
            path = local_file(DIGEST, {"url": f"http://127.0.0.1:{port}/program"})
            assert path.read_bytes() == PROGRAM
        assert asked == ["/program"]
    assert os.listdir(cache) == [DIGEST]


def test_a_download_with_another_digest_is_refused_and_not_kept(cache: Path) -> None:
    with http_server({"/program": (200, PROGRAM[:-1])}) as (port, asked):
        for _ in range(2):
            with pytest.raises(InputError, match="runtime refused"):
                local_file(DIGEST, {"url": f"http://127.0.0.1:{port}/program"})
        assert asked == ["/program"] * 2
    assert os.listdir(cache) == []


def test_several_that_want_it_at_once_are_all_told_the_same(cache: Path) -> None:
    with http_server({"/program": (200, PROGRAM[:-1])}) as (port, _):
        artifact = {"url": f"http://127.0.0.1:{port}/program"}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(local_file, DIGEST, artifact) for _ in range(24)]
            found = [one.exception() for one in waiting]
    assert {type(one) for one in found} == {InputError}
    assert all("runtime refused" in str(one) for one in found)
    assert os.listdir(cache) == []


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=f"could not be kept in {cache}: Not a directory"):
        local_file(DIGEST, {"url": "http://127.0.0.1:1/program"})


def test_a_cached_file_that_was_altered_is_refused_and_fetched_anew(cache: Path) -> None:
    with http_server({"/program": (200, PROGRAM)}) as (port, _):
        url = f"http://127.0.0.1:{port}/program"
        local_file(DIGEST, {"url": url}).write_bytes(b"altered")
        with pytest.raises(InputError, match="runtime refused"):
            local_file(DIGEST, {"url": url})
        assert local_file(DIGEST, {"url": url}).read_bytes() == PROGRAM


def test_a_server_that_has_it_not_is_named_and_nothing_stays(cache: Path) -> None:
    with http_server({}) as (port, _):
        url = f"http://127.0.0.1:{port}/program"
        with pytest.raises(InputError, match=f"{url}: error MA423: could not be downloaded: .*404"):
            local_file(DIGEST, {"url": url})
    with pytest.raises(InputError, match=f"{url}: error MA423: could not be downloaded: .*refused"):
        local_file(DIGEST, {"url": url})
    assert os.listdir(cache) == []


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp//x", "http://127.0.0.1:99999/x"])
def test_what_is_no_url_is_a_problem_and_no_traceback(url: str) -> None:
    with pytest.raises(InputError, match="could not be downloaded"):
        local_file(DIGEST, {"url": url})
