# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where each instance runs and on which port: pure functions of names, the same on every run and every controller."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

PORTS = range(
    20000, 30000
)  # below Linux's ephemeral ports (32768–60999), so no outgoing connection takes one


def _score(*words: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8], "big")


def place(instances: Sequence[str], hosts: Iterable[str]) -> dict[str, str]:
    """instance → host, by rendezvous hashing: adding or removing a host moves only what must move.

    Instances of one agent keep apart as long as there are hosts enough. Raises ValueError without hosts.
    """
    names = sorted(set(hosts))
    if not names:
        raise ValueError("no hosts to place on")
    load = dict.fromkeys(names, 0)
    placed = {}
    for instance in instances:
        least = min(load.values())
        free = [host for host in names if load[host] == least]
        placed[instance] = max(free, key=lambda host: _score(instance, host))
        load[placed[instance]] += 1
    return placed


def assign_ports(instances: Iterable[str], pinned: Mapping[str, int]) -> dict[str, int]:
    """instance → port, distinct over the whole fleet so that a move does not change it."""
    ports = dict(pinned)
    taken = set(pinned.values())
    for instance in sorted(set(instances) - set(pinned)):
        offset = _score("port", instance) % len(PORTS)
        ports[instance] = next(
            port for step in range(len(PORTS)) if (port := PORTS[(offset + step) % len(PORTS)]) not in taken
        )
        taken.add(ports[instance])
    return ports
