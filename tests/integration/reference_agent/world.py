# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What surrounds the agent in these tests: a Mosquitto of our own, an MQTT client, an HTTP API, the agent's process.

Everything listens on loopback, on ports that the kernel picks, and is ended by its own process id.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parents[3]
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PATIENCE = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """The first true value of `condition`; fails after `timeout` seconds, saying what never came."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


class Broker:
    """Mosquitto with persistence; `users` turns anonymous access off, `more` are further lines of its config."""

    def __init__(self, folder: Path, users: dict[str, str] | None = None, more: str = "") -> None:
        assert MOSQUITTO is not None
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            # Started as root, it would change to a user that cannot write here.
            "user root",
            more,
        ]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, password], check=True)
            lines.append(f"password_file {passwords}")
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )
        until(self._answers, "mosquitto's listener")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """What it has not saved is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Client:
    """An ordinary MQTT client that remembers all it hears, as (topic, payload, retained)."""

    def __init__(self, broker: Broker, user: tuple[str, str] | None = None) -> None:
        self.heard: list[tuple[str, dict[str, Any], bool]] = []
        self._subscribed = threading.Event()
        # A session that stays, so that nothing is missed while the broker is away.
        self._client = paho.Client(CallbackAPIVersion.VERSION2, str(uuid.uuid4()), clean_session=False)
        if user is not None:
            self._client.username_pw_set(*user)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, agent_id: str, task: Any, retain: bool = False) -> str:
        """Publishes to an agent's input and waits for the broker's word; gives the task's id."""
        payload = task if isinstance(task, (str, bytes)) else json.dumps(task)
        assert self._subscribed.wait(10)
        info = self._client.publish(f"/control/agents/{agent_id}/input", payload, qos=1, retain=retain)
        info.wait_for_publish(10)
        return str(task["task_id"]) if isinstance(task, dict) else ""

    def forget_input(self, agent_id: str) -> None:
        self._client.publish(f"/control/agents/{agent_id}/input", None, qos=1, retain=True).wait_for_publish(
            10
        )

    def answers(self, task_id: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (topic, message)
            for topic, message, _ in list(self.heard)
            if topic.startswith("/conversations/") and message.get("task_id") == task_id
        ]

    def answer(self, task_id: str) -> tuple[str, dict[str, Any]]:
        """Topic and message of the first answer to a task."""
        until(lambda: self.answers(task_id), f"an answer to {task_id}")
        return self.answers(task_id)[0]

    def states(self, agent_id: str) -> list[str]:
        topic = f"/control/agents/{agent_id}/status"
        return [message["status"] for heard, message, _ in list(self.heard) if heard == topic]

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            content = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        if isinstance(content, dict):
            self.heard.append((message.topic, content, message.retain))


def task(agent_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "task_id": str(uuid.uuid4()),
        "conversation_id": "conversation-1",
        "topic": f"/control/agents/{agent_id}/input",
        "instruction": "Repeat",
        "input": {"text": "salt"},
        "next": None,
        **fields,
    }


Answer = Callable[[dict[str, Any]], "tuple[int, Any]"]


class HttpApi:
    """A local HTTP server that speaks the providers' APIs; `routes` maps "METHOD path" to a function of the body."""

    def __init__(self) -> None:
        self.routes: dict[str, Answer] = {}
        self.calls: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                content = json.loads(body) if body else {}
                call = f"{self.command} {self.path}"
                api.calls.append((call, {k.lower(): v for k, v in self.headers.items()}, content))
                route = api.routes.get(call)
                status, value = route(content) if route else (404, {"error": {"message": "no such path"}})
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _answer  # noqa: N815 (the base class looks for these names)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                # A killed agent hangs up in the middle of a response: that is what some tests are about.
                return

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def called(self, call: str) -> list[dict[str, Any]]:
        return [content for made, _, content in list(self.calls) if made == call]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class AgentProcess:
    """The built zipapp, run by one interpreter in an environment of its own."""

    def __init__(
        self, interpreter: str, zipapp: Path, folder: Path, config: str, env: dict[str, str]
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._command = [interpreter, str(zipapp), "--config", str(folder / "agent.toml"), "run"]
        self._log = folder / "agent.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "HEALTH_PORT": str(self.port),
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }
        (folder / "agent.toml").write_text(config, encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> AgentProcess:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def ready(self) -> AgentProcess:
        until(lambda: self.get("/ready")[0] == 200 or self.exited(), "the agent being ready")
        assert not self.exited(), self.output()
        return self

    def exited(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def wait(self, timeout: float = PATIENCE) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        return self.request("GET", path)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Status and text of a request; status 0 while nothing listens."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""
