# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The judge: looks at a host as root and prints what is not as the design promises. It asks `muster` nothing.

It runs on the host (Python 3.9, standard library) and gets one JSON argument, see `Asked`. It reads links, files and their
digests, systemd's own word, /proc and the agents' answers over HTTP, and prints {"violations": [...], "facts": {...}}.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIB = Path("/var/lib/muster")
SECRETS = Path("/etc/muster/secrets")
RUNTIMES = Path("/opt/muster/runtimes")
RUN = Path("/run/muster")
UNITS = Path("/etc/systemd/system")
# Where a secret must not lie about. Not /proc: processes have theirs in their environment, as they should.
SEARCHED = ("/etc", "/home", "/root", "/opt", "/run", "/tmp", "/usr/local", "/var")
CANARY = "canary-faults-"
_PROPERTIES = "Id,LoadState,ActiveState,SubState,MainPID,UnitFileState,NeedDaemonReload,FragmentPath,DropInPaths,NRestarts"


@dataclass(frozen=True)
class Asked:
    """What the caller knows.

    `agents`: the names that must be there, no more and no less. `allowed`: agent → the pairs [value, SHA-256 of its key] of
    which exactly one must be true throughout. `same`: agent → [process id, start time] that must not have changed.
    `settled`: a deploy has ended well since, so not even harmless temporary files remain. `wait`: seconds until the host
    must be in order; 0 looks once.
    """

    agents: list[str]
    allowed: dict[str, list[list[str]]] = field(default_factory=dict)
    same: dict[str, list[int]] = field(default_factory=dict)
    settled: bool = False
    wait: float = 0.0


class Verdict:
    """What was found."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.facts: dict[str, Any] = {}

    def must(self, true: object, violation: str) -> bool:
        if not true:
            self.violations.append(violation)
        return bool(true)


def judge(asked: Asked) -> Verdict:
    """One look at the whole host."""
    verdict = Verdict()
    _quiet(verdict, asked)
    recorded = _state(verdict)
    found = sorted(path.name for path in (LIB / "agents").glob("*")) if (LIB / "agents").is_dir() else []
    verdict.must(found == sorted(asked.agents), f"agents on disk are {found}, not {sorted(asked.agents)}")
    for name in sorted(set(found) & set(asked.agents)):
        _agent(verdict, asked, name, recorded.get(f"agents/{name}"))
    _leftovers(verdict, asked)
    return verdict


def _quiet(verdict: Verdict, asked: Asked) -> None:
    """Nothing of the engine is at work any more, and its lock is free."""
    for pid, words in engine_processes():
        verdict.must(False, f"the engine still runs: pid {pid}: {' '.join(words[-3:])[:120]}")
    listed = _command("systemctl", "list-units", "--all", "--plain", "--no-legend", "muster-*")
    for line in listed.splitlines():
        name, _, active = [*line.split(), "", ""][:3]
        if name.startswith("muster-health."):
            continue
        # A unit that was killed is called failed until systemd forgets it; the one that mends must not fail.
        idle = ("inactive",) if name == "muster-resume.service" else ("inactive", "failed")
        verdict.must(active in idle, f"unit {name} is {active}")
    try:
        handle = os.open(LIB / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        verdict.must(False, "the lock is held")
    finally:
        os.close(handle)


def engine_processes() -> Iterator[tuple[int, list[str]]]:
    """Processes that run the engine, whoever started them; but for the health checks, which never rest."""
    for pid, words in processes():
        ours = any(re.search(r"muster[^/]*\.pyz$|/bin/muster$", word) for word in words[:4])
        if (ours and "_health" not in words) or _called(pid) == "muster":
            yield pid, words


def _called(pid: int) -> str:
    """The name that a process has given itself, as the engine does within Ansible's module."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return ""


def processes() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            continue
        yield int(path.name), [word.decode("utf-8", "replace") for word in words]


