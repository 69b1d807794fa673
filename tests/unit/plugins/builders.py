# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several tests need: a release made of plain texts, a unit as systemd would describe it, a small HTTP server."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings

from ansible_collections.muster.agents.plugins.module_utils.engine import compare, manifest, systemd
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Gate, Manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from ansible_collections.muster.agents.plugins.module_utils.engine.switch import Swap, forget, prepare, switch
from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import Unit

REPOSITORY = Path(__file__).resolve().parents[3]
KEY = "agents/writer"
UNIT = "agent-writer.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
few = settings(max_examples=30)
TEXTS = {"agent.toml": "[agent]\n", "env": 'A="1"\n', "unit": "[Unit]\n"}


def sha256(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def with_collection() -> dict[str, str]:
    """The environment of a process that imports the collection."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "collections")}


def raw_manifest(texts: Mapping[str, str] = TEXTS, **changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "kind": "agent",
        "name": "writer",
        "base": "writer",
        "unit": UNIT,
        "config": "agent.toml",
        "files": {name: sha256(text) for name, text in texts.items()},
        "install": {UNIT_PATH: {"file": "unit", "mode": "0644"}},
        "gate": {
            "port": 20001,
            "ready": "/ready",
            "identity": "/health",
            "agent_id": "writer-agent",
            "deadline": 10.0,
            "min_healthy_time": 3.0,
        },
        **changes,
    }


def wanted(
    texts: Mapping[str, str] = TEXTS, secrets: Mapping[str, str] | None = None, **changes: Any
) -> Wanted:
    return Wanted(manifest.parse(raw_manifest(texts, **changes)), dict(texts), dict(secrets or {}))


def with_gate(**changes: Any) -> Manifest:
    document = wanted().manifest
    return replace(document, gate=replace(document.gate, **changes))


def gate(port: int, **changes: Any) -> Gate:
    return with_gate(port=port, **changes).gate


RUNNING = Unit(
    name=UNIT,
    load="loaded",
    active="active",
    sub="running",
    result="success",
    pid=100,
    restarts=0,
    file_state="enabled",
    exit_status=0,
    exit_code=0,
    active_since=1.0,
    need_reload=False,
    invocation="new",
)


def compared(layout: Layout, item: Wanted, unit: Unit = RUNNING) -> compare.Change:
    """What the engine would do, where systemd describes the unit so."""
    with mock.patch.object(systemd, "show", lambda names: dict.fromkeys(names, unit)):
        (change,) = compare.compare(layout, {item.manifest.key: item})
    return change


def released(
    layout: Layout, item: Wanted, secrets: str | None = None, before: str | None = None
) -> list[Swap]:
    """Stage a release and make it the current one on disk, as a transaction that went well does."""
    stage_release(layout, item)
    swaps = prepare(layout, item.manifest.key, item.manifest.release, before, secrets)
    switch(swaps)
    forget(swaps)
    return swaps


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[None]:
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(path: Path) -> None:
    """Take the last byte and the last inode of a small file system, with files named fill*."""
    with contextlib.suppress(OSError), (path / "fill").open("wb", buffering=0) as stream:
        while stream.write(b"#" * 4096):
            pass
    with contextlib.suppress(OSError):
        for number in range(1000):
            (path / f"fill-{number}").touch()


Answer = tuple[int, str | bytes]


@contextmanager
def http_server(answers: Mapping[str, Answer]) -> Iterator[tuple[int, list[str]]]:
    """(port, paths asked for so far) of a server on loopback; other paths get 404."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answers.get(self.path, (404, "no such path"))
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def nested(folder: Path, name: str, depth: int) -> Iterator[None]:
    """Folders in folders, with a file in the last: deeper than a path can tell, where that is asked. pytest could not remove
    them.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=handle)
            handle, above = os.open(name, os.O_RDONLY, dir_fd=handle), handle
            os.close(above)
        os.close(os.open("file", os.O_CREAT, dir_fd=handle))
        yield
    finally:
        os.close(handle)
        subprocess.run(["rm", "-rf", "--", folder / name], check=True)
