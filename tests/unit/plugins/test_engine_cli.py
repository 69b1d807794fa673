# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line: exit codes, one JSON document for everything, and no traceback ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import (
    cli,
    detach,
    errors,
    logs,
    systemd,
    table,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import Busy, EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.lock import locked
from ansible_collections.muster.agents.plugins.module_utils.engine.state import (
    State,
    load,
    record,
    save,
)
from tests.unit.plugins.builders import KEY, UNIT, UNIT_PATH, with_collection
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]
JOURNALCTL = """#!/usr/bin/env python3
import json, sys
if "--since=nonsense" in sys.argv:
    sys.exit("Failed to parse timestamp: nonsense")
words = "key canary-of-today"
line = {"MESSAGE": list(words.encode()), "__REALTIME_TIMESTAMP": "1000000000", "PRIORITY": "3", "_PID": "7"}
print(json.dumps(line) if "--output=json" in sys.argv else "1970 host program[7]: " + words)
print("asked:", *sys.argv[1:], file=sys.stderr)
"""


@pytest.fixture
def writer(host: Host) -> Host:
    host.release(version(1))
    host.release(version(2))
    return host


def muster(host: Host, *words: str) -> int:
    return cli.main(words, host.layout)


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "one document and nothing else"
    return json.loads(out)


@pytest.mark.parametrize(
    ("words", "code", "keys"),
    [
        (("status",), 1, {"version", "workloads", "unfinished"}),
        (("history",), 0, {"entries"}),
        (("history", "writer", "-n", "1"), 0, {"entries"}),
        (("releases",), 0, {"releases"}),
        (("diff",), 0, {"workloads"}),
        (("resume",), 0, {"outcomes"}),
        (("metrics",), 0, {"metrics"}),
        (("unhold", "writer"), 0, {"held", "unheld", "unchanged", "outcomes"}),
        (("status", "nobody"), 1, {"error", "kind"}),
        (("releases", "nobody"), 1, {"error", "kind"}),
        (("rollback", "nobody"), 1, {"error", "kind"}),
        (("logs", "nobody"), 1, {"error", "kind"}),
        (("diff", "writer", "ffff"), 1, {"error", "kind"}),
    ],
)
def test_every_command_has_one_json_document(
    writer: Host, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, keys: set[str]
) -> None:
    assert muster(writer, *words, "--json") == code
    assert set(document(capsys)) == keys


def test_wrong_usage_is_2_with_json_where_asked(
    writer: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        muster(writer, "rollback")
    assert ended.value.code == 2
    assert "NAME" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["muster", "rollback", "--json"])
    with pytest.raises(SystemExit) as ended:
        muster(writer, "rollback", "--json")
    assert ended.value.code == 2
    assert document(capsys)["kind"] == "usage"


def test_busy_is_75_and_says_who(writer: Host, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(writer.layout, {"user": "ann", "host": "laptop"}):
        handle = os.open(writer.layout.lock, os.O_RDWR)
        os.close(handle)
        assert muster(writer, "hold", "writer", "--json") == 75
    found = document(capsys)
    assert found["kind"] == "busy" and "held by ann from laptop" in found["error"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.Unsupported, 69), (errors.NoRoom, 73), (errors.Busy, 75), (errors.EngineError, 1)],
)
def test_what_the_detached_half_reports_becomes_the_exit_code(
    writer: Host, monkeypatch: pytest.MonkeyPatch, error: type[errors.EngineError], code: int
) -> None:
    report = {"error": "no", "kind": error.kind}
    monkeypatch.setattr(detach, "run_detached", lambda layout, text: report)
    assert muster(writer, "rollback", "writer") == code


def test_a_rollback_asks_for_it_detached_and_prunes_nothing(
    writer: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []
    outcome = {
        "name": "writer",
        "result": "reverted",
        "after": "a" * 16,
        "phase": "gate",
        "reason": "crashed",
        "log": ["x"],
    }

    def run(layout: object, text: str) -> dict[str, Any]:
        asked.append(json.loads(text))
        return {"outcomes": [outcome], "recovered": []}

    monkeypatch.setattr(detach, "run_detached", run)
    assert muster(writer, "rollback", "writer", "--to", "abcd") == 1
    (one,) = asked
    assert (one["phase"], one["names"], one["target"]) == ("rollback", ["writer"], "abcd")
    assert one["keep"] > 1000
    told = capsys.readouterr().out
    assert told == f"writer: was brought back to {'a' * 16}, which is healthy: gate: crashed\n    | x\n"


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ("muster-release-1.service loaded active running", "the rollback goes on"),
        ("", "no rollback is under way"),
    ],
)
def test_ctrl_c_only_ends_the_waiting(
    writer: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], units: str, told: str
) -> None:
    def interrupted(layout: object, text: str) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(detach, "run_detached", interrupted)
    monkeypatch.setattr(systemd, "run", lambda *words: subprocess.CompletedProcess(words, 0, units, ""))
    assert muster(writer, "rollback", "writer") == 130
    assert told in capsys.readouterr().err


