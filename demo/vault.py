# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo's vault: an ansible-vault file like a real fleet's, made up at the first ``make demo``, never committed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

from dev.hosts import DEMO
from dev.shell import Failure, attempt, run

FILE = DEMO.inventory / "group_vars" / "all" / "vault.yml"


def ensure() -> str:
    """Make the vault hold what this demo needs now; return one line that says what was done.

    A provider's key that the caller's environment holds is taken over; the fleet's own key stays as it is.
    """
    present = read()
    wanted = contents(present, os.environ)
    if wanted == present:
        return "vault.yml unchanged"
    # JSON is YAML. The secrets go through a pipe: neither arguments nor a file in the clear ever hold them.
    run(
        ["ansible-vault", "encrypt", "--encrypt-vault-id", "demo", "--output", str(FILE), "-"],
        "ansible-vault encrypt",
        stdin=json.dumps(wanted, indent=2),
    )
    return "vault.yml written again" if present else "vault.yml made up and encrypted"


def contents(present: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The vault's variables, from those of the present one and the caller's environment."""
    kept = dict(present.get("agent_secrets") or {"SERPER_API_KEY": "demo-placeholder"})
    caller = {name: environ[name] for name in ("OPENAI_API_KEY", "SERPER_API_KEY") if environ.get(name)}
    return {
        "agent_secrets": {**kept, **caller},
        "fleet_credentials_key": present.get("fleet_credentials_key") or secrets.token_hex(32),
        "backup_passphrase": present.get("backup_passphrase") or secrets.token_urlsafe(32),
    }


def read() -> dict[str, Any]:
    """The vault's variables; empty where there is no vault yet, or its password is gone."""
    shown = attempt(["ansible-vault", "view", str(FILE)])
    return json.loads(shown.out) if shown.code == 0 else {}


def mqtt_password(user: str) -> str:
    """The broker's password of a client that ``mosquitto_clients`` names."""
    present = read()
    if not present:
        raise Failure("There is no demo on this machine yet: make demo")
    return derived_password(str(present["fleet_credentials_key"]), user)


def derived_password(key: str, user: str) -> str:
    """What role mosquitto derives for a user from ``fleet_credentials_key``: nobody has to write passwords down."""
    digest = hmac.new(key.encode(), b"mqtt:" + user.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")[:32]
