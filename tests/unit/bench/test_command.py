# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the benchmark runs a command, and what it reads from its output."""

from __future__ import annotations

import sys

import pytest

from bench.command import Finished, steps, timed
from dev.shell import Failure

PLAYBOOK = (
    (0.50, "\n"),
    (0.50, "PLAY [Plan] ****************************************************\n"),
    (0.60, "TASK [Read the configs] ****************************************\n"),
    (0.90, "ok: [bench-3]\n"),
    (1.00, "TASK [muster.agents.agent : Stage and check the releases] ******\n"),
    (1.00, "TASK [not a heading\n"),
    (1.40, "PLAY RECAP *****************************************************\n"),
    (1.40, "bench-3                    : ok=2    changed=1    unreachable=0 \n"),
    (1.40, "bench-4                    : ok=2    changed=2    unreachable=0 \n"),
)


def finished(*lines: str) -> Finished:
    return Finished(1.0, 1.0, tuple((0.0, line) for line in lines))


def test_the_steps_of_a_playbook_are_its_headings_and_add_up() -> None:
    found = steps(PLAYBOOK, 1.5)
    assert [(name, round(seconds, 2)) for name, seconds in found] == [
        ("start of ansible-playbook", 0.5),
        ("loading of the play Plan", 0.1),
        ("Read the configs", 0.4),
        ("Stage and check the releases", 0.4),
        ("end of ansible-playbook", 0.1),
    ]
    assert sum(seconds for _name, seconds in found) == pytest.approx(1.5)


def test_the_changes_of_a_playbook_are_those_of_all_hosts() -> None:
    assert Finished(1.5, 1.0, PLAYBOOK).changed == 3


def test_the_changes_of_pyinfra_are_in_its_total() -> None:
    head = "    Operation              Hosts   Success   Error   No Change\n"
    assert finished(head, "    Grand total            23      -         -       23        \n").changed == 0
    assert finished(head, "    Grand total            23      22        -       1         \n").changed == 22


def test_output_that_counts_no_changes_is_not_taken_for_none() -> None:
    with pytest.raises(Failure, match="nothing of what was changed"):
        _ = finished("Usage: …\n").changed


def test_a_command_is_timed_from_start_to_end_with_its_largest_process() -> None:
    inner = "import time; held = bytearray(150_000_000); print('held', flush=True); time.sleep(0.3)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    done = timed([sys.executable, "-c", outer])
    assert done.output == "held\n"
    assert 0.3 <= done.seconds < 30
    assert 150 <= done.megabytes < 300
    assert done.stamped[0][0] <= done.seconds - 0.3


def test_a_command_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(Failure, match=r"no such agent\n(.|\n)*exit code 3"):
        timed([sys.executable, "-c", "import sys; print('no such agent'); sys.exit(3)"])
