# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that a service reads from files of its own: put there, brought back and removed with the release, and in none."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import drift, manifest, switch
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import current_release
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.files import sha256_file
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import RELOAD, RESTART
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State, load, save
from tests.unit.plugins.builders import KEY, TEXTS, compared, raw_manifest, released, wanted

KEY_PATH = "/etc/mosquitto/muster.key"
FIRST, SECOND = ("canary-key-one\nof two lines\n", "canary-key-two\nof two lines\n")


def with_key(text: str, number: int = 1, **changes: Any) -> Wanted:
    about = {
        "secret_files": {KEY_PATH: {"secret": "TLS_KEY", "mode": "0640"}},
        "secrets": {"TLS_KEY": {"from": "broker_tls", "name": "mosquitto"}},
        "reload": ["secrets", "TLS_KEY"],
        "version": str(number),
        **changes,
    }
    values = {"TLS_KEY": base64.b64encode(text.encode()).decode()}
    return Wanted(manifest.parse(raw_manifest(TEXTS, **about)), TEXTS, values)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def deploy(layout: Layout, item: Wanted) -> None:
    released(layout, item, item.secrets_text, current_release(layout, KEY))
    state = State()
    state.workloads[KEY] = {
        "release": item.manifest.release,
        "unit": item.manifest.unit,
        "secrets": state.digest(item.secrets_text),
    }
    save(layout, state)


def seen(layout: Layout, item: Wanted) -> tuple[str, list[str]]:
    found = compared(layout, item)
    return found.action, found.reasons


def test_it_is_where_the_service_reads_it_and_in_no_release(layout: Layout) -> None:
    deploy(layout, with_key(FIRST))
    path = layout.on_host(KEY_PATH)
    assert (path.read_text(), path.stat().st_mode & 0o777) == (FIRST, 0o640)
    assert seen(layout, with_key(FIRST)) == ("nothing", [])
    below = [one for one in layout.workload(KEY).rglob("*") if one.is_file()]
    assert below and not any(b"canary" in one.read_bytes() for one in below)


def test_another_key_is_a_reload_and_no_release(layout: Layout) -> None:
    deploy(layout, with_key(FIRST))
    assert seen(layout, with_key(SECOND)) == (RELOAD, ["secrets"])
    assert seen(layout, with_key(SECOND, reload=[]))[0] == RESTART


def test_one_that_somebody_changed_is_drift_and_put_right(layout: Layout) -> None:
    deploy(layout, with_key(FIRST))
    path = layout.on_host(KEY_PATH)
    for tamper in (lambda: path.write_text("by hand"), lambda: path.chmod(0o644), path.unlink):
        tamper()
        assert seen(layout, with_key(FIRST)) == (RELOAD, [f"drift: {KEY_PATH}"])
        (one,) = drift._secrets(layout, with_key(FIRST).manifest, load(layout))
        assert (one.what, one.path) == ("secrets", str(path))
        deploy(layout, with_key(FIRST))
        assert path.read_text() == FIRST


def test_what_a_reload_does_not_read_is_put_right_by_a_restart(layout: Layout) -> None:
    """Whoever changed it may have restarted the service since."""
    bridges = with_key(FIRST, reload=["secrets"])
    deploy(layout, bridges)
    layout.on_host(KEY_PATH).write_text("by hand")
    assert seen(layout, bridges) == (RESTART, [f"drift: {KEY_PATH}"])


def test_it_goes_with_the_release_that_had_it(layout: Layout) -> None:
    deploy(layout, with_key(FIRST))
    deploy(layout, wanted())
    assert not layout.on_host(KEY_PATH).exists()
    assert not layout.secrets_file(KEY).exists()


@pytest.mark.parametrize("to", [wanted(), with_key(SECOND), with_key(SECOND, 2)])
def test_going_back_brings_back_what_was_there(layout: Layout, to: Wanted) -> None:
    deploy(layout, with_key(FIRST))
    before = sha256_file(layout.secrets_file(KEY))
    stage_release(layout, to)
    swaps = switch.prepare(
        layout, KEY, to.manifest.release, with_key(FIRST).manifest.release, to.secrets_text
    )
    switch.switch(swaps)
    path = layout.on_host(KEY_PATH)
    assert not path.exists() or path.read_text() == SECOND
    assert switch.undo(swaps) == []
    assert (path.read_text(), sha256_file(layout.secrets_file(KEY))) == (FIRST, before)


def test_a_secret_that_is_missing_is_refused_before_anything_is_changed(layout: Layout) -> None:
    item = with_key(FIRST)
    with pytest.raises(EngineError, match="the secret TLS_KEY is not there"):
        released(layout, item, 'OTHER="x"\n')
    assert not layout.current(KEY).is_symlink()


def test_where_the_file_of_secrets_is_gone_that_is_what_is_told(layout: Layout) -> None:
    deploy(layout, with_key(FIRST))
    layout.secrets_file(KEY).unlink()
    assert seen(layout, with_key(FIRST)) == (RELOAD, ["drift: secrets"])
    (one,) = drift._secrets(layout, with_key(FIRST).manifest, load(layout))
    assert (one.path, one.detail) == (str(layout.secrets_file(KEY)), "TLS_KEY is missing")


def test_encrypted_secrets_cannot_be_put_in_the_clear() -> None:
    with pytest.raises(
        EngineError, match="manifest of writer: secret files need secrets_backend environment_file"
    ):
        with_key(FIRST, secrets_backend="credentials")


def test_a_service_that_is_taken_down_leaves_none(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "stop", lambda unit: None)
    deploy(layout, with_key(FIRST))
    switch.take_down(layout, KEY, with_key(FIRST).manifest)
    assert not layout.on_host(KEY_PATH).exists()
