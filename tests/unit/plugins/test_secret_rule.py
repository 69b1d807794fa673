# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which values a secret may have, and from where Ansible may take them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.host_call import Secrets
from ansible_collections.muster.agents.plugins.plugin_utils.secret_rule import LONGEST, complaint
from tests.unit.plugins.builders import few

ODD = "\"double\" 'single' back\\slash $HOME ${PATH} %n %% # no }; ;&|<>`id`~!*?[]^=+,-_.:@/ grüße 日本 👩🏽 end\\"


@few
@given(st.text(min_size=1).filter(str.isprintable).filter(str.strip))
def test_one_line_that_can_be_seen_is_taken(value: str) -> None:
    assert complaint("KEY", value) == ""


@pytest.mark.parametrize("value", [ODD, " leading and trailing ", 12345, 1.5, "x" * (LONGEST - 5)])
def test_numbers_spaces_and_odd_characters_are_taken(value: object) -> None:
    assert complaint("KEY", value) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        (None, "not nothing"),
        (True, "quote it"),
        (["canary"], "not a structure"),
        ({"canary": 1}, "not a structure"),
        (b"canary", "not bytes"),
        ("canary\n", "holds a line break"),
        ("canary\r\ncanary", "holds a line break"),
        ("canary\u2028canary", "holds a line break"),
        ("canary\tcanary", "holds U+0009"),
        ("\ufeffcanary", "holds U+FEFF"),
        ("canary\u200b", "holds U+200B"),
        ("canary\xa0canary", "holds U+00A0"),
        ("canary\0", "holds U+0000"),
        ("canary\udc80", "holds U+DC80"),
        ("canary" * LONGEST, "longer than Linux passes"),
    ],
)
def test_the_others_are_refused_without_being_repeated(value: object, words: str) -> None:
    told = complaint("KEY", value)
    assert words in told
    assert "canary" not in told


# --- as an inventory writes them ------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def lookups() -> None:
    init_plugin_loader()


def value_of(written: Any, folder: Path | None = None, **more: Any) -> str:
    """What an agent gets for `agent_secrets: {KEY: written}`, by Ansible's own templating."""
    text = trust_as_template(written) if isinstance(written, str) else written
    variables = {"agent_secrets": {"KEY": text}, **more}
    loader = DataLoader()
    loader.set_basedir(str(folder or "."))
    action = cast(ActionBase, SimpleNamespace(_templar=Templar(loader=loader, variables=variables)))
    return Secrets(action, variables).of({"KEY": {"from": "secret", "name": "KEY"}})["KEY"]


def refusal(written: Any, **more: Any) -> str:
    with pytest.raises(AnsibleActionFail) as caught:
        value_of(written, **more)
    return str(caught.value)


@pytest.mark.parametrize("value", [ODD, "{{ not.a.template }} {% nor this %}"])
def test_a_lookup_of_the_environment_gives_the_value_as_it_is(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", value)
    assert value_of("{{ lookup('ansible.builtin.env', 'CANARY_KEY') }}") == value


def test_a_lookup_of_a_file_gives_the_value_without_the_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{{{{ {ODD}\n")
    assert value_of(f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/key') }}}}") == f"{{{{ {ODD}"


def test_what_a_lookup_gives_is_held_to_the_same_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CANARY_KEY", raising=False)
    told = refusal("{{ lookup('ansible.builtin.env', 'CANARY_KEY') }}")
    assert "agent_secrets.KEY is empty; a lookup of an environment variable that is not set" in told
    (tmp_path / "pem").write_text("canary\ncanary\n")
    told = refusal(f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/pem') }}}}")
    assert "agent_secrets.KEY holds a line break" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "written", ["{{ canary", "{{ lookup('ansible.builtin.file', '/nonexistent/canary') }}", "{% canary %}"]
)
def test_what_cannot_be_read_is_named_and_not_shown(written: str) -> None:
    told = refusal(written)
    assert "agent_secrets.KEY cannot be read: a lookup of its own failed; or it holds `{{`" in told
    assert "!unsafe" in told
    assert "canary" not in told
