# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a deploy takes, next to what its users could pick instead: `.venv/bin/python -m bench.deploy`.

Makes ten hosts, runs every case in turns (`--rounds`, default 5), writes docs/benchmarks.md and docs/benchmarks.svg, and
takes the hosts down again. Two halves on the same ten hosts: first the fleets of one host each beside the peers, then one
fleet that grows to ten hosts. docs/benchmarks.md says what is measured and how.

`--only CASE …` runs some of the cases and `--quick` runs all of them once with few agents; both write to .cache/bench
instead of docs. The exit status is 0 also where a budget is missed, as machines differ; it is 1 where a deploy fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from bench import fleets
from bench.cases import FULL, LAB, QUICK, ROLLBACK, VENV, Case, Growing, OneHost, Sizes
from bench.figures import Result, round_robin, verdicts
from bench.page import Machine, page
from dev import ROOT, engine, hosts, image
from dev.hosts import BENCH
from dev.shell import Failure, attempt, run

REQUIREMENTS = ROOT / "bench" / "requirements.txt"
# The reference agent's resident memory, with what Python shares left out, and some room.
MEGABYTES_PER_AGENT = 35


def measure(half: OneHost | Growing, chosen: Sequence[Case], rounds: int) -> dict[str, Result]:
    """Prepare the hosts, then run the chosen cases in turns; one line for each run."""
    for what, deed in half.ready(chosen):
        print(f"{what} …", end="", flush=True)
        started = time.monotonic()
        deed()
        print(f" {time.monotonic() - started:.1f} s", flush=True)
    results = {case.name: Result(case.name, case.title, case.floor) for case in chosen}
    for number, case in round_robin(chosen, rounds):
        case.prepare()
        one = case.measure()
        results[case.name].samples.append(one)
        own = f", {one.own:.2f} s of it the agent's own start" if one.own is not None else ""
        print(f"round {number}/{rounds}  {one.seconds:7.2f} s  {case.title}{own}", flush=True)
    return results


def tools() -> None:
    """A virtual environment of its own for pyinfra and matplotlib: their dependencies cannot disturb Ansible's."""
    stamp = VENV / "installed"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Python environment for the peers and the plot …", flush=True)
    venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(VENV)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]
    run([str(VENV / "bin" / "python"), *install, str(REQUIREMENTS)], "pip install")
    stamp.write_text(wanted)


def machine() -> Machine:
    release = platform.freedesktop_os_release() if sys.platform == "linux" else {}
    first = next(iter(BENCH.hosts()))
    processor = attempt(["sh", "-c", "sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1"]).out.strip()
    version = attempt([str(VENV / "bin" / "python"), "-c", "import pyinfra; print(pyinfra.__version__)"])
    return Machine(
        cores=os.cpu_count() or 0,
        processor=processor or platform.machine(),
        kernel=platform.release(),
        system=release.get("PRETTY_NAME", platform.system()),
        hosts=f"Debian {first.suite}",
        ansible=metadata.version("ansible-core"),
        python=platform.python_version(),
        pyinfra=version.out.strip(),
        load=os.getloadavg()[0],
    )


def need_memory(sizes: Sizes) -> None:
    """Raises Failure where the agents would not fit: a machine that swaps measures its disk."""
    if not Path("/proc/meminfo").exists():
        return
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(words["MemAvailable"].split()[0]) * 1024 // 1_000_000
    needed = sizes.most * MEGABYTES_PER_AGENT
    if available < needed:
        raise Failure(
            f"{sizes.most} agents need about {needed} MB, and {available} MB are free; try --quick or --only"
        )


@contextlib.contextmanager
def lab(cases: Sequence[Case]) -> Iterator[None]:
    """New hosts for these cases, gone afterwards, also after Ctrl-C; a Docker engine that was there before is left alone."""
    needed = {name for case in cases for name in case.fleet.machines}
    fleets.write_lab(LAB, needed)
    found_engine = engine.answers()
    try:
        print(f"Docker engine … {engine.start()}", flush=True)
        for suite in sorted({host.suite for host in LAB.hosts()}):
            print(f"Image {suite} … {image.ensure(suite)}", flush=True)
        hosts.down(LAB)
        print(f"Hosts … {hosts.up(LAB)}", flush=True)
        yield
    finally:
        hosts.down(LAB)
        if not found_engine:
            engine.stop()


def benchmark(sizes: Sizes, only: Sequence[str], rounds: int) -> dict[str, Result]:
    """Both halves; results by the name of their case."""
    growing = [Growing(sizes, size) for size in sizes.hosts]
    halves: list[list[OneHost | Growing]] = [[OneHost(sizes)], [*growing]]
    known = [case.name for half in halves for part in half for case in part.cases()]
    if unknown := set(only) - set(known):
        raise Failure(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    results: dict[str, Result] = {}
    for half in halves:
        chosen = [[case for case in part.cases() if case.name in (only or known)] for part in half]
        if not any(chosen):
            continue
        with lab([case for cases in chosen for case in cases]):
            for part, cases in zip(half, chosen, strict=True):
                if cases:
                    results.update(measure(part, cases, rounds))
    return results


def save(
    folder: Path, results: dict[str, Result], sizes: Sizes, about: Machine, notes: Sequence[str]
) -> None:
    """The page, the plot, and the figures that the plot is drawn from; the budgets also to the terminal."""
    found = verdicts(results)
    numbers = fleets.FOLDER / "figures.json"
    document = {"results": [asdict(one) for one in results.values()], "each": sizes.each}
    numbers.write_text(json.dumps(document, indent=1))
    (folder / "benchmarks.md").write_text(page(results, found, about, notes))
    plot = [str(VENV / "bin" / "python"), str(ROOT / "bench" / "plot.py"), str(numbers)]
    run([*plot, str(folder / "benchmarks.svg")], "the plot")
    for one in found:
        word = "met   " if one.met else "MISSED"
        print(f"{word}  {one.text}: {one.measured:.2f} s of {one.allowed:.2f} s")
    print(f"Written: {os.path.relpath(folder, ROOT)}/benchmarks.md")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.deploy", description="Measure how long deploys take."
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="these cases only")
    parser.add_argument("--quick", action="store_true", help="all cases once, with few agents and hosts")
    options = parser.parse_args(arguments)
    sizes, rounds = (QUICK, 1) if options.quick else (FULL, options.rounds)
    folder = fleets.FOLDER if options.quick or options.only else ROOT / "docs"
    # Also where it is ended by another program, the hosts are taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    notes = []
    if not ROLLBACK.exists():
        notes.append("Rollback was not measured: there is no playbooks/rollback.yml.")
        print(notes[-1])
    try:
        need_memory(sizes)
        tools()
        about = machine()
        save(folder, benchmark(sizes, options.only, rounds), sizes, about, notes)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
