# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What would change, and what people are shown of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import compare
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import Change, Runtimes
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import (
    CREDENTIALS,
    NOTHING,
    RECORD,
    RELOAD,
    RESTART,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State, save
from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import Unit
from tests.unit.plugins.builders import KEY, RUNNING, TEXTS, UNIT_PATH, compared, released, sha256, wanted

SECRETS = {"API_KEY": "canary-one", "MQTT_PASSWORD": "canary-two"}
PROGRAM = b"program"
RUNTIME = {"name": "reference", "version": "1", "artifacts": {"any": sha256(PROGRAM)}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def deploy(layout: Layout, item: Wanted) -> None:
    released(layout, item, item.secrets_text)
    state = State()
    state.workloads[KEY] = {
        "release": item.manifest.release,
        "unit": item.manifest.unit,
        "proven": [item.manifest.release],
        "secrets": state.digest(item.secrets_text),
    }
    save(layout, state)
    digest = item.manifest.digest("any")
    if digest:
        layout.runtime(digest).mkdir(parents=True, exist_ok=True)
        (layout.runtime(digest) / "program").write_bytes(PROGRAM)


def change(layout: Layout, item: Wanted, unit: Unit = RUNNING) -> Change:
    return compared(layout, item, unit)


def seen(layout: Layout, item: Wanted, unit: Unit = RUNNING) -> tuple[str, list[str]]:
    found = change(layout, item, unit)
    return found.action, found.reasons


# --- what there is to do ------------------------------------------------------------------------------------


def test_a_new_agent_is_started(layout: Layout) -> None:
    found = change(layout, wanted())
    assert (found.before, found.after) == (None, wanted().manifest.release)
    assert (found.action, found.reasons) == (RESTART, ["new"])


def test_what_is_as_wanted_needs_nothing(layout: Layout) -> None:
    item = wanted(secrets=SECRETS, runtime=RUNTIME)
    deploy(layout, item)
    assert seen(layout, item) == (NOTHING, [])


def test_an_agent_that_the_state_lost_is_recorded_again(layout: Layout) -> None:
    item = wanted()
    deploy(layout, item)
    layout.state.unlink()
    assert seen(layout, item) == (RECORD, ["not recorded"])


def test_the_version_that_is_replaced_is_told(layout: Layout) -> None:
    deploy(layout, wanted(version="1.2.0"))
    assert change(layout, wanted(version="2.0.0")).version_before == "1.2.0"
    assert change(layout, wanted(version="1.2.0")).version_before is None
    assert change(layout, wanted()).version_before == "1.2.0"


def test_a_lost_link_is_put_back_and_the_agent_is_not_new(layout: Layout) -> None:
    item = wanted()
    deploy(layout, item)
    layout.current(KEY).unlink()
    found = change(layout, item)
    assert (found.before, found.reasons) == (
        item.manifest.release,
        ["drift: the link to the current release"],
    )


def test_a_runtime_that_is_gone_is_noticed(layout: Layout) -> None:
    item = wanted(runtime=RUNTIME)
    deploy(layout, item)
    (layout.runtime(sha256(PROGRAM)) / "program").unlink()
    assert seen(layout, item) == (RESTART, ["drift: the runtime is gone"])


def test_a_new_key_of_the_broker_is_told_from_new_users(layout: Layout) -> None:
    deploy(layout, wanted(credentials="11111111"))
    assert CREDENTIALS in seen(layout, wanted(credentials="22222222"))[1]


@pytest.mark.parametrize(
    ("item", "reasons"),
    [
        (wanted({**TEXTS, "env": 'A="2"\n'}), ["env"]),
        (wanted({**TEXTS, "env": "", "unit": "[Service]\n"}), ["env", "unit"]),
        (wanted({**TEXTS, "more": ""}), ["more"]),
        (wanted({name: text for name, text in TEXTS.items() if name != "env"}), ["env"]),
        (wanted(runtime=RUNTIME), ["runtime"]),
        (wanted(secrets=SECRETS), ["secrets"]),
    ],
)
def test_a_difference_restarts_the_agent_and_is_named(
    layout: Layout, item: Wanted, reasons: list[str]
) -> None:
    deploy(layout, wanted())
    assert seen(layout, item) == (RESTART, reasons)


@pytest.mark.parametrize(
    ("texts", "changes", "expected"),
    [
        ({"acl": "2"}, {}, (RELOAD, ["acl"])),
        ({"acl": "2", "passwords": "2"}, {}, (RELOAD, ["acl", "passwords"])),
        ({"acl": "2", "unit": "2"}, {}, (RESTART, ["acl", "unit"])),
        ({"env": "2", "passwords": "2"}, {}, (RESTART, ["env", "passwords"])),
        ({"unit": "2"}, {}, (RESTART, ["unit"])),
        ({}, {"check": ["x"]}, (RECORD, ["manifest"])),
        ({"acl": "2"}, {"runtime": RUNTIME}, (RESTART, ["acl", "runtime"])),
    ],
)
def test_a_reload_is_enough_where_only_such_files_differ(
    layout: Layout, texts: dict[str, str], changes: dict[str, Any], expected: tuple[str, list[str]]
) -> None:
    first = {**TEXTS, "acl": "1", "passwords": "1"}
    deploy(layout, wanted(first, reload=["acl", "passwords"]))
    item = wanted({**first, **texts}, reload=["acl", "passwords"], **changes)
    found = change(layout, item)
    assert (found.action, found.reasons) == expected


def test_a_file_that_the_service_never_had_needs_a_restart(layout: Layout) -> None:
    deploy(layout, wanted(reload=["acl"]))
    assert seen(layout, wanted({**TEXTS, "acl": "1"}, reload=["acl"])) == (RESTART, ["acl"])


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (replace(RUNNING, active="inactive", sub="dead"), "not running"),
        (replace(RUNNING, active="failed"), "not running"),
        (replace(RUNNING, need_reload=True), "systemd has not read the unit"),
    ],
)
def test_a_unit_that_is_not_as_it_should_be_is_put_right(layout: Layout, unit: Unit, reason: str) -> None:
    deploy(layout, wanted())
    assert seen(layout, wanted(), unit) == (RESTART, [reason])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (replace(RUNNING, file_state="disabled"), (RECORD, ["drift: not enabled"])),
        (replace(RUNNING, file_state="masked-runtime"), (RESTART, ["drift: masked"])),
        (
            replace(RUNNING, load="masked", file_state="masked", active="inactive", need_reload=True),
            (RESTART, ["drift: masked", "not running"]),
        ),
    ],
)
def test_a_unit_that_somebody_disabled_or_masked_is_drift(
    layout: Layout, unit: Unit, expected: tuple[str, list[str]]
) -> None:
    deploy(layout, wanted())
    assert seen(layout, wanted(), unit) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"check": ["{program}", "config"]},
        {"hooks": {"pre_release": {"run": ["/bin/true"], "timeout": 5}}},
        {"requires": {"/bin/sh": "dash"}},
        {"gate": {**wanted().manifest.raw["gate"], "deadline": 77.0}},
    ],
)
def test_what_only_the_engine_reads_restarts_nothing(layout: Layout, changes: dict[str, Any]) -> None:
    deploy(layout, wanted())
    found = change(layout, wanted(**changes))
    assert (found.action, found.reasons) == (RECORD, ["manifest"])
    assert found.before != found.after


