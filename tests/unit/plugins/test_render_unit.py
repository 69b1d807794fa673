# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The unit: what systemd reads is what was meant, and it is as hard as promised."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.render_unit import (
    render_unit,
    unit_text,
    unit_word,
    unit_words,
)
from tests.unit.plugins.builders import REPOSITORY, few

TEMPLATE = (REPOSITORY / "roles/agent/templates/agent.service.j2").read_text("utf-8")
RELEASE = "/var/lib/muster/agents/writer/current"
VARIABLES: dict[str, Any] = {
    "name": "writer",
    "agent_id": "writer-agent",
    "description": "Writes",
    "command": ["/bin/true", "--config", "/run/credentials/agent-writer.service/agent.toml", "run"],
    "configs": ["agent.toml"],
    "release": RELEASE,
    "secrets_file": "/etc/muster/secrets/writer.env",
    "credentials": {},
    "trust": None,
    "notify": True,
    "watchdog": 60,
    "start_timeout": 150,
    "resources": {
        "memory": 2**30,
        "cpu": 150,
        "tasks": 256,
        "memory_request": None,
        "cpu_request": None,
    },
    "port": 20001,
}


def lines(**changes: Any) -> list[str]:
    return render_unit(TEMPLATE, {**VARIABLES, **changes}).splitlines()


def analyze(tmp_path: Path, unit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    # What the unit refers to is on the host, not here.
    unit = re.sub(r"(?m)^(EnvironmentFile|LoadCredential)=.*\n", "", unit)
    path = tmp_path / "agent-writer.service"
    path.write_text(unit, "utf-8")
    command = ["systemd-analyze", *arguments, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--config", "--config"),
        ("100%", "100%%"),
        ("%h/$HOME", "%%h/$$HOME"),
        ("two words", '"two words"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("it's", '"it\'s"'),
        ("back\\slash", '"back\\\\slash"'),
        ("a;b", '"a;b"'),
        (";", '";"'),
        ("", '""'),
        ("grüße", "grüße"),
    ],
)
def test_a_word_is_written_as_systemd_wants_it(word: str, written: str) -> None:
    assert unit_word(word) == written


@few
@example(["two\nlines", "\r"])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)))
def test_words_stay_on_their_line(words: list[str]) -> None:
    assert not re.search(r"[\r\n]", unit_words(words)), "systemd takes either for the end of the line"


def test_systemd_reads_back_the_words_that_were_meant(tmp_path: Path) -> None:
    """systemd-analyze says the command of a unit whose program is missing as it understood it."""
    words = ["/nonexistent/a b/100%", "$HOME", "%h"]
    done = analyze(tmp_path, "\n".join(lines(command=words)), "verify")
    assert f"Command {words[0]} is not executable" in done.stderr


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Writes 100 %", "Writes 100 %%"),
        ("two\nlines\r\n\tand more  ", "two lines and more"),
        ("[Service]\nExecStart=/bin/sh", "[Service] ExecStart=/bin/sh"),
        ("ends in a backslash\\", "ends in a backslash"),
    ],
)
def test_free_text_is_one_line_without_specifiers(text: str, written: str) -> None:
    assert unit_text(text) == written


# --- the built-in template ----------------------------------------------------------------------------------


def test_the_built_in_unit_is_sound(tmp_path: Path) -> None:
    done = analyze(tmp_path, "\n".join(lines()), "verify")
    complaints = [
        line
        for line in done.stderr.splitlines()
        if "RestartSteps" not in line and "RestartMaxDelay" not in line
    ]
    assert (done.returncode, [line for line in complaints if "agent-writer" in line]) == (0, [])


def test_the_built_in_unit_scores_at_most_two(tmp_path: Path) -> None:
    done = analyze(tmp_path, "\n".join(lines()), "security", "--offline=true", "--threshold=20")
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot score a file")
    assert done.returncode == 0, done.stdout[-300:]


def test_it_runs_nobody_as_nothing_with_next_to_no_rights() -> None:
    assert {
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "TemporaryFileSystem=/dev/shm:mode=1777,nosuid",
        "InaccessiblePaths=-/run/dbus",
        "PrivateUsers=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectProc=invisible",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "MemoryDenyWriteExecute=yes",
        "StateDirectoryMode=0700",
        "SyslogIdentifier=agent-writer",
        "WantedBy=multi-user.target",
    } <= set(lines())


def test_limits_come_from_the_resources() -> None:
    found = lines()
    assert {"MemoryMax=1073741824", "CPUQuota=150%", "TasksMax=256"} <= set(found)
    assert not any(line.startswith(("MemoryLow=", "CPUWeight=")) for line in found)
    requests = {**VARIABLES["resources"], "memory_request": 2**28, "cpu_request": 25}
    assert {"MemoryLow=268435456", "CPUWeight=25"} <= set(lines(resources=requests))


def test_the_environment_comes_before_the_secrets() -> None:
    assert [line for line in lines() if line.startswith("EnvironmentFile=")] == [
        f"EnvironmentFile={RELEASE}/env",
        f"EnvironmentFile=-{RELEASE}/release.env",
        "EnvironmentFile=/etc/muster/secrets/writer.env",
    ]
    assert not any("secrets" in line for line in lines(secrets_file=None))


def test_encrypted_secrets_are_credentials() -> None:
    file = "/etc/muster/secrets/writer.creds/API_KEY.cred"
    found = lines(secrets_file=None, credentials={"API_KEY": file})
    assert f"LoadCredentialEncrypted=API_KEY:{file}" in found
    assert [line for line in found if line.startswith("EnvironmentFile=")] == [
        f"EnvironmentFile={RELEASE}/env",
        f"EnvironmentFile=-{RELEASE}/release.env",
    ]


def test_only_a_runtime_that_notifies_is_waited_for_and_watched() -> None:
    assert {"Type=notify", "WatchdogSec=60"} <= set(lines())
    plain = lines(notify=False)
    assert "Type=exec" in plain
    assert not any(line.startswith("WatchdogSec=") for line in plain)


@few
@given(st.text(max_size=40))
def test_a_description_adds_no_line(description: str) -> None:
    unit = render_unit(TEMPLATE, {**VARIABLES, "description": description})
    assert unit.count("\n") == render_unit(TEMPLATE, VARIABLES).count("\n")


# --- a template of the user's own ---------------------------------------------------------------------------


def test_a_template_of_the_users_own_has_the_filters() -> None:
    template = "ExecStart={{ command | unit_words }}\n{% if notify %}\nType=notify\n{% endif %}\n"
    assert render_unit(template, {"command": ["/bin/a b", "100%"], "notify": True}) == (
        'ExecStart="/bin/a b" 100%%\nType=notify\n'
    )


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        ("[Unit]\n{% if x %}\n", 2, "endif"),
        ("[Unit]\n\n{{ name | frobnicate }}\n", 3, "frobnicate"),
        ("[Unit]\nDescription={{ nme }}\n", 2, "'nme' is undefined"),
        ("[Unit]\n\n\nX={{ resources.disk }}\n", 4, "disk"),
        ("[Unit]\nX={{ name + 1 }}\n", 2, ""),
        ("[Unit]\nX={{ 1 // 0 }}\n", 2, ""),
    ],
)
def test_a_mistake_in_a_template_names_its_line(template: str, line: int, words: str) -> None:
    with pytest.raises(ValueError, match=f"^line {line}: .*{re.escape(words)}"):
        render_unit(template, VARIABLES)
