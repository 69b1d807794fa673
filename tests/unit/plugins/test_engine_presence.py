# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One id never runs twice: the broker knows who is available, and forgets who is removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import presence
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Manifest
from ansible_collections.muster.agents.plugins.plugin_utils import mosquitto
from tests.unit.plugins.builders import wanted
from tests.unit.plugins.test_mosquitto import (
    AGENT,
    KEY,
    OBSERVER,
    RunningBroker,
    User,
    free_port,
    running_broker,
)

STATUS = f"/control/agents/{AGENT}/status"
PASSWORD = {"MQTT_PASSWORD": mosquitto.derive_password(KEY, AGENT)}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def document(port: int, **changes: Any) -> Manifest:
    about = {
        "url": f"mqtt://127.0.0.1:{port}",
        "status_topic": STATUS,
        "username": AGENT,
        "username_env": "MQTT_USERNAME",
        "password_env": "MQTT_PASSWORD",
        **changes,
    }
    return wanted(mqtt=about).manifest


def says(broker: RunningBroker, payload: bytes) -> None:
    observer = User(broker, OBSERVER)
    observer.publish(STATUS, payload, retain=True)
    observer.leave()


@pytest.mark.parametrize(
    ("payload", "stands_in_the_way"),
    [
        (json.dumps({"agent_id": AGENT, "status": "available"}).encode(), True),
        (b'{"agent_id":"x","status":"available"}', True),
        (json.dumps({"agent_id": AGENT, "status": "unavailable"}).encode(), False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_an_agent_that_is_available_elsewhere_must_not_start_here(
    broker: RunningBroker, payload: bytes, stands_in_the_way: bool
) -> None:
    says(broker, payload)
    reason = presence.twin(document(broker.port), PASSWORD)
    assert (reason is not None) == stands_in_the_way
    if reason:
        assert "writer-agent" in reason
        assert "fleet_assume_gone" in reason


def test_a_login_from_the_vault_is_used(broker: RunningBroker) -> None:
    says(broker, b'{"status": "available"}')
    login = {"MQTT_USERNAME": AGENT, **PASSWORD}
    assert presence.twin(document(broker.port, username=None), login) is not None


def test_a_broker_that_does_not_answer_or_refuses_says_nothing(broker: RunningBroker) -> None:
    says(broker, b'{"status": "available"}')
    assert presence.twin(document(free_port()), PASSWORD) is None
    assert presence.twin(document(broker.port), {"MQTT_PASSWORD": "wrong"}) is None


def test_what_has_no_broker_has_no_twin() -> None:
    assert presence.twin(wanted().manifest, {}) is None
    assert presence.clear(wanted().manifest, {}) == ""


def test_a_removed_agent_leaves_no_status(broker: RunningBroker) -> None:
    says(broker, b'{"status": "available"}')
    assert presence.clear(document(broker.port), PASSWORD) == ""
    assert presence.twin(document(broker.port), PASSWORD) is None


def test_a_status_that_could_not_be_cleared_is_a_warning_without_the_password(broker: RunningBroker) -> None:
    says(broker, b'{"status": "available"}')
    warning = presence.clear(document(broker.port), {"MQTT_PASSWORD": "canary-password"})
    assert warning.startswith("the retained status on the broker was not cleared: ")
    assert "canary" not in warning
    assert presence.twin(document(broker.port), PASSWORD) is not None