def test_another_place_or_other_permissions_of_a_file_need_a_restart(layout: Layout) -> None:
    deploy(layout, wanted())
    item = wanted(install={UNIT_PATH: {"file": "unit", "mode": "0600"}})
    assert seen(layout, item) == (RESTART, ["where files are installed"])


@pytest.mark.parametrize("text", ['{"note": "disk"}', "", "garbage"])
def test_what_is_held_is_left_alone_and_told(layout: Layout, text: str) -> None:
    deploy(layout, wanted())
    (layout.workload(KEY) / "hold.json").write_text(text)
    found = change(layout, wanted({**TEXTS, "env": ""}), replace(RUNNING, active="inactive"))
    assert found.action == NOTHING
    assert found.held is not None
    assert found.reasons == ["env", "not running"]


def test_what_was_mended_on_disk_is_restarted_until_it_was(layout: Layout) -> None:
    deploy(layout, wanted())
    compare.owed_file(layout, KEY).write_text("restart")
    assert seen(layout, wanted()) == (RESTART, ["mended, not restarted since"])
    compare.owed_file(layout, KEY).write_text("reload")
    assert seen(layout, wanted()) == (RELOAD, ["mended, not restarted since"])


@pytest.mark.parametrize("secrets", [{}, {**SECRETS, "API_KEY": "new"}, {"API_KEY": "canary-one"}])
def test_other_secrets_restart_the_agent_without_a_release(layout: Layout, secrets: dict[str, str]) -> None:
    deploy(layout, wanted(secrets=SECRETS))
    found = change(layout, wanted(secrets=secrets))
    assert (found.action, found.reasons) == (RESTART, ["secrets"])
    assert found.before == found.after