def _state(verdict: Verdict) -> dict[str, str]:
    """Key → release, as state.json records it."""
    try:
        document = json.loads((LIB / "state.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        verdict.must(False, f"state.json: {error}")
        return {}
    verdict.must(document["transaction"] is None, f"a transaction is open: {document['transaction']}")
    try:
        for line in (LIB / "history.jsonl").read_text("utf-8").splitlines():
            json.loads(line)
    except FileNotFoundError:
        pass
    except ValueError as error:
        verdict.must(False, f"history.jsonl: {error}")
    return {key: entry.get("release", "") for key, entry in document["workloads"].items()}


def _agent(verdict: Verdict, asked: Asked, name: str, recorded: str | None) -> None:
    """One agent is on one release: link, files, unit, secrets, process and answers agree."""
    say = f"{name}: "
    home = LIB / "agents" / name
    try:
        link = os.readlink(home / "current")
    except OSError as error:
        verdict.must(False, f"{say}current: {error.strerror}")
        return
    release = link.rpartition("/")[2]
    verdict.must(link == f"releases/{release}", f"{say}current points to {link}")
    verdict.must(recorded == release, f"{say}state.json records {recorded}, current is {release}")
    directory = home / "releases" / release
    manifest = _release(verdict, say, directory)
    if manifest is None:
        return
    unit = manifest["unit"]
    for path, entry in manifest["install"].items():
        verdict.must(
            _sha256(Path(path)) == manifest["files"][entry["file"]],
            f"{say}{path} is not release {release}'s {entry['file']}",
        )
    shown = _show(unit)
    expected = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
        "FragmentPath": str(UNITS / unit),
        "DropInPaths": "",
    }
    for key, value in expected.items():
        verdict.must(shown.get(key) == value, f"{say}{key} is {shown.get(key)!r}, not {value!r}")
    pid = int(shown.get("MainPID") or 0)
    facts = {
        "release": release,
        "unit": unit,
        "pid": pid,
        "started": started(pid),
        "restarts": shown.get("NRestarts"),
    }
    verdict.facts[name] = facts
    if verdict.must(pid, f"{say}no main process"):
        _process(verdict, say, name, unit, directory, manifest, pid)
    said = _answers(verdict, say, manifest)
    if said is not None:
        _reported(verdict, asked, say, name, directory, said)
        facts.update(value=said.get("value"), key_sha256=said.get("key_sha256"))
    if name in asked.same:
        now = [pid, started(pid)]
        verdict.must(now == asked.same[name], f"{say}was disturbed: process {now}, before {asked.same[name]}")


def _release(verdict: Verdict, say: str, directory: Path) -> dict[str, Any] | None:
    """The manifest of a release that is on disk byte for byte, else None."""
    try:
        data = (directory / "manifest.json").read_bytes()
        manifest: dict[str, Any] = json.loads(data)
    except (OSError, ValueError) as error:
        verdict.must(False, f"{say}release {directory.name}: {error}")
        return None
    verdict.must(
        hashlib.sha256(data).hexdigest()[:16] == directory.name,
        f"{say}{directory.name} is not its manifest's digest",
    )
    for file, digest in manifest["files"].items():
        verdict.must(
            _sha256(directory / file) == digest, f"{say}release {directory.name}: {file} was altered"
        )
    digests = set(manifest["runtime"]["artifacts"].values())
    runtime = os.path.realpath(directory / "runtime")
    known = os.path.dirname(runtime) == str(RUNTIMES) and os.path.basename(runtime) in digests
    verdict.must(known, f"{say}release {directory.name}: its runtime is {runtime}")
    verdict.must(
        _sha256(Path(runtime) / "program") == os.path.basename(runtime),
        f"{say}the runtime {runtime} is not whole",
    )
    return manifest


def _process(
    verdict: Verdict, say: str, name: str, unit: str, directory: Path, manifest: dict[str, Any], pid: int
) -> None:
    """What the process was started with is what the release and the secrets file hold, and it is the only one."""
    wanted = {**environment(directory / "env"), **environment(SECRETS / f"{name}.env")}
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError as error:
        verdict.must(False, f"{say}process {pid}: {error.strerror}")
        return
    has = dict(entry.partition("=")[::2] for entry in raw.split("\0") if entry)
    wrong = sorted(key for key, value in wanted.items() if has.get(key) != value)
    verdict.must(not wrong, f"{say}process {pid} was started with another {', '.join(wrong)}")
    given = Path("/run/credentials") / unit
    for config in manifest.get("configs") or [manifest["config"]]:
        verdict.must(
            _sha256(given / config) == manifest["files"][config],
            f"{say}process {pid} was given another {config}",
        )
    # By the unit's own path in its arguments, or by the agent's own name in its environment.
    twins = []
    for other, words in processes():
        if any(word.startswith(f"{given}/") for word in words) or _is(other, name):
            twins.append(other)
    strangers = sorted(set(twins) - _group(pid))
    verdict.must(not strangers, f"{say}runs twice: also as pid {strangers}")


def _is(pid: int, name: str) -> bool:
    try:
        return f"AGENT_NAME={name}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _group(pid: int) -> set[int]:
    """The processes in the same control group, that is of the same service."""
    try:
        own = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return set()
    group = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cgroup").read_text() == own:
                group.add(int(path.name))
        except OSError:
            continue
    return group


def _answers(verdict: Verdict, say: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """What the agent says of itself, once it is ready and the right one."""
    gate = manifest["gate"]
    status, body = get(gate["port"], "/ready")
    verdict.must(status == 200, f"{say}/ready says {status}: {body[:100]}")
    status, body = get(gate["port"], "/health")
    try:
        said: dict[str, Any] = json.loads(body)
    except ValueError:
        verdict.must(False, f"{say}/health says {status}: {body[:100]}")
        return None
    found = said.get("agent_id")
    verdict.must(found == gate["agent_id"], f"{say}port {gate['port']} is answered by {found!r}")
    return said


def _reported(
    verdict: Verdict, asked: Asked, say: str, name: str, directory: Path, said: dict[str, Any]
) -> None:
    """The stand-in's own words against the files, and against what the caller allows."""
    if "value" not in said:
        return
    files, secrets = environment(directory / "env"), environment(SECRETS / f"{name}.env")
    runtime = os.path.basename(os.path.realpath(directory / "runtime"))
    verdict.must(said["program_sha256"] == runtime, f"{say}runs another program than its release's")
    verdict.must(said["value"] == files.get("STANDIN_VALUE", ""), f"{say}runs with value {said['value']}")
    config = (directory / "agent.toml").read_text("utf-8")
    verdict.must(f'"{said["description"]}"' in config, f"{say}runs with config {said['description']!r}")
    if "OPENAI_API_KEY" in secrets:
        key = hashlib.sha256(secrets["OPENAI_API_KEY"].encode()).hexdigest()
        verdict.must(said["key_sha256"] == key, f"{say}runs with another key than its secrets file holds")
    if name in asked.allowed:
        pair = [said["value"], said["key_sha256"]]
        verdict.must(
            pair in asked.allowed[name],
            f"{say}value and key are {_short(pair)}, allowed {[_short(one) for one in asked.allowed[name]]}",
        )


def _short(pair: list[str]) -> str:
    return f"{pair[0]}/{pair[1][:6]}"


def _leftovers(verdict: Verdict, asked: Asked) -> None:
    """No temporary file, no copy of a secret."""
    known = {f"{name}.env" for name in asked.agents}
    for path in SECRETS.glob("*") if SECRETS.is_dir() else ():
        verdict.must(path.name in known, f"left over: {path}")
    for path in SECRETS.glob("*.env"):
        mode = path.stat()
        verdict.must(
            (mode.st_mode & 0o777, mode.st_uid, mode.st_gid) == (0o600, 0, 0),
            f"{path} has mode {mode.st_mode:o}",
        )
    for path in RUN.rglob("*"):
        # A report that nobody came back for holds no secret; it is swept when something is switched again.
        parts = path.relative_to(RUN).parts
        report = parts[0].startswith("muster-release-") and parts[1:] in (
            (),
            ("report.json",),
            ("muster.pyz",),
        )
        # Nobody comes back for a check whose caller was killed, until the next deploy; but its secrets are gone at once.
        unsettled = not asked.settled and parts[0].startswith("check-") and path.name != "secrets.env"
        # What the health checks remember of somebody whom they restarted.
        remembered = parts == ("health.json",)
        verdict.must(report or unsettled or remembered, f"left over: {path}")
    if asked.settled:
        for directory in (LIB, RUNTIMES, Path("/usr/local/lib/muster")):
            for path in directory.rglob(".*"):
                verdict.must(False, f"left over: {path}")
        for path in UNITS.glob(".*"):
            verdict.must(False, f"left over: {path}")
    kept = {str(SECRETS / name) for name in known}
    # Also in files that are not text, such as the journal's.
    search = ("grep", "-rlF", "--devices=skip", CANARY, *SEARCHED)
    copies = sorted(set(_command(*search).splitlines()) - kept)
    verdict.must(not copies, f"secrets lie about in {copies}")


def environment(path: Path) -> dict[str, str]:
    """Variables of a file in systemd's syntax, as far as such files here go."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return {}
    found = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE)
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}


def started(pid: int) -> int:
    """When a process started, in clock ticks since the machine's boot; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)


def _show(unit: str) -> dict[str, str]:
    lines = _command("systemctl", "show", f"--property={_PROPERTIES}", unit).splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def _command(*words: str) -> str:
    return subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    ).stdout


def _busy() -> bool:
    """A cheap look first: whoever is at work is not in order yet."""
    return any(True for _ in engine_processes())


def main() -> None:
    asked = Asked(**json.loads(sys.argv[1]))
    begun = time.monotonic()
    clean = 0
    while True:
        last = time.monotonic() - begun > asked.wait
        if last or not _busy():
            verdict = judge(asked)
            # Twice in a row: between two steps of the engine all may look well for a moment.
            clean = 0 if verdict.violations else clean + 1
            if last or clean == 2 or (clean and not asked.wait):
                break
        time.sleep(0.3)
    seconds = round(time.monotonic() - begun, 1)
    print(json.dumps({"violations": verdict.violations, "facts": verdict.facts, "seconds": seconds}))


if __name__ == "__main__":
    main()
