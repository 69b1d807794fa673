# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs of these tests: Prometheus, promtool, node_exporter, and `muster metrics` on a host below a folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import cli
from ansible_collections.muster.agents.plugins.module_utils.engine.state import record
from tests.integration.reference_agent.world import free_port, until
from tests.unit.plugins.builders import KEY, raw_manifest
from tests.unit.plugins.small_host import Host, version

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "roles/observability/files/muster.rules.yml"
DASHBOARD = ROOT / "roles/observability/files/muster.dashboard.json"
AGENT, RELEASE = "writer-agent", "0123456789abcdef"
_INSTALLED = "/etc/prometheus/muster"


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not on PATH; `make observability` brings it"
    return found


def promtool(*words: str, stdin: str = "") -> str:
    """What promtool says; it fails the test where promtool is not content."""
    done = subprocess.run(
        [program("promtool"), *words], input=stdin, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documented(folder: Path) -> str:
    """The piece of prometheus.yml that the documentation shows, with the files in this folder."""
    page = (ROOT / "docs/observability.md").read_text()
    (block,) = re.findall(r"```yaml\n(rule_files:.*?)```", page, re.S)
    assert _INSTALLED in block
    return str(block).replace(_INSTALLED, str(folder))


def tell(collector: Path, root: Path, port: int, patch: pytest.MonkeyPatch) -> None:
    """`muster metrics` on a host whose agent answers at a port, and whose last deploy was reverted."""
    host = Host(root, patch)
    gate = {**raw_manifest()["gate"], "port": port}
    first, second = (host.release(version(number, gate=gate)) for number in (1, 2))
    about = {"via": "deploy", "key": KEY, "name": "writer", "before": first, "after": second}
    record(host.layout, {**about, "result": "released"})
    record(host.layout, {**about, "before": second, "tried": "f" * 16, "result": "reverted"})
    assert cli.main(["metrics", "--output", str(collector / "muster.prom")], host.layout) == 0


@contextmanager
def node_exporter(collector: Path) -> Iterator[int]:
    port = free_port()
    command = [
        program("prometheus-node-exporter"),
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={collector}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: b"muster_info" in _get(f"http://127.0.0.1:{port}/metrics"), "node_exporter")
        yield port
    finally:
        process.terminate()
        process.wait(10)


class Prometheus:
    """A Prometheus on loopback with the folder's prometheus.yml, and what it says to what it is asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        command = [
            program("prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
        ]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: _get(f"{self._url}/-/ready"), f"Prometheus; its log is {self._folder / 'log'}", 30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def ask(self, path: str, **words: str) -> Any:
        """The data of an answer of its HTTP API. Fails the test with Prometheus' own words where it refuses."""
        answer = json.loads(_get(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(words)}", refusals=True))
        assert answer["status"] == "success", f"{words}: {answer.get('error')}"
        return answer["data"]

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        found = self.ask("query", query=query)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]


def _get(url: str, *, refusals: bool = False) -> bytes:
    """What is answered; nothing while nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        return error.read() if refusals else b""
    except OSError:
        return b""