def test_who_is_not_root_is_told_so(
    writer: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert muster(writer, "status", "--json") == 77
    assert document(capsys)["kind"] == "not_root"
    assert muster(writer, "completion", "bash") == 0, "that needs no root"


def test_a_disk_that_fails_is_74(writer: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error", "/var/lib/muster")

    monkeypatch.setattr(cli.status, "document", broken)
    assert muster(writer, "status") == 74


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from ansible_collections.muster.agents.plugins.module_utils.engine import cli
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
sys.exit(cli.main(["history", "-n", "100000"], Layout(Path({str(tmp_path)!r}))))
"""
    layout = cli.Layout(tmp_path)
    layout.lib.mkdir(parents=True)
    line = {
        "key": KEY,
        "name": "writer",
        "before": None,
        "after": "a" * 16,
        "result": "released",
        "time": "x",
    }
    layout.history.write_text((json.dumps(line) + "\n") * 5000)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" | head -n 1', sys.executable, program],
        env=with_collection(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TIME")


def test_a_release_is_compared_with_the_current_one(writer: Host, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = load(writer.layout).proven(KEY)
    assert muster(writer, "diff", "writer", first[:6]) == 1
    assert f"--- {first}/agent.toml\n+++ {second}/agent.toml\n" in capsys.readouterr().out
    assert muster(writer, "diff", "writer", first, first) == 0


def test_drift_makes_diff_end_with_1(writer: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert muster(writer, "diff") == 0
    writer.layout.on_host(UNIT_PATH).write_text("by hand")
    assert muster(writer, "diff", "writer") == 1
    assert "writer: unit:" in capsys.readouterr().out


def test_the_shell_is_told_names_and_releases(writer: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert muster(writer, "_names") == 0
    assert capsys.readouterr().out.split() == ["writer"]
    assert muster(writer, "_releases", "writer") == 0
    assert set(capsys.readouterr().out.split()) == set(load(writer.layout).proven(KEY))


def test_the_history_of_an_agent_that_is_gone_is_still_told(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.layout.lib.mkdir(parents=True)
    record(
        host.layout,
        {"key": "agents/gone", "name": "gone", "via": "remove", "result": "removed", "before": "a" * 16},
    )
    assert muster(host, "history", "gone", "--json") == 0
    assert [one["via"] for one in document(capsys)["entries"]] == ["remove"]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


OPEN = {"before": {KEY: None}, "after": {KEY: "a" * 16}, "touched": {}}


@pytest.mark.parametrize(
    ("transaction", "error", "code"),
    [
        (OPEN, OSError(5, "Input/output error", "/x"), 1),
        (OPEN, EngineError("systemctl show: no answer"), 1),
        (OPEN, KeyError("x"), 1),
        (None, EngineError("refused"), 0),
        (OPEN, Busy("another is at work, and this is its transaction"), 0),
        (OPEN, None, 0),
    ],
)
def test_what_is_left_open_calls_for_the_unit_that_brings_it_back(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transaction: dict[str, Any] | None,
    error: Exception | None,
    code: int,
) -> None:
    def work(*arguments: object) -> dict[str, Any]:
        if error:
            raise error
        return {"outcomes": []}

    save(host.layout, State({}, transaction))
    monkeypatch.setattr(detach, "take_request", lambda scratch, offered: '{"format": 1, "phase": "switch"}')
    monkeypatch.setattr(cli, "_second_half", work)
    assert muster(host, "carry-on", str(tmp_path), "/proc/1/fd/3") == code
    assert ("error" in json.loads((tmp_path / "report.json").read_text())) == (error is not None)


def test_a_state_that_cannot_be_read_any_more_counts_as_left_open(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(host.layout, State())
    host.layout.state.write_text("{")
    monkeypatch.setattr(detach, "take_request", lambda scratch, offered: '{"format": 1, "phase": "switch"}')
    monkeypatch.setattr(cli, "_second_half", lambda layout, asked: load(layout) and {})
    assert muster(host, "carry-on", str(tmp_path), "/proc/1/fd/3") == 1


@pytest.mark.usefixtures("journal")
def test_logs_are_of_the_unit_and_masked(writer: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert muster(writer, "logs", "writer", "-n", "5", "--since", "1 hour ago") == 0
    out, err = capfd.readouterr()
    assert out == "1970 host program[7]: key ********\n"
    assert f"--lines=5 --output=short-iso --since=1 hour ago --unit={UNIT}" in err


@pytest.mark.usefixtures("journal")
def test_logs_as_json_are_one_document_and_masked_also_in_bytes(
    writer: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    assert muster(writer, "logs", "writer", "--json") == 0
    line = {
        "time": "1970-01-01T00:16:40Z",
        "priority": 3,
        "pid": 7,
        "invocation": None,
        "message": "key ********",
    }
    assert json.loads(capfd.readouterr().out) == {"name": "writer", "unit": UNIT, "lines": [line]}


@pytest.mark.usefixtures("journal")
def test_a_time_that_journalctl_does_not_take_is_1(writer: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert muster(writer, "logs", "writer", "--since", "nonsense") == 1
    assert "Failed to parse timestamp" in capfd.readouterr().err


def test_the_logs_of_the_running_process_are_chosen_by_its_start(writer: Host) -> None:
    arguments = logs.journal_arguments(writer.layout, KEY, UNIT, logs.Selection(9, run=True), as_json=False)
    assert arguments[-3:] == ["_SYSTEMD_INVOCATION_ID=new", "+", "INVOCATION_ID=new"]


def test_tables_fit_the_terminal_and_numbers_stand_to_the_right() -> None:
    rows = [("writer", "7"), ("a-very-long-name", "1234")]
    assert table.table(("NAME", "N"), rows).splitlines() == [
        "NAME                 N",
        "writer               7",
        "a-very-long-name  1234",
    ]
    assert table.table(("NAME", "N"), rows, 10).splitlines()[2] == "a-very-lo…"
