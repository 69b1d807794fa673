# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the secrets of a workload lie on the host: in an environment file for root only, or encrypted, one file for each.

What is encrypted is never compared by decrypting it: state.json knows a keyed digest of what the agent was started with, and
a digest of the encrypted files. Both tell the same whatever the backend is, and neither needs a plaintext.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from . import envfile, systemd
from .errors import EngineError
from .files import OURS, File, beside, read_bytes, remove
from .layout import Layout
from .manifest import CREDENTIALS, Manifest
from .mask import secret_values
from .room import Need
from .state import State

OLDEST_SYSTEMD = 250  # the first with systemd-creds and LoadCredentialEncrypted=
# What encryption adds to a value: a header, a tag, base64 and its line breaks.
_SEAL_BYTES = 512


def refusal(document: Manifest, version: int) -> str:
    """Why this host cannot keep a release's secrets as it wants them; "" where it can. `version` is systemd's."""
    if document.secrets_backend != CREDENTIALS or not document.secrets or version >= OLDEST_SYSTEMD:
        return ""
    return (
        f"secrets_backend: credentials needs systemd {OLDEST_SYSTEMD} or newer, and this host has {version}; "
        "choose environment_file for the agents that run here"
    )


def place(layout: Layout, document: Manifest) -> Path:
    """The file or directory that a release's secrets are kept in."""
    sealed = document.secrets_backend == CREDENTIALS
    return (layout.credentials if sealed else layout.secrets_file)(document.key)


def files(layout: Layout, key: str) -> list[Path]:
    """All that are there, of whatever backend."""
    plain = layout.secrets_file(key)
    return [*([plain] if plain.exists() else ()), *_sealed_files(layout, key)]


def _sealed_files(layout: Layout, key: str) -> list[Path]:
    found = layout.credentials(key).glob("*.cred")
    return sorted(path for path in found if envfile.NAME.fullmatch(path.stem))


def names(layout: Layout, key: str) -> set[str]:
    """Of the variables; no value is decrypted."""
    return {*_plain(layout.secrets_file(key)), *(path.stem for path in _sealed_files(layout, key))}


def read(layout: Layout, key: str) -> dict[str, str]:
    """variable → value. What cannot be decrypted on this host is left out."""
    return _read([layout.secrets_file(key)], _sealed_files(layout, key))


def read_before(layout: Layout, key: str) -> dict[str, str]:
    """What the release before this one ran with, while the transaction is open."""
    return {**read(layout, key), **_read_old(layout, key)}


def _read_old(layout: Layout, key: str) -> dict[str, str]:
    sealed = layout.credentials(key).glob(f".*.cred{OURS}old")
    return _read([beside(layout.secrets_file(key), "old")], sealed)


def _read(plain: Iterable[Path], sealed: Iterable[Path]) -> dict[str, str]:
    values = {name: value for path in plain for name, value in _plain(path).items()}
    for path in sealed:
        name = path.name.lstrip(".").split(".", 1)[0]
        if (value := _opened(path, name)) is not None:
            values[name] = value
    return values


def _plain(path: Path) -> dict[str, str]:
    return envfile.parse((read_bytes(path) or b"").decode("utf-8", "replace"))


def text(layout: Layout, key: str) -> str | None:
    """As `Wanted.secrets_text`, of what is there."""
    data = read_bytes(layout.secrets_file(key))
    if data is not None:
        return data.decode("utf-8", "replace")
    values = read(layout, key)
    return envfile.render(values) if values else None


def hide(layout: Layout, key: str) -> list[str]:
    """What no text about this workload may show."""
    return secret_values({key: read(layout, key)})


def hide_both(layout: Layout, key: str) -> list[str]:
    """The same while the transaction is open: of today's values and of those that the release before ran with."""
    return secret_values({"now": read(layout, key), "before": _read_old(layout, key)})


def entries(layout: Layout, document: Manifest, secrets_text: str | None) -> dict[Path, File | None]:
    """What is to be at each path, None for what is not to be there any more.

    A value that is there already keeps its file. Raises EngineError where one cannot be encrypted.
    """
    key = document.key
    found: dict[Path, File | None] = dict.fromkeys([layout.secrets_file(key), *files(layout, key)])
    if secrets_text is not None and document.secrets_backend != CREDENTIALS:
        found[layout.secrets_file(key)] = File(secrets_text.encode(), 0o600)
    elif secrets_text is not None:
        for name, value in envfile.parse(secrets_text).items():
            path = layout.credential(key, name)
            found[path] = File(_sealed(path, name, value), 0o600)
    return found


def _sealed(path: Path, name: str, value: str) -> bytes:
    """The value encrypted for this host and this name."""
    there = read_bytes(path)
    if there is not None and _opened(path, name) == value:
        return there  # encrypting it again would give other bytes
    try:
        done = systemd.run(
            "systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "-", "-", stdin=value
        )
    except FileNotFoundError:
        raise EngineError("systemd-creds is not installed; nothing was changed") from None
    if done.returncode != 0 or not done.stdout:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise EngineError(f"{name} cannot be encrypted: {why[0]}; nothing was changed")
    return done.stdout.encode()


def _opened(path: Path, name: str) -> str | None:
    try:
        done = systemd.run("systemd-creds", "decrypt", f"--name={name}", "--newline=no", str(path), "-")
    except (OSError, EngineError):
        return None
    return done.stdout if done.returncode == 0 else None


def need(layout: Layout, document: Manifest, secrets_text: str | None) -> Need:
    """Room for what `entries` writes."""
    size, count = len((secrets_text or "").encode()), 1
    if document.secrets_backend == CREDENTIALS:
        count += len(document.secrets)
        size = 2 * size + count * _SEAL_BYTES
    return Need(layout.secrets, size, count)


def fingerprint(layout: Layout, key: str) -> str:
    """Of the encrypted files, names and bytes; "" where there are none."""
    found = [
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in _sealed_files(layout, key)
    ]
    return hashlib.sha256(repr(found).encode()).hexdigest() if found else ""


def record(layout: Layout, state: State, document: Manifest, secrets_text: str | None) -> dict[str, str]:
    """What state.json says of the secrets that a release was started with."""
    sealed = {"sealed": fingerprint(layout, document.key)} if document.secrets_backend == CREDENTIALS else {}
    return {"secrets": state.digest(secrets_text), **sealed}


def intact(layout: Layout, state: State, key: str) -> bool:
    """Whether what is there is what the workload was started with; True where no record tells."""
    entry = state.workloads.get(key, {})
    if entry.get("secrets") is None:
        return True
    data = read_bytes(layout.secrets_file(key))
    if "sealed" in entry:
        return data is None and fingerprint(layout, key) == entry["sealed"]
    plain = data.decode("utf-8", "replace") if data is not None else None
    return state.digest(plain) == entry["secrets"] and not _sealed_files(layout, key)


def forget(layout: Layout, key: str) -> None:
    remove(layout.secrets_file(key))
    remove(layout.credentials(key))
