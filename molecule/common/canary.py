# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking for values where they must not be: in texts, in processes while something runs, in every file of a host."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fleet

# Reads marks from its standard input, looks at all processes until that is closed, then says what it saw:
# [where, the process's service or scope, the program's name].
WATCHER = """
import json, os, re, select, sys
marks = [mark.encode() for mark in json.loads(sys.stdin.readline())]
seen, rounds = set(), 0
while rounds < 2 or not select.select([sys.stdin], [], [], 0.05)[0]:
    rounds += 1
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = ("cgroup", "cmdline", "environ", "comm", "cgroup")
            texts = [open(f"/proc/{pid}/{word}", "rb").read() for word in words]
        except OSError:
            continue
        # Before and after, for one that begins or ends in between is in no group of its own yet, or any more.
        unit = re.findall(rb"([^/\\n]+[.](?:service|scope))", texts[0] + texts[4])
        for word, text in zip(words[1:3], texts[1:3]):
            if any(mark in text for mark in marks):
                seen.add((word, unit[-1].decode() if unit else "-", texts[3].decode().strip()))
print(json.dumps([rounds, sorted(seen)]))
"""
# Every file that was written since the host was made, whoever may read it; and the journal, which is compressed.
SEARCHER = """
import json, os, subprocess, sys
marks = [mark.encode() for mark in json.load(sys.stdin)]
listed = subprocess.run(
    ["find", "/", "/run", "/dev/shm", "/tmp", "-xdev", "-type", "f", "-cnewer", "/.dockerenv", "-size", "-64M", "-print0"],
    stdout=subprocess.PIPE,
).stdout
found, looked = {}, 0
for path in set(listed.split(b"\\0")) - {b""}:
    if path.startswith((b"/proc/", b"/sys/")):
        continue
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError:
        continue
    looked += 1
    if any(mark in data for mark in marks):
        found[path.decode()] = oct(os.stat(path).st_mode & 0o777)
journal = subprocess.run(["journalctl", "--no-pager", "-a", "-o", "export"], stdout=subprocess.PIPE).stdout
if any(mark in journal for mark in marks):
    found["journal"] = ""
print(json.dumps([looked, len(journal), found]))
"""


def disguised(mark: str) -> list[str]:
    """The mark as it is, in hexadecimal, and the part of its base64 that no neighbour changes, at each of three offsets."""
    found = [mark, mark.encode().hex()]
    for offset in range(3):
        coded = base64.b64encode(b"x" * offset + mark.encode() + b"xx").decode().rstrip("=")
        found.append(coded[4 if offset else 0 : -4])
    return found


def hits(text: str, marks: Sequence[str]) -> list[str]:
    """The marks that a text holds, plain, encoded, or within something that is compressed and encoded."""
    whole = "\n".join([text, *_unpacked(text)])
    return [mark for mark in marks if any(one in whole for one in disguised(mark))]


def _unpacked(text: str) -> Iterator[str]:
    for word in set(re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text)):
        with contextlib.suppress(binascii.Error, zlib.error):
            yield zlib.decompress(base64.b64decode(word + "=" * (-len(word) % 4))).decode("utf-8", "replace")


@dataclass
class Sightings:
    """Of one host: how often its processes were looked at, and (cmdline or environ, unit, program) of each sighting."""

    rounds: int = 0
    seen: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def strange(self) -> set[tuple[str, ...]]:
        """All but an agent's own environment, and that of the check of its config, which runs as it would."""
        own = re.compile(r"agent-.*|muster-check-.*")
        return {one for one in self.seen if not (one[0] == "environ" and own.fullmatch(one[1]))}


@contextmanager
def watched(hosts: Sequence[str], marks: Sequence[str]) -> Iterator[dict[str, Sightings]]:
    """Look at all processes of the hosts while the block runs; the sightings are there after it."""
    running = {host: fleet.start_python(host, WATCHER) for host in hosts}
    sightings = {host: Sightings() for host in hosts}
    for one in running.values():
        assert one.stdin is not None
        one.stdin.write(json.dumps(marks) + "\n")
        one.stdin.flush()
    try:
        yield sightings
    finally:
        for host, one in running.items():
            output, _ = one.communicate()
            rounds, seen = json.loads(output)
            sightings[host] = Sightings(rounds, {tuple(entry) for entry in seen})


def files(host: str, marks: Sequence[str]) -> dict[str, Any]:
    """path → permissions of the files on a host that hold a mark; the journal is one of them."""
    looked, journal, found = fleet.run_python(
        host, SEARCHER, [one for mark in marks for one in disguised(mark)]
    )
    assert looked > 20, "there is more on a host than that"
    assert journal > 10_000, "its journal is not empty"
    return dict(found)
