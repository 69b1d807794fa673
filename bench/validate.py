# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long it takes to check agent configs, and how much memory: `.venv/bin/python bench/validate.py`.

Makes 100, 1,000 and 10,000 configs in a temporary folder: of ten, seven are TOML of agent2389 with a prompt of 30 lines,
and one each is SimpleMas YAML, GenAI JSON and an Agent Engine folder of four files; ids are unique, and one in a hundred
has a mistake. Each size is then checked in fresh processes, which count from their start to their end:

- `check`: `configs.read_tree`, the check alone, with Python's start and the imports;
- `module`: `ansible localhost -m muster.agents.agent_config -a path=…`, as a person runs it.

Of three runs the median counts; 10,000 are checked once. A run that does not find exactly the mistakes that were made is
an error. `--json FILE` writes the numbers, `--check` exits 1 where 1,000 configs take longer than 5 s or more than 300 MB,
`--profile` prints where the time of `check` goes instead.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = (100, 1_000, 10_000)
BUDGET_SIZE, BUDGET_SECONDS, BUDGET_MEGABYTES = 1_000, 5.0, 300.0
WAYS = ("check", "module")


# --- the configs --------------------------------------------------------------------------------------------

_ADVICE = "\n".join(
    f"{number}. Weigh what the sources say against each other; where they differ, say which one you trust, and why"
    for number in range(1, 31)
)

_TOML = """\
# Agent {number} of the bench.

[agent]
id = "agent-{number}"
description = "Answers questions of kind {number}"
capabilities = ["research", "web_search", "summarization"]

[mqtt]
broker_url = "${{MQTT_BROKER_URL}}"
username_env = "MQTT_USERNAME"
password_env = "MQTT_PASSWORD"
heartbeat_interval_secs = 900

[llm]
provider = "openai"
model = "gpt-4o-mini"
api_key_env = "OPENAI_API_KEY"
system_prompt = \"\"\"You are agent {number}.
{advice}
Hand over with `export NEXT=${{NEXT:-nobody}}`.
\"\"\"
temperature = {temperature}
max_tokens = 4000

[tools]
http_request = "builtin"
web_search = {{ impl = "builtin", config = {{ max_results = 5 }} }}

[budget]
max_tool_calls = 15
max_iterations = 8

[routing]
strategy = "llm"
max_iterations = 10

[routing.llm]
provider = "openai"
model = "gpt-4o-mini"
temperature = 0.1
"""

_YAML = """\
version: "1.0"
component:
  name: component-{number}
  type: agent
  description: Component {number} of the bench
docker:
  image: registry.example.org/component:{number}
environment:
  - {{name: LOG_LEVEL, value: INFO}}
  - {{name: OPENAI_API_KEY, secret: true}}
  - {{name: MODE, value: "{number}"}}
ports:
  - {{port: {port}, protocol: http}}
volumes:
  - {{name: data, path: /app/data}}
resources: {{cpu: "0.5", memory: 512Mi}}
health_check: {{path: /health, port: 8000}}
"""

_WORKFLOW = """\
version: "1.0.{number}"
name: workflow-{number}
nodes:
  - {{id: start, kind: deterministic, role: start, default_start: true, context: none}}
  - {{id: work, kind: agent, role: linear, agent_id: worker, context: global, tools: [read]}}
  - {{id: end, kind: deterministic, role: exit, context: none}}
edges:
  - {{from: start, to: work}}
  - {{from: work, to: end}}
"""
_AGENTS = "agents:\n  - {id: worker, kind: agent, llm: anthropic/claude-3-5-haiku}\n"
_TOOLS = """\
tools:
  - id: read
    type: filesystem
    permissions: {allow_network: false, allow_shell: false, root: false}
"""
_ENTRYPOINT = "    entrypoint: agent_engine.tools.filesystem:read_file\n"


def make(folder: Path, size: int) -> int:
    """Writes configs below the folder, a hundred to a subfolder, and returns how many have a mistake."""
    mistakes = 0
    for number in range(size):
        hundred, rest = divmod(number, 100)
        wrong = rest == hundred % 10  # so that every format has its turn
        mistakes += wrong
        for name, text in _config(number, wrong).items():
            path = folder / f"group-{hundred:04}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return mistakes


def _config(number: int, wrong: bool) -> dict[str, str]:
    """The files of one config, by name."""
    kind = number % 10
    if kind == 7:
        text = _YAML.format(number=number, port=70_000 if wrong else 8_000 + number)
        return {f"component-{number}/simplemas.deploy.yaml": text}
    if kind == 8:
        return {f"genai-{number}/agent.config.json": json.dumps(_genai(number, wrong), indent=2)}
    if kind == 9:
        return {
            f"engine-{number}/workflow.yaml": _WORKFLOW.format(number=number),
            f"engine-{number}/agents.yaml": _AGENTS,
            f"engine-{number}/cli_profiles.yaml": "profiles: []\n",
            f"engine-{number}/tools.yaml": _TOOLS + ("" if wrong else _ENTRYPOINT),
        }
    text = _TOML.format(number=number, advice=_ADVICE, temperature=3.5 if wrong else 0.7)
    return {f"agent-{number}.toml": text}


