# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures: the built zipapp under each interpreter at hand, a broker, a client and an API for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.reference_agent.world import MOSQUITTO, ROOT, AgentProcess, Broker, Client, HttpApi

ECHO = """
[agent]
id = "{agent_id}"
description = "Echoes"
capabilities = ["echo"]
[mqtt]
broker_url = "{broker}"
{mqtt}
[llm]
{llm}
system_prompt = "You repeat."
{more}
"""
OPENAI = 'provider = "openai"\nmodel = "test-model"\napi_key_env = "OPENAI_API_KEY"'
StartAgent = Callable[..., AgentProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MOSQUITTO is not None:
        return
    reason = "no mosquitto binary found (apt-get install mosquitto)"
    if os.environ.get("MUSTER_REQUIRE_MOSQUITTO") == "1":
        pytest.exit(reason, returncode=1)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def interpreters() -> list[str]:
    """The oldest Python that hosts have, where it is installed, and the one that runs the tests."""
    known = [shutil.which("python3.9"), *map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))]
    # A pyenv shim is found whether or not its version is chosen: only one that runs counts.
    works = [path for path in known if path and not subprocess.call([path, "-V"], stdout=subprocess.DEVNULL)]
    return [*works[:1], sys.executable]


@pytest.fixture(scope="session")
def zipapp() -> Path:
    """The file that is deployed, built if its sources have changed."""
    subprocess.run([sys.executable, str(ROOT / "src" / "build.py")], check=True)
    return ROOT / "roles" / "agent" / "files" / "muster-agent.pyz"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The protocol under every interpreter, the rest under the oldest: it is the one that something would miss in."""
    if "interpreter" in metafunc.fixturenames:
        found = interpreters()
        chosen = found if metafunc.module.__name__.endswith("test_protocol") else found[:1]
        metafunc.parametrize("interpreter", chosen, ids=lambda path: Path(path).name)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    connected = Client(broker)
    yield connected
    connected.close()


@pytest.fixture
def api() -> Iterator[HttpApi]:
    """An API at which the model of the tests exists and answers "done"."""
    server = HttpApi()
    server.routes["GET /v1/models/test-model"] = lambda _: (200, {"id": "test-model"})
    server.routes["POST /v1/chat/completions"] = lambda _: (
        200,
        {"choices": [{"message": {"content": "done"}}]},
    )
    yield server
    server.close()


@pytest.fixture
def agent(
    interpreter: str, zipapp: Path, broker: Broker, api: HttpApi, tmp_path: Path
) -> Iterator[StartAgent]:
    """Makes agents that are not started yet; all are gone after the test."""
    made: list[AgentProcess] = []

    def make(
        agent_id: str = "alpha",
        *,
        llm: str = 'provider = "echo"',
        mqtt: str = "",
        more: str = "",
        broker_url: str = broker.url,
        **env: str,
    ) -> AgentProcess:
        folder = tmp_path / agent_id
        state = folder / "state"
        state.mkdir(parents=True)
        config = ECHO.format(agent_id=agent_id, broker=broker_url, mqtt=mqtt, llm=llm, more=more)
        base = {
            "OPENAI_API_KEY": "openai-canary-4711",
            "ANTHROPIC_API_KEY": "anthropic-canary-4711",
            "SERPER_API_KEY": "serper-canary-4711",
            "OPENAI_BASE_URL": f"{api.url}/v1",
            "ANTHROPIC_BASE_URL": api.url,
            "SERPER_BASE_URL": api.url,
            "STATE_DIRECTORY": str(state),
        }
        made.append(AgentProcess(interpreter, zipapp, folder, config, {**base, **env}))
        return made[-1]

    yield make
    for process in made:
        process.kill()
