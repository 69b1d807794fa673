# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A port that somebody else listens on: found, and named with its process, before anything is switched."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.compare import Change
from ansible_collections.muster.agents.plugins.module_utils.engine.ports import _command, conflicts
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import NOTHING, RESTART
from tests.unit.plugins.builders import KEY, with_gate

LISTENER = """
import socket, sys
server = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def change(port: int, action: str = RESTART) -> Change:
    return Change(KEY, with_gate(port=port), None, "0" * 16, [], action)


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """(pid, port) of another process that listens."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER, request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.skip(f"{request.param} is no address of this machine")
        yield process.pid, int(line)
        process.stdin.close()


def test_the_process_that_has_the_port_is_named(listener: tuple[int, int]) -> None:
    pid, port = listener
    found = conflicts([change(port)])
    assert list(found) == ["writer"]
    assert found["writer"].startswith(f"port {port} is in use by python")
    assert f"(pid {pid})" in found["writer"]
    assert "`port`" in found["writer"]


def test_an_agent_that_stays_as_it_is_is_not_asked_about(listener: tuple[int, int]) -> None:
    assert conflicts([change(listener[1], NOTHING)]) == {}


def test_a_free_port_and_one_that_only_a_client_uses_are_no_conflict() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        client_port = client.getsockname()[1]
        assert conflicts([change(client_port)]) == {}
        client.close()
    assert conflicts([change(port)]) == {}
    assert conflicts([]) == {}


def test_a_process_whose_name_is_no_text_is_named_all_the_same() -> None:
    code = r"open('/proc/self/comm', 'wb').write(b'odd\xff'); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert _command(process.pid) == "odd\ufffd"
        process.kill()
