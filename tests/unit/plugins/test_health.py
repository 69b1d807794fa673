# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How agents are looked after, as it stands in the inventory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.health import Health, Restarts
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Notify
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import read_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.health import read_health, read_notify


def test_what_is_left_out_is_the_default_and_an_agent_s_own_goes_before_the_fleet_s() -> None:
    problems: list[Diagnostic] = []
    default = read_health({"readiness": {"period": 15}, "restart": {"most": 2}}, "fleet_health", problems)
    assert default.readiness == replace(Health().readiness, period=15.0)
    assert default.restart == Restarts(wait=60.0, most=2)
    fleet = read_fleet({"a": {}, "b": {"health": {"restart": {"wait": 5}}}}, problems, health=default)
    assert fleet["a"].health is None
    assert fleet["b"].health == replace(default, restart=Restarts(wait=5.0, most=2))
    assert read_health(None, "fleet_health", problems) == Health()
    assert problems == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            [],
            "fleet_health: error MA403: must be a mapping such as {readiness: {period: 10}, restart: {most: 4}}",
        ),
        (
            {"readyness": {}},
            "fleet_health.readyness: error MA402: unknown; known are liveness, readiness, broker, restart (did you mean "
            "readiness?)",
        ),
        (
            {"liveness": 30},
            "fleet_health.liveness: error MA403: must be a mapping such as {delay: 30, period: 10, timeout: 5, threshold: 3}",
        ),
        (
            {"broker": {"delay": 1}},
            "fleet_health.broker.delay: error MA402: unknown; known are period, timeout",
        ),
        (
            {"liveness": {"period": 0}},
            "fleet_health.liveness.period: error MA403: must be a number of seconds from 1 to 3600",
        ),
        (
            {"liveness": {"period": "5s"}},
            "fleet_health.liveness.period: error MA403: must be a number of seconds",
        ),
        (
            {"readiness": {"threshold": 1.5}},
            "fleet_health.readiness.threshold: error MA403: must be a whole number from 1 to 100",
        ),
        (
            {"restart": {"most": True}},
            "fleet_health.restart.most: error MA403: must be a whole number from 0 to 60",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(raw: object, said: str) -> None:
    problems: list[Diagnostic] = []
    assert read_health(raw, "fleet_health", problems) == Health()
    assert str(problems[0]).startswith(said)


def test_a_notification_is_a_command_with_a_user_and_a_time() -> None:
    problems: list[Diagnostic] = []
    assert read_notify({"run": ["tell", 5]}, "fleet_notify", problems) == Notify(
        ("tell", "5"), 30.0, "nobody"
    )
    assert read_notify(None, "fleet_notify", problems) is None
    assert problems == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("tell", "fleet_notify: error MA403: must be a mapping such as {run: [/usr/local/bin/tell]"),
        ({}, "fleet_notify.run: error MA403: must be a list of words such as"),
        ({"run": "tell me"}, "fleet_notify.run: error MA403: must be a list of words such as"),
        (
            {"run": ["tell"], "timeout": 0},
            "fleet_notify.timeout: error MA403: must be a number of seconds from 1 to 300",
        ),
        ({"run": ["tell"], "user": 0}, "fleet_notify.user: error MA403: must be the name of a user"),
        (
            {"run": ["tell"], "usr": "me"},
            "fleet_notify.usr: error MA402: unknown; known are run, timeout, user (did you mean user?)",
        ),
    ],
)
def test_a_mistake_in_a_notification_is_told(raw: object, said: str) -> None:
    problems: list[Diagnostic] = []
    assert read_notify(raw, "fleet_notify", problems) is None
    assert str(problems[0]).startswith(said)
