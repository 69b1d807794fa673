# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start, faults and stop, as the broker, systemd and the person who reads the log see them."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.reference_agent.conftest import OPENAI, StartAgent
from tests.integration.reference_agent.world import Broker, Client, HttpApi, free_port, task, until

DYNAMIC_SECURITY = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)
CREDENTIALS = 'username_env = "MQTT_USERNAME"\npassword_env = "MQTT_PASSWORD"'


def test_hears_again_after_a_broker_restart(agent: StartAgent, broker: Broker, client: Client) -> None:
    process = agent().start().ready()
    broker.stop()
    until(lambda: process.get("/ready")[0] == 503, "/ready telling the truth")
    status, body = process.get("/health")
    assert status == 503
    assert json.loads(body)["checks"]["mqtt"]["status"] == "unhealthy"
    assert "agent_mqtt_connected 0.0" in process.get("/metrics")[1]
    broker.start()
    process.ready()
    client.answer(client.send("alpha", task("alpha")))


def test_hears_again_when_the_broker_forgot_the_session(
    agent: StartAgent, broker: Broker, tmp_path: Path
) -> None:
    process = agent().start().ready()
    broker.stop()
    (tmp_path / "mosquitto.db").unlink()
    until(lambda: process.get("/ready")[0] == 503, "the loss being noticed")
    broker.start()
    process.ready()
    client = Client(broker)
    client.answer(client.send("alpha", task("alpha")))
    assert client.states("alpha") == ["available"]
    client.close()


def test_last_will_after_a_kill(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    process.kill()
    until(lambda: client.states("alpha") == ["available", "unavailable"], "the last will")


def test_clean_stop_says_unavailable_and_keeps_the_queue(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    assert process.stop() == 0
    until(lambda: client.states("alpha") == ["available", "unavailable"], "the goodbye")
    waiting = [client.send("alpha", task("alpha")) for _ in range(30)]
    process.start()
    for task_id in waiting:
        client.answer(task_id)


def test_waiting_tasks_follow_each_other_at_once(agent: StartAgent, client: Client) -> None:
    process = agent().start().ready()
    process.stop()
    waiting = [client.send("alpha", task("alpha")) for _ in range(60)]
    process.start()
    client.answer(waiting[-1])
    started = [datetime.fromisoformat(line["timestamp"]) for line in process.events("task_started")]
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(started)]
    assert statistics.median(pauses) < 0.03


def test_task_in_hand_is_finished_within_the_grace(agent: StartAgent, client: Client, api: HttpApi) -> None:
    def slow(_: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.5)
        return 200, {"choices": [{"message": {"content": "done"}}]}

    api.routes["POST /v1/chat/completions"] = slow
    process = agent(llm=OPENAI).start().ready()
    task_id = client.send("alpha", task("alpha"))
    until(lambda: api.called("POST /v1/chat/completions"), "the model being asked")
    assert process.stop() == 0
    assert client.answer(task_id)[1]["response"] == "done"


def test_task_in_hand_is_handed_back_and_answered_once(
    agent: StartAgent, client: Client, api: HttpApi
) -> None:
    answer = api.routes["POST /v1/chat/completions"]

    def hang(_: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(5)
        return 200, {"choices": [{"message": {"content": "too late"}}]}

    api.routes["POST /v1/chat/completions"] = hang
    process = agent(llm=OPENAI, SHUTDOWN_GRACE_SECS="0.2").start().ready()
    task_id = client.send("alpha", task("alpha"))
    until(lambda: api.called("POST /v1/chat/completions"), "the model being asked")
    stopped = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - stopped < 3
    assert process.events("task_handed_back")
    assert client.answers(task_id) == []
    api.routes["POST /v1/chat/completions"] = answer
    process.start().ready()
    assert client.answer(task_id)[1]["response"] == "done"
    client.answer(client.send("alpha", task("alpha")))
    assert len(client.answers(task_id)) == 1


def slow(_: dict[str, Any]) -> tuple[int, Any]:
    """A model that takes its time."""
    time.sleep(1.0)
    return 200, {"choices": [{"message": {"content": "done"}}]}


def test_task_survives_losing_the_broker_while_in_hand(
    agent: StartAgent, broker: Broker, client: Client, api: HttpApi
) -> None:
    api.routes["POST /v1/chat/completions"] = slow
    process = agent(llm=OPENAI).start().ready()
    task_id = client.send("alpha", task("alpha"))
    until(lambda: api.called("POST /v1/chat/completions"), "the model being asked")
    broker.stop()
    broker.start()
    process.ready()
    late = client.send("alpha", task("alpha"))
    client.answer(late)
    assert len(client.answers(task_id)) == 1
    assert len(api.called("POST /v1/chat/completions")) == 2


def test_tasks_that_a_killed_broker_forgot_are_done(
    agent: StartAgent, broker: Broker, client: Client, api: HttpApi
) -> None:
    """It has the session as it was when it last saved, without the tasks that it has sent since."""

    api.routes["POST /v1/chat/completions"] = slow
    process = agent(llm=OPENAI).start().ready()
    broker.stop()  # and so saves
    broker.start()
    process.ready()
    sent = [client.send("alpha", task("alpha")) for _ in range(4)]
    until(lambda: len(process.events("task_started")) == 1, "the first task")
    broker.kill()
    broker.start()
    for task_id in sent:
        assert client.answer(task_id)[1]["response"] == "done"
    assert [len(client.answers(task_id)) for task_id in sent] == [1, 1, 1, 1]


def test_unknown_model_ends_the_start(agent: StartAgent, client: Client, api: HttpApi) -> None:
    del api.routes["GET /v1/models/test-model"]
    api.routes["GET /v1/models"] = lambda _: (200, {"data": [{"id": "another"}]})
    process = agent(llm=OPENAI).start()
    assert process.wait() == 1
    assert process.events("start_failed")[0]["reason"] == (
        "model check failed: openai does not know the model test-model"
    )
    assert "available" not in client.states("alpha")


def test_refused_key_ends_the_start(agent: StartAgent, api: HttpApi) -> None:
    api.routes["GET /v1/models/test-model"] = lambda _: (
        401,
        {"error": {"message": "openai-canary-4711 is wrong"}},
    )
    process = agent(llm=OPENAI, LOG_LEVEL="debug").start()
    assert process.wait() == 1
    assert "refused the API key" in process.events("start_failed")[0]["reason"]
    assert "canary" not in process.output()


def test_refused_credentials_end_the_start_at_once(agent: StartAgent, tmp_path: Path) -> None:
    folder = tmp_path / "guarded"
    folder.mkdir()
    guarded = Broker(folder, users={"alpha-2": "right-password"})
    guarded.start()
    try:
        env = {"MQTT_USERNAME": "alpha-2", "MQTT_PASSWORD": "wrong-canary-4711"}
        process = agent(mqtt=CREDENTIALS, broker_url=guarded.url, **env).start()
        assert process.wait(5) == 1
        (failure,) = process.events("start_failed")
        assert "Not authorized" in failure["reason"]
        assert "canary" not in process.output()
        env["MQTT_PASSWORD"] = "right-password"
        right = agent("alpha-2", mqtt=CREDENTIALS, broker_url=guarded.url, **env).start().ready()
        assert right.events("available")[0]["agent_id"] == "alpha-2"
    finally:
        guarded.stop()


@pytest.mark.skipif(DYNAMIC_SECURITY is None, reason="mosquitto without its dynamic security plugin")
def test_refused_subscription_ends_the_start(agent: StartAgent, tmp_path: Path) -> None:
    # A user of the plugin with no rights may log in and nothing else: a SUBACK that says no.
    folder = tmp_path / "strict"
    folder.mkdir()
    rules = folder / "rules.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", str(rules), "admin", "secret"], check=True)
    content = json.loads(rules.read_text())
    content["roles"][0]["acls"] = []
    rules.write_text(json.dumps(content))
    strict = Broker(folder, more=f"plugin {DYNAMIC_SECURITY}\nplugin_opt_config_file {rules}")
    strict.start()
    try:
        env = {"MQTT_USERNAME": "admin", "MQTT_PASSWORD": "secret"}
        process = agent(mqtt=CREDENTIALS, broker_url=strict.url, **env).start()
        assert process.wait() == 1
        assert "refused the subscription" in process.events("start_failed")[0]["reason"]
    finally:
        strict.stop()