# --- drift: what somebody changed on the host ---------------------------------------------------------------


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def _link_to_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    path.rename(copy)
    path.symlink_to(copy)


@pytest.mark.parametrize("tamper", [_append, Path.unlink, _link_to_a_copy])
def test_a_unit_that_was_edited_is_put_right(layout: Layout, tamper: Callable[[Path], None]) -> None:
    deploy(layout, wanted())
    tamper(layout.on_host(UNIT_PATH))
    assert seen(layout, wanted()) == (RESTART, [f"drift: {UNIT_PATH}"])


def test_permissions_that_were_changed_are_put_right(layout: Layout) -> None:
    deploy(layout, wanted(secrets=SECRETS))
    layout.secrets_file(KEY).chmod(0o644)
    assert seen(layout, wanted(secrets=SECRETS)) == (RECORD, ["drift: permissions of the secrets"])
    layout.on_host(UNIT_PATH).chmod(0o666)
    assert f"drift: permissions of {UNIT_PATH}" in seen(layout, wanted(secrets=SECRETS))[1]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_file_of_the_release_that_was_edited_restarts_the_agent(layout: Layout, name: str) -> None:
    """It may have been restarted, by itself or by hand, and have read it."""
    deploy(layout, wanted())
    _append(layout.current(KEY) / name)
    assert seen(layout, wanted()) == (RESTART, [f"drift: {name} of the current release"])


@pytest.mark.parametrize("name", [*sorted(TEXTS), "manifest.json"])
def test_a_file_that_is_gone_is_put_back_beside_the_process(layout: Layout, name: str) -> None:
    deploy(layout, wanted())
    (layout.current(KEY) / name).unlink()
    assert seen(layout, wanted()) == (RECORD, [f"drift: {name} of the current release"])


def test_a_release_that_is_gone_is_put_back_beside_the_process(layout: Layout) -> None:
    deploy(layout, wanted())
    shutil.rmtree(layout.releases(KEY))
    action, reasons = seen(layout, wanted())
    assert action == RECORD
    assert set(reasons) >= {f"drift: {name} of the current release" for name in TEXTS}
    assert change(layout, wanted()).before == wanted().manifest.release


def test_a_link_that_leads_to_another_release_may_have_been_followed(layout: Layout) -> None:
    other = wanted({**TEXTS, "env": ""})
    stage_release(layout, other)
    deploy(layout, wanted())
    for target, action in ((f"releases/{other.manifest.release}", RESTART), ("releases/gone", RECORD)):
        layout.current(KEY).unlink()
        layout.current(KEY).symlink_to(target)
        found = change(layout, wanted())
        assert (found.before, found.action) == (wanted().manifest.release, action)
        assert found.drift == ["the link to the current release"]


def test_a_runtime_link_that_was_removed_or_redirected_is_put_right(layout: Layout) -> None:
    """Without it the next start fails, and the runtime is dropped as one that no release needs."""
    deploy(layout, wanted(runtime=RUNTIME))
    link = layout.current(KEY) / "runtime"
    link.unlink()
    assert seen(layout, wanted(runtime=RUNTIME)) == (RECORD, ["drift: runtime of the current release"])
    link.symlink_to("/nonexistent")
    assert seen(layout, wanted(runtime=RUNTIME)) == (RESTART, ["drift: runtime of the current release"])


def test_a_runtime_program_that_was_altered_is_noticed(layout: Layout) -> None:
    deploy(layout, wanted(runtime=RUNTIME))
    _append(layout.runtime(sha256(PROGRAM)) / "program")
    assert seen(layout, wanted(runtime=RUNTIME)) == (RESTART, ["drift: runtime program altered"])


def test_a_runtime_is_read_once_for_all_agents(layout: Layout) -> None:
    deploy(layout, wanted(runtime=RUNTIME))
    runtimes = Runtimes(layout)
    assert runtimes.fault(sha256(PROGRAM)) is None
    (layout.runtime(sha256(PROGRAM)) / "program").unlink()
    assert runtimes.fault(sha256(PROGRAM)) is None
    assert Runtimes(layout).fault(sha256(PROGRAM)) is not None


def test_drift_is_told_beside_a_new_release(layout: Layout) -> None:
    deploy(layout, wanted())
    _append(layout.on_host(UNIT_PATH))
    found = change(layout, wanted({**TEXTS, "env": 'A="2"\n'}))
    assert found.reasons == [f"drift: {UNIT_PATH}", "env"]
    assert found.drift == [UNIT_PATH]


