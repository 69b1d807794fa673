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
import tempfile
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import VERSION, cli
from ansible_collections.muster.agents.plugins.module_utils.engine import request as engine_request
from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import packed
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


def ask(archive: Path, digest: str, request: str) -> tuple[int, str, str]:
    done = run(archive, "apply", "--engine", digest, text=request)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's requests are carried out")
def test_a_request_for_this_engine_comes_packed(archive: Path) -> None:
    request = {"format": engine_request.FORMAT, "phase": "grüße\n\0"}
    code, out, err = ask(archive, engine_archive()[1], packed(json.dumps(request).encode()))
    assert (code, err) == (0, "")
    assert json.loads(out) == {"error": f"unknown phase {request['phase']!r}", "kind": "refused"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's requests are carried out")
@pytest.mark.parametrize(
    ("digest", "request_text", "words"),
    [
        ("0" * 64, packed(b"{}"), "muster: the request is for another engine\n"),
        (engine_archive()[1], "{}", "muster: not a request: "),
        (engine_archive()[1], "é", "muster: not a request: "),
        (engine_archive()[1], "", "muster: not a request: "),
        (engine_archive()[1], packed(b"\xff"), "muster: not a request: "),
        (engine_archive()[1], packed(b"{}" * 1000)[:-8], "muster: not a request: "),
    ],
)
def test_what_is_not_for_this_engine_gets_no_report(
    archive: Path, digest: str, request_text: str, words: str
) -> None:
    code, out, err = ask(archive, digest, request_text)
    assert (code, out) == (1, "")
    assert err.startswith(words)
    assert err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes somebody else")
def test_a_request_of_somebody_else_than_root_gets_no_report(archive: Path, tmp_path: Path) -> None:
    readable = Path(tempfile.mkdtemp(dir="/tmp")) / "muster.pyz"
    try:
        readable.parent.chmod(0o755)
        readable.write_bytes(archive.read_bytes())
        command = ["/usr/bin/python3", "-I", str(readable), "apply", "--engine", engine_archive()[1]]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False, user=65534)
    finally:
        shutil.rmtree(readable.parent)
    assert (done.returncode, done.stdout) == (77, b"")
    assert done.stderr == b"muster: only root can carry out a request\n"


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_a_host_without_systemd_is_told_so_in_one_line(archive: Path) -> None:
    report = json.loads(run(archive, "apply", text='{"format": 1, "phase": "stage"}').stdout)
    assert report["kind"] == "unsupported"
    assert "does not run systemd" in report["error"]
    assert "\n" not in report["error"]
