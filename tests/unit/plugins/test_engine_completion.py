# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The completion, asked by bash itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import completion

# Stands in for the program on the host: it knows two agents and the releases of one.
MUSTER = """#!/bin/sh
case "$1 $2" in
    "_names ") printf 'editor\nwriter\n' ;;
    "_releases writer") printf '1111aaaa1111aaaa\n2222bbbb2222bbbb\n' ;;
    *) exit 1 ;;
esac
"""


def complete(tmp_path: Path, line: str) -> list[str]:
    program = tmp_path / "muster"
    program.write_text(MUSTER)
    program.chmod(0o755)
    script = (
        f"{completion.bash()}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _muster; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("muster st", ["status"]),
        ("muster ro", ["rollback"]),
        ("muster --", ["--help", "--version"]),
        ("muster rollback ''", ["editor", "writer"]),
        ("muster rollback e", ["editor"]),
        ("muster rollback writer --to ''", ["1111aaaa1111aaaa", "2222bbbb2222bbbb"]),
        ("muster rollback writer --to 22", ["2222bbbb2222bbbb"]),
        ("muster logs -n 5 writer --release 11", ["1111aaaa1111aaaa"]),
        ("muster logs -n ''", []),
        ("muster diff wr", ["writer"]),
        ("muster diff writer 1", ["1111aaaa1111aaaa"]),
        ("muster hold writer --n", ["--note"]),
        ("muster completion ''", ["bash", "zsh"]),
        ("muster resume --j", ["--json"]),
        ("muster resume ''", []),
    ],
)
def test_bash_completes(tmp_path: Path, line: str, words: list[str]) -> None:
    assert complete(tmp_path, line) == words


def test_what_only_programs_say_is_not_offered(tmp_path: Path) -> None:
    offered = complete(tmp_path, "muster ''")
    assert "status" in offered and "rollback" in offered
    assert not [word for word in offered if word.startswith("_")]
    assert "carry-on" not in offered


def test_zsh_gets_the_same_by_its_own_emulation() -> None:
    assert completion.zsh().startswith("#compdef muster\n")
    assert completion.zsh().endswith(completion.bash())
