# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host that tells of itself, its agent at work, and a Prometheus set up as docs/observability.md says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.reference_agent.world import AgentProcess, Broker, Client, HttpApi, task, until
from tests.observability.prometheus import AGENT, RELEASE, ROOT, Prometheus, documented, node_exporter, tell
from tests.unit.plugins.ansible_project import AnsibleProject

HOSTS = (
    "all: {children: {agents: {hosts: &one {h1: {ansible_host: 127.0.0.1}}}, prometheus: {hosts: *one}}}\n"
)
CONFIG = """
[agent]
id = "writer-agent"
description = "Writes"
capabilities = ["writing"]
[mqtt]
broker_url = "{broker}"
[llm]
provider = "openai"
model = "test-model"
api_key_env = "OPENAI_API_KEY"
system_prompt = "You write."
[tools]
http_request = "builtin"
"""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, agent: AgentProcess, exporter: int) -> Path:
    """What playbooks/targets.yml writes for a fleet with that agent."""
    project = AnsibleProject(tmp_path_factory.mktemp("project"))
    fleet = {"writer": {"port": agent.port, "config": "writer.toml"}}
    variables = {"fleet": fleet, "observability_node_exporter_port": exporter}
    config = (agent.folder / "agent.toml").read_text()
    project.write(
        {"hosts.yml": HOSTS, "group_vars/all.yml": json.dumps(variables), "agents/writer.toml": config}
    )
    playbook = str(ROOT / "playbooks/targets.yml")
    done = project.run("ansible-playbook", playbook, "-i", "hosts.yml", "-e", "observability_folder=out")
    assert done.status == 0, done.text
    return project.folder / "out"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Broker(tmp_path_factory.mktemp("broker"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[AgentProcess]:
    """The reference agent, ready; its model asks for a tool before each answer."""
    api = HttpApi()
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    call = {"name": "http_request", "arguments": json.dumps({"url": f"{api.url}/page"})}
    tool = {"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]}

    def complete(body: dict[str, object]) -> tuple[int, object]:
        asked = str(body["messages"])
        return 200, {
            "choices": [{"message": {"content": "done"} if "'tool'" in asked else tool}],
            "usage": usage,
        }

    api.routes["GET /v1/models/test-model"] = lambda _: (200, {"id": "test-model"})
    api.routes["GET /page"] = lambda _: (200, {})
    api.routes["POST /v1/chat/completions"] = complete
    subprocess.run([sys.executable, str(ROOT / "src/build.py")], check=True, stdout=subprocess.DEVNULL)
    program = ROOT / "roles/agent/files/muster-agent.pyz"
    environment = {
        "MUSTER_RELEASE": RELEASE,
        "OPENAI_API_KEY": "canary-4711",
        "OPENAI_BASE_URL": f"{api.url}/v1",
    }
    config = CONFIG.format(broker=broker.url)
    process = AgentProcess(sys.executable, program, tmp_path_factory.mktemp("agent"), config, environment)
    process.start().ready()
    yield process
    process.kill()
    api.close()


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory, agent: AgentProcess) -> Iterator[Path]:
    """The folder into which `muster metrics` writes, for a host on which that agent's last deploy was reverted."""
    folder = tmp_path_factory.mktemp("collector")
    with pytest.MonkeyPatch.context() as patch:
        tell(folder, tmp_path_factory.mktemp("host"), agent.port, patch)
    yield folder


@pytest.fixture(scope="session")
def exporter(collector: Path) -> Iterator[int]:
    """The port of a real node_exporter that reads the folder."""
    with node_exporter(collector) as port:
        yield port


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    often = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}}
    config = {**often, **yaml.safe_load(documented(files))}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with Prometheus(folder) as started:
        yield started


@pytest.fixture(scope="session")
def working(agent: AgentProcess, broker: Broker, prometheus: Prometheus) -> Iterator[Prometheus]:
    """Prometheus, while the agent gets a task twice a second; some are in its numbers already."""
    client = Client(broker)
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            client.send(AGENT, task(AGENT))
            time.sleep(0.5)

    thread = threading.Thread(target=send)
    thread.start()
    until(lambda: prometheus.values("sum(agent_tasks_total) > 3"), "tasks in Prometheus", 30)
    yield prometheus
    over.set()
    thread.join()
    client.close()
