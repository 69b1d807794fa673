# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host below a folder: agents as a deploy leaves them, and a systemd that says what it is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest, systemd
from ansible_collections.muster.agents.plugins.module_utils.engine import state as states
from ansible_collections.muster.agents.plugins.module_utils.engine.files import link, make_directory, write
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import Unit
from tests.unit.plugins.builders import RUNNING, TEXTS, raw_manifest, sha256

PROGRAM = "the runtime's program"
RUNTIME = {"name": "reference", "version": "1.2", "artifacts": {"any": sha256(PROGRAM)}}
NAMED = {"API_KEY": {"from": "secret", "name": "API_KEY"}}
SECRETS = {"API_KEY": "canary-of-today"}


def version(number: int, **changes: Any) -> Wanted:
    """A release of the agent `writer` that needs a secret and a runtime; each number is another one."""
    texts = {**TEXTS, "agent.toml": f"[agent]\nnumber = {number}\n"}
    about = {"runtime": RUNTIME, "secrets": NAMED, "version": f"1.{number}", **changes}
    return Wanted(manifest.parse(raw_manifest(texts, **about)), texts, SECRETS)


class Host:
    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = Layout(root)
        self.units: dict[str, Unit] = {}
        self.calls: list[tuple[str, ...]] = []
        monkeypatch.setattr(systemd, "show", self._show)
        monkeypatch.setattr(systemd, "systemctl", lambda *words: self.calls.append(words))
        monkeypatch.setattr(systemd, "require", lambda: 252)

    def _show(self, units: Sequence[str]) -> dict[str, Unit]:
        return {name: self.units.get(name, replace(RUNNING, name=name, pid=os.getpid())) for name in units}

    def stage(self, item: Wanted, staged_at: float = 0.0) -> str:
        document = item.manifest
        stage_release(self.layout, item)
        if document.runtime:
            program = self.layout.runtime(sha256(PROGRAM)) / "program"
            make_directory(program.parent)
            program.write_text(PROGRAM)
        if staged_at:
            os.utime(
                self.layout.release(document.key, document.release) / "manifest.json", (staged_at, staged_at)
            )
        return document.release

    def release(self, item: Wanted, staged_at: float = 0.0) -> str:
        """Stage, switch and commit."""
        document, layout = item.manifest, self.layout
        release = self.stage(item, staged_at)
        link(layout.current(document.key), f"releases/{release}")
        for install in document.installs:
            path = layout.on_host(install.path)
            make_directory(path.parent)
            write(path, item.texts[install.file].encode(), install.mode)
        make_directory(layout.secrets, 0o700)
        if item.secrets_text is not None:
            write(layout.secrets_file(document.key), item.secrets_text.encode(), 0o600)
        state = states.load(layout)
        proven = [one for one in state.proven(document.key) if one != release]
        state.workloads[document.key] = {
            "release": release,
            "proven": [*proven, release],
            "unit": document.unit,
            "base": document.base,
            "agent_id": document.gate.agent_id,
            "secrets": state.digest(item.secrets_text),
        }
        states.save(layout, state)
        return release

    def bytes(self) -> dict[str, bytes | str]:
        """All that lies on this host but its history, to tell that nothing was changed."""
        found: dict[str, bytes | str] = {}
        for path in sorted(self.layout.root.rglob("*")):
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file() and path not in (self.layout.lock, self.layout.history):
                found[str(path)] = path.read_bytes()
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)
