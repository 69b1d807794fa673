# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets encrypted at rest: by the real systemd-creds, with a key of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import (
    compare,
    drift,
    loader,
    release,
    releases,
    rotation,
    secret_files,
    switch,
    systemd,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import parse
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Request, Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load, save
from tests.unit.plugins.builders import KEY, TEXTS, raw_manifest, small_disk
from tests.unit.plugins.small_host import NAMED, Host, host
from tests.unit.plugins.test_engine_rotation import asked

__all__ = ["host"]
ODD = "canary \"double\" 'single' back\\slash $HOME `id` %n # grüße 日本 end\\"
BOTH = {**NAMED, "ODD": {"from": "secret", "name": "ODD"}}
VALUES = {"API_KEY": "canary-of-today", "ODD": ODD}


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("systemd-creds") is None:
        pytest.skip("systemd-creds is not installed here")
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(tmp_path / "key of this host"))


def sealed(number: int = 1, values: dict[str, str] = VALUES, **changes: object) -> Wanted:
    """A release of the agent `writer` whose secrets are encrypted."""
    about = {"secrets": BOTH, "secrets_backend": "credentials", "version": f"1.{number}", **changes}
    return Wanted(parse(raw_manifest(TEXTS, **about)), TEXTS, values)


def started(layout: Layout, item: Wanted, before: str | None = None) -> list[switch.Swap]:
    """Switch to a staged release and record it, as a transaction that went well does."""
    document = item.manifest
    swaps = switch.prepare(layout, KEY, document.release, before, item.secrets_text)
    switch.switch(swaps)
    state = load(layout)
    state.workloads[KEY] = {
        "release": document.release,
        "proven": [document.release],
        "unit": document.unit,
        "base": "writer",
        "agent_id": "writer-agent",
        **secret_files.record(layout, state, document, item.secrets_text),
    }
    save(layout, state)
    return swaps


@pytest.fixture
def layout(host: Host) -> Layout:
    """A host on which the first release runs with encrypted secrets."""
    host.stage(sealed())
    switch.forget(started(host.layout, sealed()))
    return host.layout


def on_disk(layout: Layout) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in layout.secrets.rglob("*") if path.is_file()}


def reasons(layout: Layout, item: Wanted) -> list[str]:
    (change,) = compare.compare(layout, {KEY: item})
    return change.reasons


def test_no_value_is_on_the_disk_and_each_can_be_read(layout: Layout) -> None:
    assert sorted(os.listdir(layout.credentials(KEY))) == ["API_KEY.cred", "ODD.cred"]
    assert os.listdir(layout.secrets) == ["writer.creds"]
    modes = {path.stat().st_mode & 0o777 for path in layout.credentials(KEY).iterdir()}
    assert (modes, layout.credentials(KEY).stat().st_mode & 0o777) == ({0o600}, 0o700)
    everything = b"".join(path.read_bytes() for path in layout.root.rglob("*") if path.is_file())
    assert b"canary" not in everything
    assert secret_files.read(layout, KEY) == VALUES
    assert "canary-of-today" in secret_files.hide(layout, KEY)


