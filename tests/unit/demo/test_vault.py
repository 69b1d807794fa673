# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo's vault and its password."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from demo import vault
from dev import ROOT


def test_a_new_vault_has_all_that_the_demo_needs() -> None:
    made = vault.contents({}, {})
    assert set(made["agent_secrets"]) == {"SERPER_API_KEY"}
    assert len(bytes.fromhex(made["fleet_credentials_key"])) == 32
    assert len(made["backup_passphrase"]) >= 32
    assert vault.contents({}, {})["fleet_credentials_key"] != made["fleet_credentials_key"]


def test_the_callers_key_is_taken_over_and_the_fleets_stays() -> None:
    present = vault.contents({}, {})
    with_key = vault.contents(present, {"OPENAI_API_KEY": "sk-callers"})
    assert with_key["agent_secrets"]["OPENAI_API_KEY"] == "sk-callers"
    assert with_key["fleet_credentials_key"] == present["fleet_credentials_key"]


def test_nothing_new_is_no_change() -> None:
    present = vault.contents({}, {"OPENAI_API_KEY": "sk-callers"})
    assert vault.contents(present, {}) == present
    assert vault.contents(present, {"OPENAI_API_KEY": ""}) == present


def test_each_user_has_a_password_of_their_own() -> None:
    one, other = (vault.derived_password("key", user) for user in ("one", "other"))
    assert len(one) == len(other) == 32
    assert one != other


def test_the_vaults_password_is_made_once_and_kept_private(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    script = shutil.copy(ROOT / "demo" / "vault-password", tmp_path / "demo")
    said = {subprocess.check_output([sys.executable, script], text=True) for _ in range(2)}
    assert len(said) == 1
    assert len(said.pop().strip()) >= 32
    assert (tmp_path / ".demo" / "vault-password").stat().st_mode & 0o777 == 0o600
