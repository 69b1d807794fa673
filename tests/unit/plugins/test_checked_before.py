# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was found to be good once is not looked at again, and everything else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils import checked_before
from tests.unit.plugins.ansible_project import HOSTS, VALIDATE, AnsibleProject, Done

VARIABLES = {
    "fleet": {"researcher": {}},
    "fleet_credentials_key": "0" * 64,
    "agent_secrets": {"OPENAI_API_KEY": "of-no-use", "SERPER_API_KEY": "of-no-use"},
}
SECRET = "sk-" + "proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "muster/checked"


class Look:
    """Counts how often somebody looked, and finds what it is told to."""

    def __init__(self, *found: str) -> None:
        self.found, self.times = found, 0

    def __call__(self) -> tuple[str, ...]:
        self.times += 1
        return self.found


def later() -> None:
    """As if another run began, which knows what the file says and no more."""
    checked_before._known.cache_clear()


def test_what_was_good_is_not_looked_at_again(cache: Path) -> None:
    look = Look()
    for _ in range(3):
        assert checked_before.findings("schema", {"a": 1}, look) == []
        later()
    assert look.times == 1
    assert cache.stat().st_mode & 0o777 == 0o600


def test_what_was_bad_is_looked_at_each_time(cache: Path) -> None:
    look = Look("a mistake")
    for _ in range(2):
        assert checked_before.findings("schema", {"a": 1}, look) == ["a mistake"]
        later()
    assert look.times == 2 and not cache.exists()


@pytest.mark.parametrize("subject", [{"a": 2}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, [{"a": 1}]])
def test_another_subject_is_looked_at(cache: Path, subject: object) -> None:
    checked_before.findings("schema", {"a": 1}, Look())
    look = Look("a mistake")
    assert checked_before.findings("schema", subject, look) == ["a mistake"]


def test_another_check_is_not_taken_for_this_one(cache: Path) -> None:
    checked_before.findings("schema", {"a": 1}, Look())
    assert checked_before.findings("secrets", {"a": 1}, Look("a secret")) == ["a secret"]


def test_other_code_or_another_schema_looks_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked_before.findings("schema", {"a": 1}, Look())
    monkeypatch.setattr(checked_before, "_checks", lambda: "another digest")
    assert checked_before.findings("schema", {"a": 1}, Look("a mistake")) == ["a mistake"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"half a lin", b"\n\n"])
def test_a_damaged_file_only_makes_it_look_again(cache: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    later()
    assert checked_before.findings("schema", 1, Look("a mistake")) == ["a mistake"]
    assert checked_before.findings("schema", 2, Look()) == []


def test_without_a_place_to_remember_it_looks_each_time(cache: Path) -> None:
    cache.parent.write_text("in the way")
    look = Look()
    for _ in range(2):
        assert checked_before.findings("schema", 1, look) == []
        later()
    assert look.times == 2


def test_the_file_does_not_grow_for_ever(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"0" * 63 + b"\n" + b"1" * (4 << 20))
    later()
    checked_before.findings("schema", 1, Look())
    assert cache.stat().st_size == 65


def test_a_secret_is_found_each_time_and_no_text_is_kept(cache: Path) -> None:
    for _ in range(2):
        (found,) = checked_before.secrets({"api_key": SECRET})
        assert found.path == ("api_key",)
        later()
    assert checked_before.secrets({"api_key_env": "OPENAI_API_KEY"}) == []
    assert SECRET not in cache.read_text() and "OPENAI" not in cache.read_text()


def test_a_fleet_that_was_good_needs_no_schema_checker_and_a_later_mistake_is_told(tmp_path: Path) -> None:
    project = AnsibleProject(tmp_path)
    broken = {"PYTHONPATH": str(tmp_path / "broken")}
    project.write(
        {
            "hosts.yml": HOSTS,
            "group_vars/all.yml": json.dumps(VARIABLES),
            "broken/jsonschema.py": "raise RuntimeError('it was loaded')\n",
        }
    )
    project.with_agents("researcher")
    config = tmp_path / "agents/researcher.toml"

    def validate(**environment: str) -> Done:
        return project.run("ansible-playbook", VALIDATE, "-i", "hosts.yml", **environment)

    assert "it was loaded" in validate(**broken).text
    assert validate().status == 0
    assert validate(**broken).status == 0
    config.write_text(config.read_text().replace("temperature = ", "temperature = 3"))
    assert "it was loaded" in validate(**broken).text
    done = validate()
    assert done.status == 2 and "MA204" in done.text
