# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hooks: run for a bounded time, told what they need and no more, and gone when they are over."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import hooks
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import Change
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import RESTART
from tests.unit.plugins.builders import KEY, wanted


def change(*run: str, timeout: float = 10.0, moment: str = "pre_release") -> Change:
    document = wanted(hooks={moment: {"run": list(run), "timeout": timeout}}).manifest
    return Change(KEY, document, "b" * 16, document.release, [], RESTART)


def shell(script: str, timeout: float = 10.0) -> hooks.Done:
    return hooks.run(change("/bin/sh", "-c", script, timeout=timeout), "pre_release")


def test_a_hook_that_succeeds_has_nothing_to_say() -> None:
    done = shell("echo fine")
    assert (done.reason, done.log) == ("", [])
    assert 0 < done.seconds < 10


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no disk; echo really >&2; exit 7", "pre_release hook: exited with status 7"),
        ("echo no disk; echo really >&2; kill -9 $$", "pre_release hook: was killed by signal 9"),
    ],
)
def test_a_hook_that_fails_is_quoted(script: str, reason: str) -> None:
    done = shell(script)
    assert (done.reason, done.log) == (reason, ["no disk", "really"])


def test_of_much_output_the_end_is_kept_and_nothing_blocks() -> None:
    done = shell("seq 1 200000; exit 1")
    assert done.log == [str(number) for number in range(199989, 200001)]


@pytest.mark.parametrize("program", ["/nonexistent/hook", "/etc/passwd", "nul\0byte"])
def test_a_program_that_cannot_run_is_named(program: str) -> None:
    assert hooks.run(change(program), "pre_release").reason.startswith(f"pre_release hook: {program}: ")


def test_a_hook_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = shell(f"echo waiting; sleep 60 & echo $! > {tmp_path}/child; wait", timeout=0.5)
    assert done.reason == "pre_release hook: not done within 0.5 s; it was killed"
    assert done.log == ["waiting"]
    assert time.monotonic() - begun < 10
    assert ended(int((tmp_path / "child").read_text()))


def test_what_a_hook_left_in_the_background_ends_with_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = shell(f"sleep 60 & echo $! > {tmp_path}/child")
    assert done.reason == ""
    assert time.monotonic() - begun < 10
    assert ended(int((tmp_path / "child").read_text()))


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be buried by whoever inherited it."""
    for _ in range(50):
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if state.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def test_it_gets_nothing_of_the_engine_s_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "canary")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = f"env > {tmp_path}/seen; ls -l /proc/self/fd/0 >> {tmp_path}/stdin; pwd >> {tmp_path}/stdin"
    one = change("/bin/sh", "-c", script)
    assert hooks.run(one, "pre_release").reason == ""
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    told = hooks.environment(one, "pre_release")
    assert {name: seen[name] for name in told} == told
    assert set(seen) - set(told) <= {"PWD", "SHLVL", "_", "OLDPWD"}
    assert "/dev/null" in (tmp_path / "stdin").read_text()


def test_it_is_told_which_release_comes_and_which_goes() -> None:
    one = change("/bin/true")
    told = hooks.environment(one, "pre_release")
    assert told["MUSTER_AGENT"] == "writer"
    assert told["MUSTER_AGENT_ID"] == "writer-agent"
    assert (told["MUSTER_RELEASE_BEFORE"], told["MUSTER_RELEASE"]) == ("b" * 16, one.after)
    assert told["MUSTER_HOOK"] == "pre_release"
    assert "MUSTER_RESULT" not in told
    assert hooks.environment(one, "post_release", "released")["MUSTER_RESULT"] == "released"
    first = Change(KEY, one.manifest, None, one.after)
    assert hooks.environment(first, "pre_release")["MUSTER_RELEASE_BEFORE"] == ""
