# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names become paths and units: what is unsafe is refused before it becomes one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout, workload_key
from tests.unit.plugins.builders import few

UNSAFE = [
    "",
    ".",
    "..",
    ".hidden",
    "-x",
    "_x",
    "a/b",
    "../x",
    "/etc",
    "a\0",
    "a%i",
    "a@b",
    "a b",
    "a\n",
    "é",
    "a" * 65,
]
LAYOUT = Layout(Path("/root-of-test"))


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(EngineError):
        workload_key("agent", name)
    with pytest.raises(EngineError):
        LAYOUT.workload(f"agents/{name}")


@pytest.mark.parametrize("key", ["writer", "agent/writer", "other/writer", "/writer", "agents", "agents/"])
def test_an_unknown_kind_is_refused(key: str) -> None:
    with pytest.raises(EngineError):
        LAYOUT.workload(key)


@few
@given(st.text(max_size=80))
def test_a_name_that_is_taken_stays_below_its_directory(name: str) -> None:
    try:
        path = LAYOUT.workload(workload_key("agent", name))
    except EngineError:
        return
    assert path.parent == LAYOUT.lib / "agents"
    assert path.resolve() == path


@pytest.mark.parametrize("name", ["w", "writer-2", "team.research_er", "0", "A" * 64])
def test_a_safe_name_has_its_places(name: str) -> None:
    key = workload_key("agent", name)
    assert LAYOUT.current(key) == Path(f"/root-of-test/var/lib/muster/agents/{name}/current")
    assert LAYOUT.secrets_file(key) == Path(f"/root-of-test/etc/muster/secrets/{name}.env")


@pytest.mark.parametrize("release", ["", "..", "0" * 15, "0" * 17, "g" * 16, "A" * 16, "0" * 16 + "\n"])
def test_what_is_no_release_id_is_refused(release: str) -> None:
    with pytest.raises(EngineError, match="release id"):
        LAYOUT.release("agents/writer", release)


@pytest.mark.parametrize("digest", ["", "..", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(EngineError, match="SHA-256"):
        LAYOUT.runtime(digest)


@pytest.mark.parametrize("path", ["", "etc/passwd", "/etc/../root/x", "/..", "../etc"])
def test_a_path_out_of_the_root_is_refused(path: str) -> None:
    with pytest.raises(EngineError, match="absolute path"):
        LAYOUT.on_host(path)


def test_data_is_where_systemd_puts_it() -> None:
    found = {str(path) for path in LAYOUT.data_directories("agent-writer-2.service")}
    assert found == {
        f"/root-of-test/var/{base}/{below}agent-writer-2"
        for base in ("lib", "cache", "log")
        for below in ("", "private/")
    }
