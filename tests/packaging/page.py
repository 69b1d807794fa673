# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A page of the documentation as a reader works through it: files to write, commands to run, output to see.

In the page, a fence below a line of nothing but a file's name, in backticks and with a colon, is that file. Any other is commands
(``sh``), or what the commands before it print (``text``); ``<!-- exits with 2 -->`` above commands says that they fail, and how.
Fences of other languages and indented code are for the eye only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev import CACHE, ROOT, VENV, unpacked
from dev.hosts import PACKAGE

# All that is done otherwise than the page says: where the machine is, and where the collection comes from.
MACHINE = "vm-1.example.com"
OTHERWISE = {
    "ansible-galaxy collection install muster.agents": "ansible-galaxy collection install --offline {tarball}",
    f"mosquitto_rr -h {MACHINE}": "mosquitto_rr -h 127.0.0.1 -p {broker_port}",
}
SSH_CONFIG = f"""\
Host {MACHINE}
  HostName 127.0.0.1
  Port {{ssh_port}}
  IdentityFile {PACKAGE.key}
  IdentitiesOnly yes
  UserKnownHostsFile {PACKAGE.known_hosts}
"""

_BLOCK = re.compile(
    r"(?:^`(?P<file>[^`\n]+)`:\n\n)?(?:^<!-- exits with (?P<status>\d+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# What differs from run to run: in the order in which they are looked for.
_VARIES = (
    r"\d{4}-\d\d-\d\d",  # a day
    r"\d\d:\d\d",  # a time of it
    r"(?:\d+d)?(?:\d+h)?(?:\d+m)?\d+s",  # a duration
    r"[0-9a-f]{8}(?:[0-9a-f]{8})?",  # a release
    r"2\d{4}",  # a port
)


@dataclass(frozen=True)
class Block:
    """One fence: `file` is where it is to be written, empty for commands and output; `status` is how commands end."""

    line: int
    language: str
    text: str
    file: str = ""
    status: int = 0


def blocks(page: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(page):
        line = page.count("\n", 0, found.start("text"))
        yield Block(line, found["language"], found["text"], found["file"] or "", int(found["status"] or 0))


def pattern(line: str) -> str:
    """A line of shown output as an expression for what a run prints: any blanks, times, releases; `…` is anything."""
    words = []
    for word in line.split():
        same = next((one for one in _VARIES if re.fullmatch(one, word)), None)
        words.append(same or ".*".join(map(re.escape, word.split("…"))))
    return r"\s+".join(words)


def missing(shown: str, output: str) -> str:
    """The first line of the shown output that the real one does not have after those before it; "" if it has all."""
    lines = iter(output.splitlines())
    for line in filter(str.strip, shown.splitlines()):
        if not any(re.search(pattern(line), one) for one in lines):
            return line
    return ""


@dataclass
class Reader:
    """Somebody with a terminal and an empty folder. Nothing of the clone is in reach but what stands in the tables above."""

    home: Path
    otherwise: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    output: str = ""

    def __post_init__(self) -> None:
        """As a login leaves it."""
        self.folder = self.home
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTHON", "PYTEST_", "VIRTUAL_ENV"))
        }
        path = [one for one in kept["PATH"].split(os.pathsep) if Path(one) != VENV / "bin"]
        clients = unpacked.folder("mosquitto-clients", "mosquitto_rr")
        kept["PATH"] = os.pathsep.join([str(clients), f"{sys.base_prefix}/bin", *path])
        self.environment = {**kept, "HOME": str(self.home), **self.environment}

    def follow(self, block: Block) -> None:
        """Do what a block says. Raises AssertionError, with its line in the page, where that is not what comes of it."""
        text = block.text
        for written, instead in self.otherwise.items():
            text = text.replace(written, instead)
        if block.file:
            (self.folder / block.file).write_text(text, "utf-8")
        elif block.language == "sh":
            status = self._run(text)
            assert status == block.status, f"line {block.line}: status {status}\n{text}\n{self.output}"
        elif block.language == "text":
            absent = missing(block.text, self.output)
            assert not absent, f"line {block.line}: not printed: {absent}\n{self.output}"

    def _run(self, commands: str) -> int:
        """In a shell that stops at the first error; the next one goes on with its environment and folder."""
        left = self.home / ".terminal"
        script = f"set -e -o pipefail\n{commands}\n{{ pwd; env -0; }} >'{left}'\n"
        done = subprocess.run(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            check=False,
        )
        self.output = done.stdout
        if done.returncode == 0:
            folder, _, variables = left.read_text("utf-8").partition("\n")
            self.folder = Path(folder)
            pairs = [one.partition("=") for one in variables.split("\0") if one]
            self.environment = {name: value for name, _, value in pairs}
        return done.returncode


def reader(home: Path, tarball: Path) -> Reader:
    """Whoever follows the page, with the tables above filled in."""
    (machine,) = PACKAGE.hosts()
    assert machine.name == MACHINE
    (broker_port,) = machine.published
    here = {"tarball": tarball, "broker_port": broker_port, "ssh_port": machine.ssh_port}
    config = home / "ssh_config"
    config.write_text(SSH_CONFIG.format_map(here))
    return Reader(
        home,
        {written: instead.format_map(here) for written, instead in OTHERWISE.items()},
        {
            "ANSIBLE_SSH_COMMON_ARGS": f"-F {config}",
            "ANSIBLE_NOCOLOR": "1",
            # The packages that the page installs, in the versions that the clone pins.
            "PIP_CONSTRAINT": str(ROOT / "requirements.txt"),
            "PIP_CACHE_DIR": str(CACHE / "pip"),
        },
    )
