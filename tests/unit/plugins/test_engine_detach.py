# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a request with secrets gets from whoever asks to the unit: by memory, and not without the one who asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import detach
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from tests.unit.plugins.builders import with_collection

SCRATCH = Path("/run/muster/muster-release-1a2b3c4d")
REQUEST = '{"secrets": {"agents/writer": {"A": "grüße"}}}'
OFFER = """
import sys
from ansible_collections.muster.agents.plugins.module_utils.engine import detach

with detach._offered(sys.argv[1], sys.argv[2]) as offered:
    print(offered, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _told_to_end_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes a request dies of SIGTERM at once; the tests do not."""
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)


@pytest.fixture
def asking() -> Iterator[subprocess.Popen[str]]:
    """Somebody who offers a request."""
    command = [sys.executable, "-c", OFFER, SCRATCH.name, REQUEST]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=with_collection()) as process:
        yield process
        process.kill()


def offer(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_a_request_is_read_from_whoever_asks(asking: subprocess.Popen[str]) -> None:
    assert detach.take_request(SCRATCH, offer(asking)) == REQUEST


def test_it_is_gone_with_whoever_asked(asking: subprocess.Popen[str]) -> None:
    offered = offer(asking)
    asking.kill()
    asking.wait()
    with pytest.raises(EngineError, match="gone before it began; nothing was changed"):
        detach.take_request(SCRATCH, offered)


def test_what_another_process_has_at_that_number_is_not_read() -> None:
    """A pipe to which nobody writes would be read for ever; a request of somebody else's is not this one."""
    ends = os.pipe()
    strange = os.memfd_create("muster-release-00000000")
    try:
        for handle in (ends[0], strange):
            with pytest.raises(EngineError, match="gone before it began"):
                detach.take_request(SCRATCH, Path(f"/proc/{os.getpid()}/fd/{handle}"))
    finally:
        for handle in (*ends, strange):
            os.close(handle)