def test_what_runs_with_these_values_is_as_planned(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """And to know that, nothing is decrypted and no further program is run."""
    monkeypatch.setattr(systemd, "run", lambda *words, **more: pytest.fail(f"ran {words}"))
    assert reasons(layout, sealed()) == []
    assert reasons(layout, sealed(values={**VALUES, "API_KEY": "canary-other"})) == ["secrets"]


def test_a_file_that_was_changed_removed_or_swapped_by_hand_is_drift(layout: Layout) -> None:
    folder, before = layout.credentials(KEY), on_disk(layout)
    for spoil, word in (
        (lambda: (folder / "ODD.cred").write_bytes(b"by hand"), "altered"),
        ((folder / "ODD.cred").unlink, "ODD is missing"),
        (lambda: shutil.copy(folder / "API_KEY.cred", folder / "ODD.cred"), "altered"),
        (lambda: shutil.copy(folder / "API_KEY.cred", folder / "MORE.cred"), "MORE was added"),
        (lambda: layout.secrets_file(KEY).write_text('API_KEY="canary"\n'), "altered"),
    ):
        spoil()
        assert reasons(layout, sealed()) == ["drift: secrets"]
        (one,) = drift._secrets(layout, sealed().manifest, load(layout))
        assert (one.what, one.path, one.detail.split(";")[0]) == ("secrets", str(folder), word)
        for path in layout.secrets.rglob("*"):
            if path.is_file():
                path.unlink()
        for name, data in before.items():
            Path(name).write_bytes(data)
            Path(name).chmod(0o600)
    assert reasons(layout, sealed()) == []


def test_a_value_that_stays_keeps_its_file(layout: Layout) -> None:
    before = on_disk(layout)
    swaps = switch.prepare(
        layout, KEY, sealed().manifest.release, None, sealed(values={**VALUES, "ODD": "new"}).secrets_text
    )
    assert [swap.path.name for swap in swaps] == ["ODD.cred"]
    switch.switch(swaps)
    assert secret_files.read(layout, KEY) == {**VALUES, "ODD": "new"}
    assert secret_files.read_before(layout, KEY) == VALUES
    assert switch.undo(swaps) == []
    assert on_disk(layout) == before


@pytest.mark.parametrize("there", ["environment_file", "credentials"])
def test_the_backend_changes_with_a_release_and_back(layout: Layout, host: Host, there: str) -> None:
    first, second = sealed(), sealed(2, secrets_backend="environment_file")
    host.stage(second)
    if there == "environment_file":
        first, second = second, first
    switch.forget(started(layout, first))
    before = on_disk(layout)
    swaps = started(layout, second, first.manifest.release)
    assert secret_files.read(layout, KEY) == secret_files.read_before(layout, KEY) == VALUES
    switch.undo(swaps)
    assert on_disk(layout) == before
    swaps = started(layout, second, first.manifest.release)
    switch.forget(swaps)
    ending = {"environment_file": "env", "credentials": "cred"}[second.manifest.secrets_backend]
    assert {name.rsplit(".", 1)[-1] for name in on_disk(layout)} == {ending}
    assert reasons(layout, second) == []


def test_a_full_disk_refuses_before_and_stops_no_switch(host: Host, tmp_path: Path) -> None:
    with small_disk(tmp_path / "etc", "size=256k"):
        host.stage(sealed())
        swaps = switch.prepare(host.layout, KEY, sealed().manifest.release, None, sealed().secrets_text)
        with (tmp_path / "etc/fill").open("wb") as stream, pytest.raises(OSError, match="No space"):
            stream.write(b"#" * (1 << 20))
            stream.flush()
        switch.switch(swaps)
        switch.forget(swaps)
        assert secret_files.read(host.layout, KEY) == VALUES
        with pytest.raises(
            EngineError, match="cannot be prepared: No space left on device; nothing was changed"
        ):
            switch.prepare(
                host.layout,
                KEY,
                sealed().manifest.release,
                None,
                sealed(values={**VALUES, "ODD": "x" * 9000}).secrets_text,
            )
        assert secret_files.read(host.layout, KEY) == VALUES


def test_with_its_state_lost_the_values_themselves_are_compared(layout: Layout) -> None:
    layout.state.unlink()
    assert "secrets" not in reasons(layout, sealed())
    assert "secrets" in reasons(layout, sealed(values={**VALUES, "ODD": "other"}))


def test_a_systemd_that_cannot_decrypt_is_refused_by_name(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "require", lambda: 247)
    request = Request(**{**vars(asked({}, check_mode=True)), "wanted": {KEY: sealed()}, "rotate": ()})
    refused = release.stage(host.layout, request)["refused"]
    assert (
        "secrets_backend: credentials needs systemd 250 or newer, and this host has 247" in refused["writer"]
    )
    plain = sealed(secrets_backend="environment_file")
    assert release.stage(host.layout, replace(request, wanted={KEY: plain}))["refused"] == {}


def test_without_the_program_it_is_refused_in_a_sentence(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.stage(sealed())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match="systemd-creds is not installed; nothing was changed"):
        switch.prepare(host.layout, KEY, sealed().manifest.release, None, sealed().secrets_text)


def test_a_rotation_gives_the_new_value_and_leaves_no_old_file(layout: Layout) -> None:
    item = rotation.completed(layout, asked({"API_KEY": "canary-of-tomorrow"})).wanted[KEY]
    assert item.secrets == {"API_KEY": "canary-of-tomorrow", "ODD": ODD}
    assert item.manifest.release == releases.current(layout, load(layout), KEY)
    folder = layout.credentials(KEY)
    left = [folder / "API_KEY.cred~", folder / ".API_KEY.cred.swp", folder.with_name("writer.creds.old")]
    for path in left:
        path.write_text("old")
    rotation.sweep(layout, [KEY])
    assert [path.name for path in left if path.exists()] == []
    assert reasons(layout, sealed()) == []


def test_a_manifest_with_an_unknown_backend_is_refused() -> None:
    with pytest.raises(EngineError, match="manifest of writer: no secrets_backend 'tpm'"):
        parse(raw_manifest(secrets_backend="tpm"))


# --- the loader ----------------------------------------------------------------------------------------------


def load_and_print(folder: Path, *names: str) -> subprocess.CompletedProcess[bytes]:
    script = folder / "with-secrets"
    script.write_text(loader.TEXT)
    script.chmod(0o755)
    command = [str(script), *names, "--", "/usr/bin/env", "-0"]
    given = {"CREDENTIALS_DIRECTORY": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=given, capture_output=True, check=False, timeout=10)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1).filter(str.isprintable))
def test_any_value_reaches_the_program_byte_for_byte(tmp_path: Path, value: str) -> None:
    for name, text in (("API_KEY", value), ("ODD", ODD), ("LINES", "two\nlines\n\n")):
        (tmp_path / name).write_text(text)
    done = load_and_print(tmp_path, "API_KEY", "ODD", "LINES")
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert (found["API_KEY"], found["ODD"], found["LINES"]) == (value, ODD, "two\nlines\n\n")
    assert {"value", "file"} & set(found) == set()


def test_a_credential_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = load_and_print(tmp_path, "API_KEY")
    assert (done.returncode, done.stderr) == (78, b"with-secrets: the unit loads no credential API_KEY\n")


def test_without_its_end_mark_it_does_not_run_on(tmp_path: Path) -> None:
    (tmp_path / "API_KEY").write_text("canary")
    script = tmp_path / "with-secrets"
    script.write_text(loader.TEXT)
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", str(script), "API_KEY"], env=given, capture_output=True, check=False, timeout=10
    )
    assert done.returncode != 0
    assert b"-- is missing" in done.stderr
