# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine as hosts get it: one file, always the same, for Python 3.9 and newer; and its command line."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import VERSION, cli
from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive
from tests.unit.plugins.builders import REPOSITORY, raw_manifest, sha256, with_collection

ENGINE = REPOSITORY / "plugins/module_utils/engine"
PRINT_DIGEST = (
    "from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive;"
    "print(engine_archive()[1])"
)


def interpreter(version: str) -> str:
    """A Python of this version, from PATH or pyenv; skips the test where there is none."""
    found = shutil.which(f"python{version}")
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin/python"))
    # What pyenv puts into PATH may be a stand-in for a version that is not chosen.
    candidates = [str(path) for path in installed] + ([found] if found else [])
    if not candidates:
        pytest.skip(f"no Python {version} here")
    return candidates[0]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "muster.pyz"
    path.write_bytes(engine_archive()[0])
    return path


def run(
    archive: Path, *arguments: str, python: str = sys.executable, text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(archive), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- the file -----------------------------------------------------------------------------------------------


def test_its_digest_is_its_own() -> None:
    data, digest = engine_archive()
    assert digest == sha256(data)


def test_every_controller_makes_the_same_bytes(tmp_path: Path) -> None:
    """Other times, another umask, another place, another seed; and no byte code of some Python in it."""
    collection = tmp_path / "ansible_collections/muster/agents"
    shutil.copytree(REPOSITORY / "plugins/module_utils", collection / "plugins/module_utils")
    shutil.copytree(REPOSITORY / "plugins/plugin_utils", collection / "plugins/plugin_utils")
    for path in collection.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", PRINT_DIGEST]
    there = subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)
    here = subprocess.check_output(command, env=with_collection(), text=True)
    assert there == here
    (collection / "plugins/module_utils/engine/cli.py").write_text("changed")
    assert subprocess.check_output(command, env=environment, cwd=tmp_path, text=True) != here


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13"])
def test_it_runs_on(archive: Path, version: str) -> None:
    done = run(archive, "--version", python=interpreter(version))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"muster {VERSION}\n", "")


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8"])
def test_an_old_python_gets_one_sentence(archive: Path, version: str) -> None:
    done = run(archive, "--version", python=interpreter(version))
    assert done.returncode == 69
    assert done.stderr == f"muster needs Python 3.9 or newer; this is {version}\n"


def test_every_file_compiles_on_the_oldest_python() -> None:
    script = "import sys; [compile(source, 'engine', 'exec') for source in sys.argv[1:]]"
    sources = [path.read_text("utf-8") for path in sorted(ENGINE.glob("*.py"))]
    assert len(sources) > 20
    command = [interpreter("3.9"), "-W", "error", "-c", script, *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_oldest_python_imports_every_module(archive: Path) -> None:
    names = [f"muster.{path.stem}" for path in sorted(ENGINE.glob("*.py")) if path.stem != "__init__"]
    script = f"import sys; sys.path.insert(0, {str(archive)!r}); [__import__(name) for name in {names!r}]"
    command = [interpreter("3.9"), "-I", "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the command line ---------------------------------------------------------------------------------------


def test_help_is_for_people(archive: Path) -> None:
    done = run(archive, "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("status", "resume", "apply"))


@pytest.mark.parametrize("arguments", [["frobnicate"], [], ["status", "--frobnicate"]])
def test_an_unknown_command_is_a_usage_error(archive: Path, arguments: list[str]) -> None:
    done = run(archive, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: muster ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 99}',
        '{"format": 1, "workloads": 3}',
        '{"format": 1, "workloads": [3]}',
        '{"format": 1, "workloads": [{}]}',
        json.dumps({"format": 1, "workloads": [{"manifest": raw_manifest()}]}),
        json.dumps({"format": 1, "workloads": [{"manifest": raw_manifest(), "files": {"unit": "altered"}}]}),
        json.dumps({"format": 1, "workloads": [{"manifest": raw_manifest(name="../x"), "files": {}}]}),
        '{"format": 1, "phase": "frobnicate"}',
        '{"format": 1, "parallel": "many"}',
    ],
)
def test_garbage_gets_an_error_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert cli.main(["apply"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["error"]
    assert report["kind"] in ("refused", "unsupported")


def test_garbage_gets_an_error_and_no_traceback(archive: Path) -> None:
    done = run(archive, "apply", text="garbage")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["error"].startswith("not a request: ")


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_a_host_without_systemd_is_told_so_in_one_line(archive: Path) -> None:
    report = json.loads(run(archive, "apply", text='{"format": 1, "phase": "stage"}').stdout)
    assert report["kind"] == "unsupported"
    assert "does not run systemd" in report["error"]
    assert "\n" not in report["error"]
