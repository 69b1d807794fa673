# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One deploy a host at a time, and the other one is told by whom."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.errors import Busy
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked
from tests.unit.plugins.builders import with_collection

HOLDER = """
import sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked

with locked(Layout(Path(sys.argv[1])), {"user": "ada", "host": "laptop", "via": sys.argv[2]}):
    print("held", flush=True)
    sys.stdin.read()
"""
ME = {"user": "grace", "host": "desk"}


@contextmanager
def held_by(via: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), via],
        env=with_collection(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with held_by("deploy", tmp_path) as process:
        yield process


def test_the_second_is_told_who_holds_it_and_since_when(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(Busy) as refusal, locked(Layout(tmp_path), ME):
        pytest.fail("two hold the lock")
    today = time.strftime("%Y-%m-%d")
    assert str(refusal.value).startswith(f"busy: held by ada from laptop (pid {holder.pid}), since {today}")
    assert refusal.value.exit_code == 75


def test_it_is_free_once_its_holder_was_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with locked(Layout(tmp_path), ME):
        assert "grace" in Layout(tmp_path).lock.read_text()


def test_one_that_waits_gets_it_when_the_holder_is_done(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert holder.stdin is not None
    holder.stdin.close()
    with locked(Layout(tmp_path), ME, wait=10.0):
        assert holder.wait() == 0


def test_waiting_ends(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    with pytest.raises(Busy), locked(Layout(tmp_path), ME, wait=0.3):
        pytest.fail("two hold the lock")
    assert 0.3 <= time.monotonic() - begun < 5


def test_a_failure_inside_frees_it_and_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(Layout(tmp_path), ME):
        raise ZeroDivisionError
    with locked(Layout(tmp_path), ME):
        pass


def test_a_shorter_holder_leaves_no_rest_of_a_longer_one(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    with (
        locked(Layout(tmp_path), {"user": "x", "host": "y"}),
        pytest.raises(Busy, match="by x from y"),
        locked(Layout(tmp_path), ME),
    ):
        pytest.fail("two hold the lock")


@pytest.mark.parametrize("text", ["", "{", "not JSON"])
def test_a_holder_that_has_not_written_its_name_yet(tmp_path: Path, text: str) -> None:
    with locked(Layout(tmp_path), ME):
        Layout(tmp_path).lock.write_text(text)
        with pytest.raises(Busy, match="held by somebody from an unknown host"), locked(Layout(tmp_path), ME):
            pytest.fail("two hold the lock")


def test_only_root_reads_who_holds_it(tmp_path: Path) -> None:
    with locked(Layout(tmp_path), ME):
        assert Layout(tmp_path).lock.stat().st_mode & 0o777 == 0o600


def test_nobody_is_turned_away_by_a_health_check(tmp_path: Path) -> None:
    with held_by("health", tmp_path) as process:
        ends = threading.Timer(0.5, process.kill)
        ends.start()
        with locked(Layout(tmp_path), ME) as waited:
            assert 0.3 < waited < 4
        ends.join()
