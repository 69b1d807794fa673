# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The zipapp: the same bytes from every build, and a command line that loads only what it needs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = """
[agent]
id = "alpha"
description = "d"
[mqtt]
broker_url = "mqtt://localhost"
username_env = "MQTT_USERNAME"
[llm]
provider = "echo"
system_prompt = "s"
"""


def build(output: Path, umask: int = 0o022, **env: str) -> str:
    command = [sys.executable, str(ROOT / "src" / "build.py"), "--output", str(output)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        umask=umask,
        cwd=output.parent,
        env={**os.environ, **env},
    )
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert done.stdout == f"{output} {output.stat().st_size} bytes sha256 {digest}\n"
    return digest


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("build") / "agent.pyz"
    build(output)
    return output


def test_two_builds_are_byte_for_byte_equal(zipapp: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "other.pyz"
    other.parent.mkdir()
    digest = build(other, umask=0o077, TZ="Pacific/Kiritimati", PYTHONHASHSEED="7", LC_ALL="C")
    assert digest == hashlib.sha256(zipapp.read_bytes()).hexdigest()
    assert other.stat().st_mode & 0o777 == 0o755


def test_an_unchanged_file_is_left_alone_and_a_damaged_one_is_not(zipapp: Path) -> None:
    before, digest = zipapp.stat(), hashlib.sha256(zipapp.read_bytes()).hexdigest()
    build(zipapp)
    assert zipapp.stat().st_mtime_ns == before.st_mtime_ns
    data = bytearray(zipapp.read_bytes())
    data[len(data) // 2] ^= 0xFF
    zipapp.write_bytes(data)
    assert build(zipapp) == digest


def test_it_holds_python_and_licences_only(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        names = archive.namelist()
    assert names == sorted(names)
    others = [name for name in names if not name.endswith(".py") and ".dist-info/" not in name]
    assert others == ["muster-agent.inputs.json"]
    assert not [name for name in names if name.endswith(("RECORD", "METADATA", ".pyc"))]
    assert zipapp.read_bytes().startswith(b"#!/usr/bin/env python3\n")


def run(zipapp: Path, folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "agent.toml").write_text(CONFIG)
    command = [
        sys.executable,
        "-X",
        "importtime",
        str(zipapp),
        "--config",
        str(folder / "agent.toml"),
        *arguments,
    ]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"], **env}
    )


def test_config_needs_no_secret_and_loads_no_server(zipapp: Path, tmp_path: Path) -> None:
    done = run(zipapp, tmp_path, "config")
    assert (done.returncode, done.stdout.split(": ")[1:]) == (0, ["ok", "agent alpha, echo echo\n"])
    for heavy in ("asyncio", "paho", "h11", "httpx", "structlog", "prometheus_client"):
        assert f" {heavy}\n" not in done.stderr


def test_validate_names_a_missing_variable(zipapp: Path, tmp_path: Path) -> None:
    assert run(zipapp, tmp_path, "validate", MQTT_USERNAME="x").returncode == 0
    done = run(zipapp, tmp_path, "validate")
    assert done.returncode == 1
    assert "error: environment: MQTT_USERNAME is not set; mqtt.username_env names it" in done.stderr


def test_errors_are_no_tracebacks(zipapp: Path, tmp_path: Path) -> None:
    done = run(zipapp, tmp_path, "config", HEALTH_PORT="eighty")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert run(zipapp, tmp_path, "no-such-command").returncode == 2
    assert run(zipapp, tmp_path, "--version").stdout.startswith("muster-agent ")
    missing = subprocess.run(
        [sys.executable, str(zipapp), "--config", str(tmp_path / "none.toml"), "run"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (missing.returncode, missing.stderr) == (
        1,
        f"error: {tmp_path}/none.toml: cannot be read: No such file or directory\n",
    )
