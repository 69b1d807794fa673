# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What muster knows of this host, as Prometheus text. Reads only, and asks each agent once whether it is ready.

Each function `_of_…` tells of one subject. Another subject is another such function, called from `samples`, and a line for
each of its metrics in METRICS.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import files, health, history, releases, status
from .errors import EngineError
from .layout import Layout, workload_key
from .outcome import FAILED, REFUSED, RELEASED, REMOVED, REVERTED
from .recover import RECOVERY
from .table import epoch
from .transaction import DEPLOY, ROLLBACK

Sample = tuple[str, Mapping[str, str], int]  # metric, labels, value

_GAUGE, _COUNTER = "gauge", "counter"
# Metric → its type, and what it tells. `agent` is the instance's name; a service of the host's own (the broker) has one, too.
METRICS = {
    "muster_info": (_GAUGE, "The engine on this host."),
    "muster_metrics_timestamp_seconds": (_GAUGE, "When these metrics were taken."),
    "muster_transaction_under_way": (_GAUGE, "1 while somebody's release or rollback is under way."),
    "muster_transaction_unfinished": (_GAUGE, "1 where a release was interrupted and nobody works on it."),
    "muster_runtimes_bytes": (_GAUGE, "Size of all runtimes."),
    "muster_agent_info": (_GAUGE, "Which release of which agent is current."),
    "muster_agent_ready": (_GAUGE, "1 where the right agent answered just now that it is ready."),
    "muster_agent_ill": (_GAUGE, "1 where the health checks have found it stuck or deaf."),
    "muster_agent_active": (_GAUGE, "1 while its unit is active."),
    "muster_agent_held": (_GAUGE, "1 while somebody holds it stopped."),
    "muster_agent_drift": (_GAUGE, "How many things of it differ from what was released."),
    "muster_agent_restarts_total": (_COUNTER, "How often systemd restarted it since it was started."),
    "muster_agent_release_timestamp_seconds": (_GAUGE, "When its current release became so."),
    "muster_agent_proven_timestamp_seconds": (_GAUGE, "When a release of it was last seen healthy by the gate."),
    "muster_agent_last_deploy_timestamp_seconds": (_GAUGE, "When its last deploy, rollback or recovery ended."),
    "muster_agent_last_deploy_result": (_GAUGE, "1 for the result of that one, 0 for all others."),
    "muster_agent_certificate_end_timestamp_seconds": (_GAUGE, "When the certificate that it shows expires."),
    "muster_agent_releases": (_GAUGE, "How many releases of it are on the disk."),
    "muster_agent_releases_bytes": (_GAUGE, "Their size, without the runtimes."),
}  # fmt: skip
_RESULTS = (RELEASED, REVERTED, REMOVED, FAILED, REFUSED)
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def samples(layout: Layout) -> Iterator[Sample]:
    """Raises EngineError where the host's state cannot be read: no number is better than a wrong one."""
    found = status.document(layout)
    told = _by_key(history.read(layout))
    yield from _of_host(layout, found)
    for entry in found["workloads"]:
        key = workload_key(entry["kind"], entry["name"])
        yield from _of_state(entry)
        yield from _of_history(entry, told[key])
        yield from _of_disk(layout, entry, key)


def text(found: Iterable[Sample]) -> str:
    """Prometheus' text format, in the order of METRICS."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for name, labels, value in found:
        shown = ",".join(f'{label}="{word.translate(_ESCAPED)}"' for label, word in labels.items())
        by_name[name].append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    lines = []
    for name, (kind, about) in METRICS.items():
        if name in by_name:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *by_name[name]]
    return "\n".join(lines) + "\n"


def write(path: Path, found: Iterable[Sample]) -> None:
    """Replace the file in one step: a collector reads the old text or the new. Raises EngineError where its folder is missing."""
    if not path.parent.is_dir():
        raise EngineError(f"{path.parent} is not a folder; make it, or name the one that node_exporter reads")
    files.write(path, text(found).encode())


def _of_host(layout: Layout, found: Mapping[str, Any]) -> Iterator[Sample]:
    unfinished = found["unfinished"]
    under_way = bool(unfinished and unfinished["by"])
    yield "muster_info", {"version": found["version"]}, 1
    yield "muster_metrics_timestamp_seconds", {}, int(time.time())
    yield "muster_transaction_under_way", {}, int(under_way)
    yield "muster_transaction_unfinished", {}, int(bool(unfinished) and not under_way)
    yield "muster_runtimes_bytes", {}, _bytes(layout.runtimes)


def _of_state(entry: Mapping[str, Any]) -> Iterator[Sample]:
    names = ("kind", "base", "agent_id", "release", "version", "runtime")
    agent = _agent(entry)
    yield "muster_agent_info", {**agent, **{name: str(entry[name] or "") for name in names}}, 1
    yield "muster_agent_ready", agent, int(entry["ready"])
    for ill in (health.STUCK, health.DEAF):
        yield "muster_agent_ill", {**agent, "state": ill}, int(entry["ill"] == ill)
    yield "muster_agent_active", agent, int(entry["state"] == "active")
    yield "muster_agent_held", agent, int(bool(entry["held"]))
    yield "muster_agent_drift", agent, len(entry["drift"])
    yield "muster_agent_restarts_total", agent, entry["restarts"]
    yield from _moment("muster_agent_release_timestamp_seconds", agent, entry["since"])
    if entry["certificate_ends"]:
        yield "muster_agent_certificate_end_timestamp_seconds", agent, entry["certificate_ends"]


def _of_history(entry: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """`told` are its entries, the newest first. What the history does not reach back to is not told."""
    agent = _agent(entry)
    proven = next((one for one in told if one["result"] in (RELEASED, REVERTED)), None)
    if proven:
        yield from _moment("muster_agent_proven_timestamp_seconds", agent, proven["time"])
    if told:
        yield from _moment("muster_agent_last_deploy_timestamp_seconds", agent, told[0]["time"])
        for result in _RESULTS:
            yield (
                "muster_agent_last_deploy_result",
                {**agent, "result": result},
                int(told[0]["result"] == result),
            )


def _of_disk(layout: Layout, entry: Mapping[str, Any], key: str) -> Iterator[Sample]:
    yield "muster_agent_releases", _agent(entry), len(releases.on_disk(layout, key))
    yield "muster_agent_releases_bytes", _agent(entry), _bytes(layout.releases(key))


def _agent(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"agent": entry["name"]}


def _by_key(told: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """key → its deploys, rollbacks and recoveries, the newest first."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in told:
        if entry["via"] in (DEPLOY, ROLLBACK, RECOVERY):
            found[entry["key"]].append(entry)
    return found


def _moment(name: str, labels: Mapping[str, str], written: str | None) -> Iterator[Sample]:
    seconds = epoch(written)
    if seconds is not None:
        yield name, labels, int(seconds)


def _bytes(directory: Path) -> int:
    """Of all files below it; those that a prune takes away meanwhile are not counted."""
    total = 0
    for place, _folders, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total
