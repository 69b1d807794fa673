# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things live on a host (design section 5), and the names that are safe to use as a path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import EngineError

# A name becomes a directory, a file and a unit name: no slash, no leading dot or dash, no `%` or `@`.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RELEASE_ID = re.compile(r"[0-9a-f]{16}")
SHA256 = re.compile(r"[0-9a-f]{64}")
KINDS = {"agent": "agents", "service": "services"}


@dataclass(frozen=True)
class Layout:
    """All paths of one host below `root` ("/" except in tests)."""

    root: Path = Path("/")

    @property
    def engine(self) -> Path:
        return self.root / "usr/local/lib/muster/muster.pyz"

    @property
    def lib(self) -> Path:
        return self.root / "var/lib/muster"

    @property
    def state(self) -> Path:
        return self.lib / "state.json"

    @property
    def history(self) -> Path:
        return self.lib / "history.jsonl"

    @property
    def lock(self) -> Path:
        return self.lib / "lock"

    @property
    def run(self) -> Path:
        return self.root / "run/muster"

    @property
    def runtimes(self) -> Path:
        return self.root / "opt/muster/runtimes"

    @property
    def secrets(self) -> Path:
        return self.root / "etc/muster/secrets"

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @property
    def invocations(self) -> Path:
        """Where systemd keeps, for each unit that is up, the link `invocation:<unit>` to the id of its start."""
        return self.root / "run/systemd/units"

    def runtime(self, sha256: str) -> Path:
        """The directory of one runtime; it holds the single file `program`."""
        if not SHA256.fullmatch(sha256):
            raise EngineError(f"{sha256!r} is not a SHA-256 digest")
        return self.runtimes / sha256

    def workload(self, key: str) -> Path:
        """The directory of a workload; `key` is `agents/<name>` or `services/<name>`."""
        directory, name = (*key.split("/", 1), "")[:2]
        if directory not in KINDS.values() or not SAFE_NAME.fullmatch(name):
            raise EngineError(f"{key!r} is not a workload's name")
        return self.lib / directory / name

    def releases(self, key: str) -> Path:
        return self.workload(key) / "releases"

    def release(self, key: str, release: str) -> Path:
        if not RELEASE_ID.fullmatch(release):
            raise EngineError(f"{release!r} is not a release id")
        return self.releases(key) / release

    def current(self, key: str) -> Path:
        return self.workload(key) / "current"

    def secrets_file(self, key: str) -> Path:
        """The environment file with the secrets of a workload, outside its releases."""
        return self.secrets / f"{self.workload(key).name}.env"

    def credentials(self, key: str) -> Path:
        """The directory with the encrypted secrets of a workload."""
        return self.secrets / f"{self.workload(key).name}.creds"

    def credential(self, key: str, name: str) -> Path:
        """The file with one encrypted secret."""
        return self.credentials(key) / f"{name}.cred"

    def on_host(self, path: str) -> Path:
        """An absolute path of the host, below `root`."""
        if not path.startswith("/") or ".." in path.split("/"):
            raise EngineError(f"{path!r} is not an absolute path without '..'")
        return self.root / path.lstrip("/")

    def data_directories(self, unit: str) -> list[Path]:
        """What systemd made for a unit's StateDirectory=, CacheDirectory= and LogsDirectory=."""
        stem = unit.rsplit(".", 1)[0]
        bases = (self.root / "var/lib", self.root / "var/cache", self.root / "var/log")
        return [path for base in bases for path in (base / "private" / stem, base / stem)]


def workload_key(kind: str, name: str) -> str:
    """`agents/<name>` or `services/<name>`."""
    if kind not in KINDS or not SAFE_NAME.fullmatch(name):
        raise EngineError(f"{kind} {name!r}: not a name that is safe as a file and a unit")
    return f"{KINDS[kind]}/{name}"