def _genai(number: int, wrong: bool) -> dict[str, object]:
    return {
        "name": f"genai-{number}",
        "template": "Research Assistant",
        "model": "OpenAI gpt-4o",
        "instruction": f"You are agent {number}.\n{_ADVICE}",
        "endpoints": ["generate", "analyze"],
        "resources": {"cpu": "500m", "memory": "512Mi"},
        "scaling": {"replicas": 99 if wrong else 2},
        "env": [{"name": "MAX_RESULTS", "value": "10"}],
    }


# --- measuring ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """One way to check `size` configs: seconds by the clock and of the processor, highest resident memory in MB (10^6)."""

    way: str
    size: int
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def line(self) -> str:
        pace = self.seconds / self.size * 1_000
        figures = f"{self.seconds:>10.2f}{pace:>10.2f}{self.cpu_seconds:>10.2f}{self.megabytes:>8.0f}"
        return f"{self.way:<8}{self.size:>9,}{figures}"

    @property
    def fits(self) -> bool:
        return self.seconds <= BUDGET_SECONDS and self.megabytes <= BUDGET_MEGABYTES


def measure(way: str, folder: Path, size: int, mistakes: int) -> Measure:
    runs = [_run(way, folder, mistakes) for _ in range(1 if size > BUDGET_SIZE else 3)]
    seconds, cpu_seconds, megabytes = (statistics.median(figures) for figures in zip(*runs, strict=True))
    return Measure(way, size, seconds, cpu_seconds, megabytes)


def _run(way: str, folder: Path, mistakes: int) -> tuple[float, float, float]:
    """Seconds, processor seconds and MB of one fresh process.

    Raises SystemExit where it does not find the mistakes that were made."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryDirectory() as cache:
        nothing_known = {**os.environ, "XDG_CACHE_HOME": cache}  # each run checks all of it
        started = time.monotonic()
        process = subprocess.Popen(
            _command(way, folder), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=nothing_known
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    found = re.findall(r"^.*?(\d+) errors?\b.*; \d+ agents read", text, re.MULTILINE)
    if found != [str(mistakes)]:
        raise SystemExit(f"{way}: {mistakes} mistakes were made, and these found: {found}\n{text[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1_000_000


def _command(way: str, folder: Path) -> list[str]:
    if way == "check":
        return [sys.executable, __file__, "--only-check", str(folder)]
    ansible = str(Path(sys.executable).with_name("ansible"))
    task = ["-m", "muster.agents.agent_config", "-a", f"path={folder} fail_on=never"]
    return [ansible, "--inventory", "localhost,", "localhost", *task]


def check(folder: Path) -> str:
    """The check alone; what it found, in one line."""
    sys.path.append(str(ROOT / "collections"))
    from ansible_collections.muster.agents.plugins.plugin_utils.configs import Choice, Library, read_tree
    from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR, count, in_order

    result = read_tree(folder, str(folder), Choice(), Library())
    return f"{count(in_order(result.diagnostics))[ERROR]} errors; {len(result.specs)} agents read"


# --- the command --------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how long checking agent configs takes.")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, too")
    parser.add_argument("--check", action="store_true", help="exit 1 where the budget is missed")
    parser.add_argument("--profile", action="store_true", help="profile `check` of 1,000 configs instead")
    parser.add_argument("--only-check", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_check:
        print(check(options.only_check))
        return 0
    if options.profile:
        profile()
        return 0
    measures = measured(options.sizes, options.ways)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measures], indent=2) + "\n")
    missed = [one for one in measures if one.size == BUDGET_SIZE and not one.fits]
    for one in missed:
        print(
            f"{one.way}: above {BUDGET_SECONDS:.0f} s or {BUDGET_MEGABYTES:.0f} MB for {BUDGET_SIZE:,} configs"
        )
    return 1 if options.check and missed else 0


def measured(sizes: Sequence[int], ways: Sequence[str]) -> list[Measure]:
    """Measures and prints one line after the other."""
    print(f"{'way':<8}{'configs':>9}{'seconds':>10}{'s/1,000':>10}{'CPU s':>10}{'MB':>8}")
    measures = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            mistakes = make(Path(temporary), size)
            for way in ways:
                one = measure(way, Path(temporary), size, mistakes)
                measures.append(one)
                print(one.line, flush=True)
    return measures


def profile() -> None:
    """The functions that take most of the time themselves."""
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary), BUDGET_SIZE)
        profiler = cProfile.Profile()
        profiler.runcall(check, Path(temporary))
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    raise SystemExit(main())
