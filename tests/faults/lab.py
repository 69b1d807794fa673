# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts of the fault suite, what runs on them as root, and the deploys that are to be interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dev import ROOT
from dev.hosts import FAULTS, Lab, up
from dev.shell import Failure, attempt, environment, run

HERE = Path(__file__).resolve().parent
CACHE = FAULTS.state
JUDGE = (HERE / "on_host" / "judge.py").read_text()
INJECTOR = (HERE / "on_host" / "injector.py").read_text()
SMALL = "small-1"
# Small file systems, each with what is on it there: bytes, inodes.
MOUNTS = {
    "/var/lib/muster": ("24m", 4000),
    "/etc/muster": ("4m", 400),
    "/opt/muster": ("32m", 400),
}
# The engine's unit, and what it starts, under a clock that can jump; the monotonic clock is the machine's own, as it is
# when a real clock jumps. Nothing else on the host, nor the machine's clock, is touched.
FAKE_CLOCK = """\
export DEBIAN_FRONTEND=noninteractive
command -v faketime || { apt-get -qq update; apt-get -qq install -y --no-install-recommends faketime; } > /dev/null
echo +0 > /run/faults-clock
install -d /run/systemd/system/muster-release-.service.d
cat > /run/systemd/system/muster-release-.service.d/clock.conf <<END
[Service]
Environment=LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1)
Environment=FAKETIME_TIMESTAMP_FILE=/run/faults-clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
END
systemctl daemon-reload
"""
TRUE_CLOCK = "rm -rf /run/systemd/system/muster-release-.service.d /run/faults-clock; systemctl daemon-reload"
# Twenty deploys from one controller are more than sshd lets in by default: the engine is to turn them away, not sshd.
MANY_SESSIONS = """\
printf 'MaxSessions 100\nMaxStartups 100\n' > /etc/ssh/sshd_config.d/faults.conf
systemctl reload ssh
"""
BOOT_SECONDS = 60
DEPLOY_SECONDS = 240


@dataclass(frozen=True)
class Deploy:
    """What one deploy says of the target. `secret_of`: after a rollback, of which value its secret is."""

    value: str
    behaviour: str = "good"
    runtime: str = "standin-a"
    deadline: float = 20.0
    min_healthy_time: float = 1.0
    secret_of: str = ""

    @property
    def secret(self) -> str:
        return f"canary-faults-{self.secret_of or self.value}-end"

    @property
    def pair(self) -> list[str]:
        """What the judge compares: the value and the key's SHA-256."""
        return [self.value, hashlib.sha256(self.secret.encode()).hexdigest()]

    def variables(self) -> dict[str, Any]:
        return {
            "target_value": self.value,
            "target_secret": self.secret_of or self.value,
            "target_behaviour": self.behaviour,
            "target_runtime": self.runtime,
            "target_deadline": self.deadline,
            "target_min_healthy_time": self.min_healthy_time,
        }


@dataclass(frozen=True)
class Played:
    """How a playbook ended."""

    code: int
    output: str
    seconds: float

    def changed(self) -> int:
        """Over all hosts."""
        return sum(int(count) for count in re.findall(r": ok=\d+ +changed=(\d+)", self.output))


class Playbook:
    """A playbook on its way, in a process group of its own."""

    def __init__(self, lab: Lab, name: str, *arguments: str) -> None:
        self._begun = time.monotonic()
        self._log = lab.state / "logs" / f"{time.monotonic_ns()}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["ansible-playbook", "--inventory", str(lab.inventory), name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment({"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}),
                start_new_session=True,
            )

    def kill(self) -> bool:
        """As when the controller's machine dies: nothing of it says goodbye. False where it had ended by itself."""
        if self.ended():
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        return True

    def ended(self) -> bool:
        return self.process.poll() is not None

    def result(self, seconds: float = DEPLOY_SECONDS) -> Played:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        output = self._log.read_text(errors="replace")
        self._log.unlink()
        return Played(code, output, time.monotonic() - self._begun)


class Running(Playbook):
    """A deploy of one host on its way."""

    def __init__(self, host: str, deploy: Deploy, *arguments: str) -> None:
        variables = json.dumps(deploy.variables())
        super().__init__(FAULTS, "deploy.yml", "--limit", host, "--extra-vars", variables, *arguments)


class RollingBack(Playbook):
    """A rollback of one host on its way, to the release before; it gets the secret of the deploy."""

    def __init__(self, host: str, agent: str, deploy: Deploy) -> None:
        variables = json.dumps({**deploy.variables(), "agent": agent})
        super().__init__(FAULTS, "rollback.yml", "--limit", host, "--extra-vars", variables)


