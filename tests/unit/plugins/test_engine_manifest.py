# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest: equal id, equal bytes; and what was altered since is noticed."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.health_known import Known
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from tests.unit.plugins.builders import KEY, TEXTS, few, raw_manifest, wanted

DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64


def with_runtime(**artifacts: str) -> manifest.Manifest:
    return wanted(runtime={"name": "reference", "version": "1", "artifacts": artifacts}).manifest


FULL = raw_manifest(
    runtime={"name": "reference", "version": "1", "artifacts": {"x86_64": DIGEST}},
    check=["{program}", "config"],
    reload=["env"],
    hidden=["env"],
    requires={"/usr/sbin/x": "x"},
    mqtt={"url": "mqtt://b:1883", "status_topic": "/control/agents/w/status"},
)


def leaves(node: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict) and node:
        for name, below in node.items():
            yield from leaves(below, (*path, name))
    elif isinstance(node, list) and node:
        for index, below in enumerate(node):
            yield from leaves(below, (*path, index))
    else:
        yield path


def reversed_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: reversed_keys(node[name]) for name in reversed(node)}
    return [reversed_keys(item) for item in node] if isinstance(node, list) else node


# --- the id -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(leaves(FULL)), ids=lambda path: ".".join(map(str, path)))
def test_the_id_changes_with_anything_in_it(path: tuple[str | int, ...]) -> None:
    changed: Any = copy.deepcopy(FULL)
    node = changed
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = "something else"
    assert manifest.release_id(changed) != manifest.release_id(FULL)


@few
@given(st.sampled_from(sorted(TEXTS)), st.text(max_size=20))
def test_the_id_changes_with_every_byte_of_a_file(name: str, text: str) -> None:
    changed = manifest.release_id(raw_manifest({**TEXTS, name: text}))
    assert (changed == manifest.release_id(raw_manifest())) == (text == TEXTS[name])


def test_the_id_does_not_depend_on_the_order_of_keys() -> None:
    assert manifest.release_id(reversed_keys(FULL)) == manifest.release_id(FULL)


# --- the runtime for a machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("artifacts", "machine"),
    [
        ({"x86_64": DIGEST, "aarch64": OTHER_DIGEST}, "x86_64"),
        ({"aarch64": DIGEST, "x86_64": OTHER_DIGEST}, "aarch64"),
        ({"x86_64": DIGEST, "aarch64": OTHER_DIGEST}, "amd64"),
        ({"aarch64": DIGEST, "x86_64": OTHER_DIGEST}, "arm64"),
        ({"any": DIGEST}, "riscv64"),
        ({"any": OTHER_DIGEST, "x86_64": DIGEST}, "x86_64"),
        # Linux itself says x86_64 and aarch64; it is people who write Debian's words.
        ({"amd64": DIGEST}, "x86_64"),
        ({"arm64": DIGEST}, "aarch64"),
    ],
)
def test_a_machine_gets_its_own_artifact(artifacts: dict[str, str], machine: str) -> None:
    assert with_runtime(**artifacts).digest(machine) == DIGEST


def test_a_machine_without_an_artifact_is_told_which_there_are() -> None:
    with pytest.raises(EngineError, match="no artifact for riscv64; it has aarch64, x86_64"):
        with_runtime(x86_64=DIGEST, aarch64=DIGEST).digest("riscv64")


def test_an_artifact_without_a_digest_is_refused() -> None:
    with pytest.raises(EngineError):
        with_runtime(x86_64="latest").digest("x86_64")


def test_what_has_no_runtime_needs_no_artifact() -> None:
    assert wanted().manifest.digest("riscv64") is None


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["kind", "name", "base", "unit", "files", "install", "gate"])
def test_a_manifest_that_lacks_something_is_refused(lost: str) -> None:
    raw = raw_manifest()
    del raw[lost]
    with pytest.raises(EngineError, match=lost):
        manifest.parse(raw)


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": None}])
def test_another_format_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="this engine knows 1"):
        manifest.parse(raw_manifest(**changes))


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "manifest.json", "muster-unchecked"])
def test_a_file_may_not_leave_its_release(name: str) -> None:
    with pytest.raises(EngineError, match="no such file"):
        manifest.parse(raw_manifest({**TEXTS, name: "x"}))


def test_an_install_of_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineError, match="no such file"):
        manifest.parse(raw_manifest(install={"/etc/x": {"file": "absent", "mode": "0644"}}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=5,
)


@few
@given(st.sampled_from(sorted(FULL)), json_values)
def test_any_other_value_gives_a_manifest_or_a_refusal(name: str, value: object) -> None:
    with contextlib.suppress(EngineError):
        assert manifest.parse({**FULL, name: value}).key


# --- on disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def staged(tmp_path: Path) -> tuple[Layout, Path, str]:
    layout, item = Layout(tmp_path), wanted()
    stage_release(layout, item)
    release = item.manifest.release
    return layout, layout.release(KEY, release), release


def test_what_was_staged_is_read_back(staged: tuple[Layout, Path, str]) -> None:
    layout, directory, release = staged
    found = manifest.read(layout, KEY, release)
    assert found == wanted().manifest
    assert found.release == release
    assert manifest.altered(directory, found) == []


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_an_altered_or_missing_file_is_named(staged: tuple[Layout, Path, str], name: str) -> None:
    layout, directory, release = staged
    found = manifest.read(layout, KEY, release)
    (directory / name).write_text(TEXTS[name] + " ")
    assert manifest.altered(directory, found) == [name]
    (directory / name).unlink()
    assert manifest.altered(directory, found) == [name]


def test_a_missing_manifest_is_refused_by_its_name(staged: tuple[Layout, Path, str]) -> None:
    layout, directory, release = staged
    (directory / "manifest.json").unlink()
    with pytest.raises(EngineError, match=rf"{directory}/manifest\.json: missing"):
        manifest.read(layout, KEY, release)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _no_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_folder, "cannot be read"),
        (_no_folder, "cannot be read"),
        (lambda path: path.write_text("[" * 200_000), "not a manifest"),
        (lambda path: path.write_bytes(b"\xff"), "not a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused_by_its_name(
    staged: tuple[Layout, Path, str], spoil: Callable[[Path], None], words: str
) -> None:
    layout, directory, release = staged
    spoil(directory / "manifest.json")
    for read in (manifest.read, Known(layout).read):
        with pytest.raises(EngineError, match=rf"{directory}/manifest\.json: {words}"):
            read(layout, KEY, release)


def test_a_number_without_an_end_is_refused() -> None:
    raw = raw_manifest()
    raw["gate"]["port"] = float("inf")
    with pytest.raises(EngineError, match="OverflowError"):
        manifest.parse(raw)


def test_a_tampered_manifest_is_refused(staged: tuple[Layout, Path, str]) -> None:
    layout, directory, release = staged
    raw = json.loads((directory / "manifest.json").read_bytes())
    raw["gate"]["port"] = 22
    (directory / "manifest.json").write_bytes(manifest.canonical(raw))
    with pytest.raises(EngineError, match=f"its digest is not {release}"):
        manifest.read(layout, KEY, release)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"{}", b"[]", b"3", b'"text"', b"null"])
def test_garbage_in_place_of_a_manifest_is_refused(staged: tuple[Layout, Path, str], data: bytes) -> None:
    layout, directory, release = staged
    (directory / "manifest.json").write_bytes(data)
    with pytest.raises(EngineError):
        manifest.read(layout, KEY, release)
