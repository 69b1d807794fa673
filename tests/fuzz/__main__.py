# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mutated configs of all formats, until something breaks: `python -m tests.fuzz --inputs 100000 --seed 1`.

Every input must end in findings or specs, within a second or so, with no exception, no secret in any line, every place
inside of its file; and what has no error must render to a document whose id is the one asked for.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.muster.agents.plugins.plugin_utils.config_file import get, parse
from ansible_collections.muster.agents.plugins.plugin_utils.configs import (
    Choice,
    Library,
    Result,
    read_config,
)
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Known
from ansible_collections.muster.agents.plugins.plugin_utils.render_config import render_config
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import CANARY, SEEDS, Seed

_SLOW = 5.0  # seconds; far above what any input needs, also on a busy machine
_ENVIRONMENT = {"MQTT_BROKER_URL": "mqtt://broker:1883", "AGENT_PORT": "20001", "LOG_LEVEL": "info"}


class Broken(Exception):
    """A promise that an input broke."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the random numbers (default: by the clock)"
    )
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else time.time_ns() % 1_000_000
    counts, failure = fuzz(asked.inputs, seed)
    print(f"seed {seed}: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    if failure:
        print(failure)
    return 1 if failure else 0


def fuzz(inputs: int, seed: int) -> tuple[Counter[str], str]:
    """How many inputs of each format were tried, and what broke first (empty: nothing)."""
    generator = random.Random(seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # what was found good before is no part of it
        for number in range(inputs):
            one = generator.choice(SEEDS)
            counts[one.format] += 1
            try:
                _try(one, Path(folder) / str(number % 50), generator)
            except Exception as error:  # noqa: BLE001 - any exception is what is looked for
                kept = Path(tempfile.mkdtemp(prefix="fuzz-"))
                for name, data in _last.items():
                    (kept / name).parent.mkdir(parents=True, exist_ok=True)
                    (kept / name).write_bytes(data)
                return (
                    counts,
                    f"input {number} ({one.format}), kept in {kept}: {type(error).__name__}: {error}",
                )
    return counts, ""


_last: dict[str, bytes] = {}


def _try(one: Seed, folder: Path, generator: random.Random) -> None:
    _last.clear()
    _last.update(one.files)
    for name in generator.sample(sorted(one.files), generator.randint(1, len(one.files))):
        _last[name] = mutated(one.files[name], generator)
    for name, data in _last.items():
        (folder / one.format / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / one.format / name).write_bytes(data)
    path = folder / one.format / one.main if one.main else folder / one.format
    known = generator.choice([Known(), Known(_ENVIRONMENT, frozenset({"OPENAI_API_KEY"}))])
    begun = time.monotonic()
    result = read_config(path, "shown", Choice(one.format, known=known, name="agent"), Library())
    if time.monotonic() - begun > _SLOW:
        raise Broken(f"took {time.monotonic() - begun:.1f} s")
    _check_findings(result)
    if not any(found.level == ERROR for found in result.diagnostics):
        _check_rendering(result)


def _check_findings(result: Result) -> None:
    for found in result.diagnostics:
        if CANARY in str(found):
            raise Broken(f"{found.code} repeats a secret")
        if "\n" in str(found) or not found.message:
            raise Broken(f"{found.code} is not one line: {found!r}")
        if found.line < 0 or (found.line == 0) != (found.column == 0):
            raise Broken(f"{found.code} has no good place: {found!r}")
    for spec in result.specs:
        if not spec.agent_id:
            raise Broken("an agent without an id")


def _check_rendering(result: Result) -> None:
    for spec in result.specs:
        texts = render_config(spec, "another-id", _ENVIRONMENT)
        for name, file in spec.files.items():
            value = parse(texts[name], Path(name).suffix.lower()).value
            if spec.identity and file is spec.place.file and get(value, spec.identity) != "another-id":
                raise Broken(f"{name} did not get its id")


if __name__ == "__main__":
    sys.exit(main())
