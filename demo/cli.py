# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m demo up|down|status|ask``: the demo as a list of steps."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

import tomllib

from demo import vault
from demo.ask import Broker, Task, ask, new_task
from dev import ROOT, engine, hosts, image, packages
from dev.hosts import DEMO
from dev.playbook import play
from dev.progress import Steps
from dev.shell import Failure, run

AGENT = "researcher"
QUESTION = "What is MQTT good for? Answer in one sentence."
CLIENT = "demo"
GO_ON = """\
Go on with:
  .venv/bin/python -m demo ask "Your own question"
  .venv/bin/ansible-playbook deploy.yml -e agent=researcher
  docker exec muster-demo-agent-1 muster status
  make demo-down
"""


def up() -> None:
    """Everything from a bare machine to an agent's answer; what is there already is left as it is."""
    _announce()
    steps = Steps(8)
    steps.step("SSH client", _ssh_client)
    steps.step("Docker engine", engine.start)
    steps.step("Host image", lambda: image.ensure("bookworm"))
    steps.step("Hosts", lambda: hosts.up(DEMO))
    steps.step("Secrets", vault.ensure)
    steps.step("Reference agent", _build_agent)
    steps.step("Deploy", lambda: play(["deploy.yml"], DEMO.state / "deploy.log", steps.at).summary())
    task = new_task(_agent_id(AGENT), QUESTION)
    answers: list[str] = []
    steps.step(f"A task for {task.agent_id}", lambda: _collect(task, answers))
    print()
    status()
    print()
    _show(task, answers[0])
    print()
    print(GO_ON, end="")


def down(keep_image: bool) -> None:
    """Remove all that the demo made; Debian packages that it installed stay."""
    if engine.answers():
        hosts.down(DEMO)
        if not keep_image:
            image.remove()
        stopped = engine.stop()
        print(
            "Removed the demo's hosts"
            + ("" if keep_image else " and image")
            + (", stopped Docker" if stopped else "")
        )
    elif DEMO.state.exists() and not engine.STATE.exists():
        raise Failure("Docker does not answer: start it, so that the demo's hosts can be removed.")
    if not keep_image:
        engine.remove()
    vault.FILE.unlink(missing_ok=True)
    shutil.rmtree(DEMO.state, ignore_errors=True)


def status() -> None:
    """Print the table of agents, as ``playbooks/status.yml`` tells it."""
    print(play(["playbooks/status.yml"], DEMO.state / "status.log").told_by("Print"))


def ask_once(agent: str, question: str) -> None:
    """Send one question and print the answer."""
    task = new_task(_agent_id(agent), question)
    print(ask(_broker(), task))


def _announce() -> None:
    """Say what will be installed and started before any of it happens."""
    engine_answers = engine.answers()
    names = sorted({*packages.missing("ssh"), *engine.needed_packages()})
    if names:
        print(f"Installs with apt-get: {', '.join(names)}")
    if not engine_answers:
        print("Starts Docker: Debian's service, else an engine of its own with its data in .engine/")
    if not engine_answers or not image.present("bookworm"):
        print(f"Builds the image {image.tag('bookworm')}")
        if packages.can_install() and packages.missing("mmdebstrap"):
            print(
                "  (where no image registry answers: installs mmdebstrap with apt-get, and builds it with that)"
            )
    print("Keeps all else in this folder; `make demo-down` removes it")


def _ssh_client() -> str:
    names = packages.missing("ssh")
    packages.install(names)
    return "installed" if names else "present"


def _build_agent() -> str:
    run([sys.executable, "src/build.py"], "build of the reference agent")
    return "built"


def _broker() -> Broker:
    host = next(host for host in DEMO.hosts() if host.published)
    return Broker("127.0.0.1", next(iter(host.published)), CLIENT, vault.mqtt_password(CLIENT))


def _agent_id(agent: str) -> str:
    file = ROOT / "agents" / f"{agent}.toml"
    if not file.exists():
        raise Failure(f"There is no {file.relative_to(ROOT)}")
    return str(tomllib.loads(file.read_text())["agent"]["id"])


def _collect(task: Task, answers: list[str]) -> str:
    answers.append(ask(_broker(), task))
    return "answered"


def _show(task: Task, answer: str) -> None:
    print(f"Task    {task.topic}")
    print(f"        {task.question}")
    print(f"Answer  {task.answer_topic}")
    for line in answer.splitlines():
        print(f"        {line}")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do the deed; a Failure is one message, never a traceback."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    deeds = parser.add_subparsers(dest="deed", required=True)
    deeds.add_parser("up", help="bring the demo up, or complete it")
    deeds.add_parser("down", help="remove it (KEEP_IMAGE=1 keeps the host image)")
    deeds.add_parser("status", help="show the agents")
    question = deeds.add_parser("ask", help="send a task through the broker and print the answer")
    question.add_argument("question")
    question.add_argument("--agent", default=AGENT, help="file name under agents/, without .toml")
    options = parser.parse_args(arguments)
    try:
        if options.deed == "up":
            up()
        elif options.deed == "down":
            down(keep_image=bool(os.environ.get("KEEP_IMAGE")))
        elif options.deed == "status":
            status()
        else:
            ask_once(options.agent, options.question)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. `make demo` goes on from here, `make demo-down` removes what there is.",
            file=sys.stderr,
        )
        return 130
    return 0