def test_missing_credentials_are_an_error(agent: StartAgent) -> None:
    process = agent(mqtt=CREDENTIALS).start()
    assert process.wait() == 1
    reasons = [line["reason"] for line in process.events("start_failed")]
    assert len(reasons) == 2
    assert "MQTT_USERNAME is not set" in reasons[0]


def test_waits_for_a_broker_that_comes_later(agent: StartAgent, broker: Broker) -> None:
    broker.stop()
    process = agent().start()
    until(lambda: process.events("broker_unreachable"), "the first attempt")
    assert process.get("/live")[0] == 200
    broker.start()
    process.ready()


def test_stops_while_it_waits_for_a_broker(agent: StartAgent) -> None:
    process = agent(broker_url=f"mqtt://127.0.0.1:{free_port()}").start()
    until(lambda: process.events("broker_unreachable"), "the first attempt")
    assert process.stop() == 0


def test_taken_port_is_named(agent: StartAgent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = agent(HEALTH_PORT=str(port)).start()
        assert process.wait() == 1
    assert f"port {port}: Address already in use" in process.events("start_failed")[0]["reason"]


def test_tells_systemd(agent: StartAgent, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        process = agent(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000").start()
        heard: list[str] = []
        while heard.count("WATCHDOG=1") < 3:
            heard += manager.recv(4096).decode().splitlines()
        assert "READY=1" in heard
        assert "STATUS=available" in heard
        # A stuck process must not go on telling that it lives.
        process.signal(signal.SIGSTOP)
        time.sleep(0.3)
        manager.settimeout(0.0)
        while True:
            try:
                manager.recv(4096)
            except BlockingIOError:
                break
        manager.settimeout(0.5)
        try:
            late = manager.recv(4096)
        except TimeoutError:
            late = b""
        assert late == b""
        process.signal(signal.SIGCONT)
        assert process.stop() == 0


def test_heartbeat_repeats_the_status(agent: StartAgent, client: Client) -> None:
    agent(mqtt="heartbeat_interval_secs = 1").start().ready()
    until(lambda: client.states("alpha").count("available") >= 2, "a second status", timeout=4)
