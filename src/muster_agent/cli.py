# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Command line: `muster-agent --config FILE run | config [--show] | validate`.

Exit status: 0 done, 1 the config, the environment or the start failed, 2 wrong usage. What a subcommand does
not need is not imported: a zipapp compiles everything that it imports, at every start.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from muster_agent import __version__
from muster_agent.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            return _run(options.config)
        if options.command == "validate":
            return _validate(options.config)
        return _config(options.config, options.show)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="muster-agent", description="Reference agent of the 2389 agent protocol."
    )
    parser.add_argument("--version", action="version", version=f"muster-agent {__version__}")
    parser.add_argument(
        "--config", type=Path, default=Path("agent.toml"), metavar="FILE", help="default: agent.toml"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the agent until SIGTERM")
    config = commands.add_parser("config", help="check the config file; needs no secret and no network")
    config.add_argument("--show", action="store_true", help="print the effective config as JSON")
    commands.add_parser("validate", help="check the config, the environment and the tools; needs no network")
    return parser


def _config(path: Path, show: bool) -> int:
    from muster_agent import config, settings

    loaded = config.load(path)
    effective = settings.read(os.environ)
    _print_hints(loaded.hints)
    if show:
        from muster_agent import effective_config

        print(effective_config.render(loaded, effective))
    else:
        print(f"{path}: ok: agent {loaded.agent.id}, {loaded.llm.provider} {loaded.llm.model}")
    return 0


def _validate(path: Path) -> int:
    from muster_agent import config, settings, tools

    loaded = config.load(path)
    effective = settings.read(os.environ)
    secrets = settings.secrets(loaded, os.environ)
    tools.build(loaded.tools, effective, secrets)
    _print_hints(loaded.hints)
    print(f"{path}: ok: agent {loaded.agent.id} can start with this environment")
    return 0


def _run(path: Path) -> int:
    from muster_agent import config, logs, settings

    loaded = config.load(path)
    effective = settings.read(os.environ)
    logs.configure(effective.log_level, effective.log_format, loaded.agent.id, effective.release)
    try:
        secrets = settings.secrets(loaded, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            logs.get().error("start_failed", reason=problem)
        return 1
    # A user name is no secret, and is often the agent's id, which every line carries.
    logs.hide(value for name, value in secrets.items() if name != loaded.mqtt.username_env)
    from muster_agent import service

    return service.run(loaded, effective, secrets)


def _print_hints(hints: Sequence[str]) -> None:
    for hint in hints:
        print(f"hint: {hint}", file=sys.stderr)