@pytest.mark.parametrize(
    ("on_disk", "wanted_secrets", "reasons"),
    [
        ("edited", SECRETS, ["drift: secrets"]),
        (None, SECRETS, ["drift: secrets"]),
        ("edited", {"API_KEY": "canary-new"}, ["drift: secrets", "secrets"]),
        ('API_KEY="canary-new"\n', {"API_KEY": "canary-new"}, ["drift: secrets", "secrets"]),
    ],
)
def test_secrets_edited_by_hand_are_told_from_a_rotation(
    layout: Layout, on_disk: str | None, wanted_secrets: dict[str, str], reasons: list[str]
) -> None:
    deploy(layout, wanted(secrets=SECRETS))
    if on_disk is None:
        layout.secrets_file(KEY).unlink()
    else:
        layout.secrets_file(KEY).write_text(on_disk)
    assert seen(layout, wanted(secrets=wanted_secrets)) == (RESTART, reasons)


def test_a_damaged_current_release_is_replaced(layout: Layout) -> None:
    deploy(layout, wanted())
    (layout.current(KEY) / "manifest.json").write_text("{}")
    assert seen(layout, wanted(check=["x"])) == (RESTART, ["drift: the current release is damaged"])


def test_a_file_that_a_reload_brings_back_is_reloaded(layout: Layout) -> None:
    install = {"/etc/mosquitto/acl": {"file": "acl", "mode": "0640"}}
    item = wanted({"acl": "1"}, config=None, install=install, reload=["acl"])
    deploy(layout, item)
    layout.on_host("/etc/mosquitto/acl").write_text("edited")
    assert seen(layout, item) == (RELOAD, ["drift: /etc/mosquitto/acl"])


# --- what --diff shows --------------------------------------------------------------------------------------


def differences(layout: Layout, item: Wanted) -> dict[str, tuple[str, str]]:
    return {
        entry["after_header"]: (entry["before"], entry["after"])
        for entry in compare.differences(layout, change(layout, item), item)
    }


def test_a_first_release_is_shown_whole(layout: Layout) -> None:
    found = differences(layout, wanted(secrets=SECRETS))
    assert {header.partition(f"{KEY}/")[2]: after for header, (_, after) in found.items()} == {
        **TEXTS,
        "secrets": "API_KEY=(hidden)\nMQTT_PASSWORD=(hidden)\n",
    }
    assert {before for before, _ in found.values()} == {""}


def test_only_what_differs_is_shown(layout: Layout) -> None:
    deploy(layout, wanted(secrets=SECRETS))
    item = wanted({**TEXTS, "env": 'A="2"\n'}, secrets=SECRETS)
    assert differences(layout, item) == {f"{KEY}/env": ('A="1"\n', 'A="2"\n')}
    assert differences(layout, wanted(secrets=SECRETS)) == {}


def test_what_was_edited_on_disk_is_shown_as_it_is_there(layout: Layout) -> None:
    deploy(layout, wanted())
    layout.on_host(UNIT_PATH).write_text("[Unit]\n# by hand\n")
    (layout.current(KEY) / "env").write_text('A="by hand"\n')
    assert differences(layout, wanted()) == {
        UNIT_PATH: ("[Unit]\n# by hand\n", "[Unit]\n"),
        f"{KEY}/env": ('A="by hand"\n', 'A="1"\n'),
    }


def test_of_secrets_the_names_are_shown_and_which_changed(layout: Layout) -> None:
    deploy(layout, wanted(secrets={**SECRETS, "OLD": "canary-three"}))
    item = wanted(secrets={"API_KEY": "canary-four", "MQTT_PASSWORD": "canary-two", "NEW": "canary-five"})
    assert differences(layout, item) == {
        f"{KEY}/secrets": (
            "API_KEY=(hidden)\nMQTT_PASSWORD=(hidden)\nOLD=(hidden)\n",
            "API_KEY=(hidden, changed)\nMQTT_PASSWORD=(hidden)\nNEW=(hidden)\n",
        )
    }


def test_a_hidden_file_is_never_shown(layout: Layout) -> None:
    first = wanted({**TEXTS, "passwords": "canary-old"}, hidden=["passwords"])
    second = wanted({**TEXTS, "passwords": "canary-new"}, hidden=["passwords"])
    assert differences(layout, first)[f"{KEY}/passwords"] == ("", "(hidden, changed)\n")
    deploy(layout, first)
    assert differences(layout, first) == {}
    assert differences(layout, second) == {f"{KEY}/passwords": ("(hidden)\n", "(hidden, changed)\n")}
