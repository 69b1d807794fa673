# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be said to `muster` on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from . import VERSION

USAGE = 2
_EPILOG = """exit codes:
  0   done, and all is well
  1   refused, not healthy, or it differs
  2   the command line is wrong
  69  this host cannot run agents
  73  no room on the disk
  74  input or output failed
  75  busy: another release is under way
  77  not root
  130 Ctrl-C; a rollback goes on without its terminal

All commands take --json: one document, also for errors: {"error", "kind"}.
docs/muster.md of the collection shows each of them."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong as JSON where JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": message, "kind": "usage"}) + "\n")
            raise SystemExit(USAGE)
        super().error(message)


def parser() -> Parser:
    top = Parser(
        prog="muster",
        description="Agents on this host: what runs, what happened, and the way back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"muster {VERSION}")
    commands = top.add_subparsers(metavar="COMMAND", dest="command", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=f"muster {name}: {about}.")
        one.add_argument("--json", action="store_true", help="one JSON document instead of words")
        return one

    show = command("status", "what runs here, whether it is ready, and what somebody changed by hand")
    _names(show, "*", "agents by fleet key, instance or id; all of them if none is named")

    well = command("health", "what health checks last found, and what they did about it")
    _names(well, "*", "agents by fleet key, instance or id; all of them if none is named")

    told = command("history", "what was released, rolled back or removed, the newest first")
    _names(told, "?", "one agent, or all instances of one")
    told.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="how many (20)")
    told.add_argument("-v", "--verbose", action="store_true", help="with reasons, log lines and phases")

    listed = command("releases", "the releases on this host that a rollback can go back to")
    _names(listed, "?", "one agent, or all instances of one")

    back = command("rollback", "go back to the previous proven release, or to one that is named")
    _names(back, "+", "agents by fleet key, instance or id")
    back.add_argument("--to", default="", metavar="ID", help="a release id, or at least 4 digits of it")

    differs = command("diff", "what differs on this host from what was released, or between two releases")
    _names(differs, "?", "one agent, or all instances of one")
    differs.add_argument(
        "old", nargs="?", metavar="RELEASE", help="compare this release with the current one"
    )
    differs.add_argument("new", nargs="?", metavar="RELEASE2", help="or with this one")

    log = command("logs", "the log of one agent, with its secrets masked")
    log.add_argument("name", metavar="NAME", help="fleet key, instance or id")
    log.add_argument(
        "-f", "--follow", action="store_true", help="wait for more; with --json one object a line"
    )
    log.add_argument("-n", "--lines", type=_count, default=100, metavar="N", help="the last N lines (100)")
    log.add_argument("--since", metavar="TIME", help="a time as journalctl takes it, such as '1 hour ago'")
    log.add_argument("--run", action="store_true", help="of the process that runs now only")
    log.add_argument("--release", default="", metavar="ID", help="of the time when this release was current")

    hold = command("hold", "keep agents stopped, across deploys and reboots, until unhold")
    _names(hold, "+", "agents by fleet key, instance or id")
    hold.add_argument("--note", default="", metavar="TEXT", help="why, for those who come next")

    unhold = command("unhold", "let held agents run again, and see that they become ready")
    _names(unhold, "+", "agents by fleet key, instance or id")

    command("resume", "finish or revert a release that was interrupted")

    measured = command("metrics", "what is known here, as Prometheus text")
    measured.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="replace this file, for node_exporter's textfile collector",
    )

    completion = commands.add_parser("completion", help="print the shell's completion of this command")
    completion.add_argument("shell", choices=("bash", "zsh"))

    apply = commands.add_parser("apply", help="carry out a request from standard input (for the controller)")
    apply.add_argument(
        "--engine",
        metavar="SHA256",
        help="the request is deflated, in base64, and for this very engine; another one refuses it",
    )
    # The following are for programs, and the help does not list them.
    carry_on = commands.add_parser("carry-on")
    carry_on.add_argument("scratch", type=Path)
    carry_on.add_argument("request", type=Path)
    commands.add_parser("_backup_piece")
    commands.add_parser("_restore_piece")
    commands.add_parser("_health")
    commands.add_parser("_names")
    commands.add_parser("_releases").add_argument("name")
    return top


def _names(one: argparse.ArgumentParser, how_many: str, about: str) -> None:
    one.add_argument("names", nargs=how_many, metavar="NAME", help=about)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