@dataclass
class Machine:
    """One host of a lab, as root. `agents` must be there, no more and no less."""

    name: str
    agents: list[str] = field(default_factory=list)
    lab: Lab = FAULTS

    @property
    def container(self) -> str:
        return f"{self.lab.name}-{self.name}"

    @property
    def target(self) -> str:
        return f"target-{self.name}"

    def run(self, command: str) -> str:
        """A shell command; raises Failure where it fails."""
        return run(["docker", "exec", self.container, "sh", "-ec", command], f"{self.name}: {command}")

    def try_(self, command: str) -> str:
        """A shell command that may fail."""
        return attempt(["docker", "exec", self.container, "sh", "-c", command]).out

    def judge(self, **asked: Any) -> dict[str, Any]:
        """The judge's verdict, see `on_host/judge.py`."""
        question = json.dumps({"agents": self.agents, **asked})
        command = ["docker", "exec", self.container, "python3", "-I", "-c", JUDGE, question]
        return dict(json.loads(run(command, f"the judge on {self.name}")))

    def strike(self, deed: str) -> None:
        """Have the injector do one deed at once, see `strike` in `on_host/injector.py`."""
        question = json.dumps({"key": "agents/none", "step": "", "deed": deed})
        run(
            ["docker", "exec", self.container, "python3", "-I", "-c", INJECTOR, question],
            f"{self.name}: {deed}",
        )

    def kill_and_start(self) -> None:
        """The plug is pulled, and put back: every process ends at once, /run is empty, the disk is as it was."""
        run(["docker", "kill", self.container], "docker kill")
        run(["docker", "start", self.container], "docker start")

    def wait_for_boot(self) -> None:
        end = time.monotonic() + BOOT_SECONDS
        command = ["docker", "exec", self.container, "systemctl", "is-system-running", "--wait"]
        while attempt(command, timeout=BOOT_SECONDS).out.strip() not in ("running", "degraded"):
            if time.monotonic() > end:
                raise Failure(f"{self.name} does not boot")
            time.sleep(0.2)

    def make_small(self) -> None:
        """Mount the small file systems before anything is on them; what they hold lives there."""
        for mount, (size, inodes) in MOUNTS.items():
            self.run(
                f"mountpoint -q {mount} || {{ mkdir -p {mount}; "
                f"mount -t tmpfs -o mode=0755,size={size},nr_inodes={inodes} tmpfs {mount}; }}"
            )
        self.give_room()

    def give_room(self) -> None:
        """The small file systems as they are when nothing is wrong."""
        for mount, (size, inodes) in MOUNTS.items():
            self.run(f"mount -o remount,size={size},nr_inodes={inodes} {mount}")


class Injector:
    """The injector on a host, see `on_host/injector.py`."""

    def __init__(self, machine: Machine, **asked: Any) -> None:
        question = json.dumps({"key": f"agents/{machine.target}", **asked})
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", machine.container, "python3", "-I", "-c", INJECTOR, question],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._line(90) != {"ready": True}:
            raise Failure(f"the injector on {machine.name} does not start: {self._errors()}")

    def __enter__(self) -> Injector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def struck(self, running: Playbook) -> dict[str, Any]:
        """What it did. Where the deploy ends first, it did nothing."""
        while (found := self._line(0.2)) is None:
            if running.ended():
                self.go_on()
                found = self._line(10) or {"struck": False, "steps": []}
                break
        return found

    def go_on(self) -> None:
        """Let the frozen engine go on, or give up waiting."""
        stdin: IO[str] = self._process.stdin  # type: ignore[assignment]
        with contextlib.suppress(OSError, ValueError):  # it has ended, or the host has
            stdin.write("\n")
            stdin.flush()

    def _line(self, seconds: float) -> dict[str, Any] | None:
        stdout: IO[str] = self._process.stdout  # type: ignore[assignment]
        if not select.select([stdout], [], [], seconds)[0]:
            return None
        line = stdout.readline()
        return dict(json.loads(line)) if line else {"struck": False, "steps": [], "died": self._errors()}

    def _errors(self) -> str:
        self._process.kill()
        return self._process.communicate()[1].strip()[-500:]


def hosts() -> list[str]:
    """The agent hosts."""
    return [host.name for host in FAULTS.hosts() if host.name != "broker-1"]


def lab(names: list[str]) -> dict[str, Machine]:
    """Bring the lab up and deploy the fleet to it; name → machine for the hosts asked for."""
    _write_runtimes()
    up(FAULTS)
    machines = {
        name: Machine(name, [f"{agent}-{name}" for agent in ("neighbour", "target", "witness")])
        for name in names
    }
    for machine in machines.values():
        machine.run(MANY_SESSIONS)
    if SMALL in machines:
        machines[SMALL].make_small()
    done = Running(",".join(["broker-1", *names]), Deploy("0")).result()
    if done.code != 0:
        raise Failure(f"the first deploy failed:\n{done.output[-3000:]}")
    return machines


def _write_runtimes() -> None:
    """The stand-in twice, so that a release can bring a new runtime with it."""
    text = (HERE / "on_host" / "standin.py").read_text()
    CACHE.mkdir(parents=True, exist_ok=True)
    for letter in "ab":
        (CACHE / f"standin-{letter}.py").write_text(f"{text}\n# {letter}\n")
