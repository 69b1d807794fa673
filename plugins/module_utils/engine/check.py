# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Phase 3, check: would the staged release start? Asked of the runtime itself, in the agent's sandbox, and of systemd."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from . import mask, systemd
from .errors import EngineError
from .files import make_directory, write
from .layout import Layout
from .request import Wanted

_TIMEOUT = 60
SCRATCH = "check-"  # how the names of its folders in /run/muster begin
_SANDBOX = (
    "DynamicUser=yes",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "TemporaryFileSystem=/dev/shm:mode=1777,nosuid",
    "InaccessiblePaths=-/run/dbus",
    # A check needs no network; what the network says is the gate's business.
    "PrivateNetwork=yes",
    "CapabilityBoundingSet=",
    f"RuntimeMaxSec={_TIMEOUT}",
    "TimeoutStopSec=5",
)


def check(layout: Layout, wanted: Iterable[Wanted], parallel: int) -> dict[str, str]:
    """key → what is wrong, for the staged releases that must not be switched to."""
    items = list(wanted)
    with concurrent.futures.ThreadPoolExecutor(
        max_workers=max(1, min(parallel, os.cpu_count() or 1))
    ) as pool:
        verdicts = pool.map(lambda item: check_one(layout, item), items)
        return {item.manifest.key: verdict for item, verdict in zip(items, verdicts) if verdict}


def check_one(layout: Layout, wanted: Wanted) -> str | None:
    make_directory(layout.run, 0o700)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=layout.run))
    try:
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            unit = pool.submit(_check_unit, layout, wanted, scratch)
            config = pool.submit(_check_config, layout, wanted)
            return unit.result() or config.result()
    except EngineError as error:
        return str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_unit(layout: Layout, wanted: Wanted, scratch: Path) -> str | None:
    if "unit" not in wanted.texts:
        return None
    unit = scratch / wanted.manifest.unit
    # On a first deploy nothing is at `current` yet: look at the same release where it is staged.
    staged = str(layout.release(wanted.manifest.key, wanted.manifest.release))
    text = wanted.texts["unit"].replace(str(layout.current(wanted.manifest.key)), staged)
    write(unit, text.encode(), 0o600)
    complaint = systemd.verify(str(unit))
    return f"systemd-analyze verify: {complaint}" if complaint else None


def _with_words(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path at which systemd finds the text for as long as this process lives: a kill leaves no secret behind."""
    handle = os.memfd_create("muster-check")
    try:
        with open(handle, "wb", closefd=False) as stream:
            stream.write(text.encode())
        yield f"/proc/{os.getpid()}/fd/{handle}"
    finally:
        os.close(handle)


def _check_config(layout: Layout, wanted: Wanted) -> str | None:
    document = wanted.manifest
    if not document.check or document.config is None:
        return None
    release = layout.release(document.key, document.release)
    service = f"muster-check-{document.name}-{os.getpid()}"
    words = {
        "{program}": str(layout.runtime(document.digest(platform.machine()) or "") / "program"),
        "{config}": f"/run/credentials/{service}.service/{document.config}",
        "{config_dir}": f"/run/credentials/{service}.service",
    }
    command = [_with_words(word, words) for word in document.check]
    # Where the environment names the agent's own config, the check is to read the one that it was given.
    environment = wanted.texts["env"].replace(f"/run/credentials/{document.unit}", words["{config_dir}"])
    with contextlib.ExitStack() as stack:

        def in_memory(text: str) -> str:
            return stack.enter_context(_in_memory(text))

        credentials = {name: str(release / name) for name in document.configs}
        environments = [in_memory(environment)]
        if document.reads_credentials:
            credentials.update({name: in_memory(value) for name, value in wanted.secrets.items()})
        elif wanted.secrets_text is not None:
            environments.append(in_memory(wanted.secrets_text))
        properties = [
            *_SANDBOX,
            *(f"LoadCredential={name}:{path}" for name, path in credentials.items()),
            *(f"EnvironmentFile={path}" for path in environments),
        ]
        done = systemd.run_apart(service, properties, command, _TIMEOUT + 30)
    if done.returncode == 0:
        return None
    said = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    text = (
        "\n".join(said[-12:]).replace(words["{config}"], document.config) or f"exit status {done.returncode}"
    )
    return mask.masked(
        f"the runtime refused the config:\n{text}", mask.secret_values({document.key: wanted.secrets})
    )
