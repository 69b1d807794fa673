# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told where a module never came to answer: one line, and the right one."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils import host_call

NOT_FOUND = "/bin/sh: 1: /usr/bin/python3.9: not found"
NO_SUCH_FILE = "/bin/sh: line 1: /usr/bin/python3: No such file or directory"
INTERPRETER = "The module interpreter '/usr/bin/python3.9' was not found."


@pytest.mark.parametrize(
    "result",
    [
        {"rc": 127, "module_stderr": NOT_FOUND, "msg": INTERPRETER},
        {"rc": 127, "module_stderr": NO_SUCH_FILE, "msg": "MODULE FAILURE"},
    ],
)
def test_a_host_without_python_is_told_so_in_one_line(result: dict[str, object]) -> None:
    assert host_call._no_python(result)
    assert host_call._one_line(result) == "Python 3.9 or newer is needed on the host; none was found"


def test_a_python_that_is_too_old_for_ansible_is_told_so() -> None:
    words = "ansible-core requires a minimum of Python version 3.8. Current version: 3.6.8"
    line = host_call._one_line({"msg": "MODULE FAILURE", "module_stderr": f"Traceback\n{words}\n"})
    assert line.startswith(
        "Python 3.9 or newer is needed on the host: Ansible says: minimum of Python version 3.8"
    )
    assert "\n" not in line


def test_a_file_that_is_missing_is_not_taken_for_a_missing_python() -> None:
    trace = "Traceback:\nFileNotFoundError: [Errno 2] No such file or directory: '/usr/local/bin'"
    result = {"rc": 1, "msg": "the engine could not be written", "module_stderr": trace}
    assert not host_call._no_python(result)
    assert host_call._one_line(result) == "the engine could not be written"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"msg": "\n\nroot is needed\nand more"}, "root is needed"),
        ({"msg": "", "module_stderr": "sudo: a password is required\n"}, "sudo: a password is required"),
        ({"msg": None}, "the host gave no answer"),
        (
            {
                "rc": 137,
                "msg": "MODULE FAILURE: No start of json char found\nSee stdout/stderr for the exact error",
            },
            "the engine was killed there by signal 9; the next call brings what is unfinished to its end",
        ),
        ({}, "the host gave no answer"),
    ],
)
def test_other_failures_are_told_in_their_first_line(result: dict[str, object], line: str) -> None:
    assert host_call._one_line(result) == line


@pytest.mark.parametrize(
    ("output", "document"),
    [
        ('{"a": 1}\n', {"a": 1}),
        ('Welcome to {this} host!\n\n{"a": 1}\n', {"a": 1}),
        ("", None),
        ("Welcome!\n", None),
        ("[1]\n", None),
        ('{"a": 1', None),
        ('{"a": 1}\n\nGood bye from {this} host\n{see you}\n', {"a": 1}),
    ],
)
def test_the_engines_answer_is_found_between_what_a_shell_says(output: str, document: object) -> None:
    assert host_call._document(output) == document


class Host:
    """Stands for the action plugin, of which only the command that runs on a host matters here."""

    def __init__(self, rc: int, stdout: str = "") -> None:
        self._said = {"rc": rc, "stdout": stdout}

    def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, object]:
        return self._said


@pytest.mark.parametrize("rc", [1, 2, 69, 77, 126, 127])
@pytest.mark.parametrize("phase", ["stage", "switch"])
def test_what_was_surely_not_carried_out_is_asked_by_the_module(rc: int, phase: str) -> None:
    assert host_call._ask_installed(Host(rc, "usage: muster"), {"phase": phase}) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("rc", [0, 3, 74, -9])
def test_what_may_have_been_carried_out_is_not_asked_a_second_time(rc: int) -> None:
    with pytest.raises(host_call.HostRefused, match="may have done what it was asked for") as caught:
        host_call._ask_installed(Host(rc), {"phase": "rollback"})  # type: ignore[arg-type]
    assert caught.value.kind == host_call.UNREACHABLE


@pytest.mark.parametrize("phase", ["stage", "status", "releases"])
def test_what_only_looks_may_be_asked_a_second_time(phase: str) -> None:
    assert host_call._ask_installed(Host(0), {"phase": phase}) is None  # type: ignore[arg-type]


def test_an_engine_that_was_killed_is_not_asked_a_second_time() -> None:
    with pytest.raises(host_call.HostRefused, match="killed there by signal 9"):
        host_call._ask_installed(Host(137), {"phase": "stage"})  # type: ignore[arg-type]


def test_a_request_survives_its_journey() -> None:
    document = {"secrets": {"agents/w": {"A": "grüße\n\0"}}, "n": [1, None]}
    packed = host_call.packed(json.dumps(document).encode())
    assert packed.isascii()
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == document
