# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the controller asks for, in one JSON document on standard input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import envfile, manifest
from .errors import EngineError
from .files import sha256_bytes
from .manifest import Manifest

FORMAT = 1
KEEP = 5


@dataclass(frozen=True)
class Wanted:
    """One workload as it should be: its manifest, the texts of its files, and its secrets (None: it has no such file)."""

    manifest: Manifest
    texts: Mapping[str, str]
    secrets: Mapping[str, str]

    @property
    def secrets_text(self) -> str | None:
        return envfile.render(self.secrets) if self.secrets else None


@dataclass(frozen=True)
class Request:
    """What to do (`phase`), for which agents.

    `secrets` are values by workload and variable. `names` are the selected agents by fleet key; `fleet` is all of them,
    and `ids` all their ids. `retire` names what to retire, `moves` says where some of it is to start instead, `force` what
    to look at although nothing differs, `restart` what to restart then, `forbid` reasons and actions for which a change is
    refused, and `forbid_drift` refuses to mend what was changed by hand. Of the workloads in `look` it is only said what would
    change. `target` is the release (or how its id begins) to roll back to, "" for the previous proven one, and `targets` says
    so for agents by their names; `keep` is how many proven releases stay; `note` is a person's reason for holding an agent.
    `rotate` names agents that stay on their release and get new secrets: `secrets` holds only the values that change; those of
    them that are in `restart`, too, only restart.
    `staged_seconds` is how long this host's phases before the switch took. `archive` is what only a backup or a restore has
    to know: see there.
    """

    phase: str
    who: Mapping[str, str]
    wanted: Mapping[str, Wanted]
    secrets: Mapping[str, Mapping[str, str]]
    names: tuple[str, ...]
    fleet: tuple[str, ...]
    ids: tuple[str, ...]
    runtime_files: Mapping[str, str]
    check_mode: bool
    purge: bool
    assume_gone: bool
    retire: tuple[str, ...]
    moves: Mapping[str, str]
    force: frozenset[str]
    restart: frozenset[str]
    forbid: Mapping[str, str]
    forbid_drift: bool
    look: frozenset[str]
    target: str
    targets: Mapping[str, str]
    note: str
    rotate: tuple[str, ...]
    staged_seconds: Mapping[str, float]
    archive: Mapping[str, Any]
    keep: int
    parallel: int


def parse(text: str) -> Request:
    """Raises EngineError where the document is not a request or a file is not what its manifest says."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise EngineError(f"not a request: {error}") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise EngineError(f"not a request in format {FORMAT}")
    try:
        return _request(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"not a request: {type(error).__name__} {error}") from None


def _request(raw: Mapping[str, Any]) -> Request:
    secrets = raw.get("secrets", {})
    wanted: dict[str, Wanted] = {}
    for item in raw.get("workloads", []):
        document = manifest.parse(item["manifest"])
        for name, digest in document.files.items():
            if sha256_bytes(item["files"].get(name, "").encode()) != digest:
                raise EngineError(
                    f"{document.name}: {name} arrived with another digest than its manifest says"
                )
        wanted[document.key] = Wanted(document, item["files"], secrets.get(document.key, {}))
    return Request(
        phase=raw.get("phase", ""),
        who=raw.get("who", {}),
        wanted=wanted,
        secrets={key: dict(values) for key, values in secrets.items()},
        names=tuple(raw.get("names", ())),
        fleet=tuple(raw.get("fleet", ())),
        ids=tuple(raw.get("ids", ())),
        runtime_files=raw.get("runtime_files", {}),
        check_mode=bool(raw.get("check_mode")),
        purge=bool(raw.get("purge")),
        assume_gone=bool(raw.get("assume_gone")),
        retire=tuple(raw.get("retire", ())),
        moves={str(name): str(host) for name, host in raw.get("moves", {}).items()},
        force=frozenset(raw.get("force", ())),
        restart=frozenset(raw.get("restart", ())),
        forbid=dict(raw.get("forbid", {})),
        forbid_drift=bool(raw.get("forbid_drift")),
        look=frozenset(raw.get("look", ())),
        target=str(raw.get("target", "")),
        targets=dict(raw.get("targets", {})),
        note=str(raw.get("note", "")),
        rotate=tuple(raw.get("rotate", ())),
        staged_seconds={str(phase): float(taken) for phase, taken in raw.get("staged_seconds", {}).items()},
        archive=dict(raw.get("archive", {})),
        keep=max(1, int(raw.get("keep", KEEP))),
        parallel=int(raw.get("parallel", 8)),
    )
