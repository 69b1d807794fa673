# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_restore: a host's backup is proven here, brought there in pieces, and started with today's secrets."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import RELEASED, UNCHANGED
from ansible_collections.muster.agents.plugins.plugin_utils import backup_file
from ansible_collections.muster.agents.plugins.plugin_utils.backup_call import folder_of, passphrase_of
from ansible_collections.muster.agents.plugins.plugin_utils.broker import (
    broker_given,
    broker_options,
    broker_secrets,
)
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import (
    HostRefused,
    Secrets,
    call_engine,
    values_of,
)
from ansible_collections.muster.agents.plugins.plugin_utils.host_pipe import muster
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import key_fingerprint

_OTHERWISE = (
    "The releases of the backup cannot run with it. Either bring that one back, or restore with -e restore_start=false and then "
    "run deploy.yml, which starts everything as the fleet says today"
)


class ActionModule(HostAction):
    SPEC: ClassVar = {
        "step": {"type": "str", "choices": ["look", "unpack", "place", "start"], "required": True},
        "folder": {"type": "str", "default": ""},
        "run": {"type": "str", "default": ""},
        "source": {"type": "str", "default": ""},
        "replace": {"type": "bool", "default": False},
        "unpacked": {"type": "dict", "default": {}},
        "kind": {"type": "str", "choices": ["agent", "service"], "default": "agent"},
        "will_start": {"type": "bool", "default": True},
        "assume_gone": {"type": "bool", "default": False},
        "parallel": {"type": "int", "default": 8},
    }

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        steps = {"look": self._look, "unpack": self._unpack, "place": self._place, "start": self._start}
        if self._task.check_mode and options["step"] != "look":
            return {"changed": True}
        return steps[options["step"]](options, variables, host)

    def _file(
        self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str
    ) -> tuple[Path, backup_file.Header]:
        source = options["source"] or host
        path = backup_file.find(folder_of(options["folder"], variables), options["run"], source)
        header = backup_file.read_header(path)
        if header.host != source:
            raise ValueError(
                f"{path}: it is the backup of {header.host}, not of {source}; to restore it here all the same: "
                f'-e \'{{"restore_hosts": {{"{host}": "{header.host}"}}}}\''
            )
        return path, header

    def _look(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        """Everything that can be known before a host is touched: the file is whole, and the host is one to restore to."""
        path, header = self._file(options, variables, host)
        deque(backup_file.read(path, passphrase_of(self, variables)), maxlen=0)
        archive = {"replace": options["replace"]}
        here = call_engine(self, variables, {"phase": "restore_look", "archive": archive}, {})["workloads"]
        instead = f" in place of {', '.join(here)}" if here else ""
        Display().display(f"  {host}: as it was at {header.made}, from {path}{instead}")
        # Where no step follows, this one tells what they would do.
        would = bool(self._task.check_mode)
        return {"changed": would, "file": str(path), "made": header.made, "replaces": here}

    def _unpack(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        path, header = self._file(options, variables, host)
        about = {name: getattr(header, name) for name in ("size", "bytes", "files")}
        request = {"phase": "restore_begin", "archive": {**about, "replace": options["replace"]}}
        token = call_engine(self, variables, request, {})["token"]
        try:
            digest = self._bring(token, backup_file.read(path, passphrase_of(self, variables)))
            archive = {"token": token, "sha256": digest}
            report = call_engine(self, variables, {"phase": "restore_unpack", "archive": archive}, {})
            if options["will_start"]:
                self._check(report["workloads"], variables)
        except BaseException:
            with contextlib.suppress(HostRefused):  # the next restore removes it
                call_engine(self, variables, {"phase": "restore_drop", "archive": {"token": token}}, {})
            raise
        return {
            "changed": True,
            "token": token,
            "workloads": report["workloads"],
            "ids": [one["agent_id"] for one in report["workloads"] if one["agent_id"]],
            "services": [one["name"] for one in report["workloads"] if one["kind"] == "service"],
            "missing_packages": report["missing_packages"],
        }

    def _bring(self, token: str, pieces: Iterable[bytes]) -> str:
        """Hand the archive over; returns its SHA-256."""
        digest, offset = hashlib.sha256(), 0
        for piece in pieces:
            head = json.dumps({"token": token, "offset": offset}).encode()
            muster(self, "_restore_piece", head + b"\n" + piece)
            digest.update(piece)
            offset += len(piece)
        return digest.hexdigest()

    def _check(self, workloads: Iterable[Mapping[str, Any]], variables: Mapping[str, Any]) -> None:
        """Raises HostRefused where today's secrets are not those that the releases of the backup can be started with."""
        for one in workloads:
            self._secrets(one, variables)
            if one["kind"] != "service":
                continue
            key = Secrets(self, variables).credentials_key
            if one["credentials"] != key_fingerprint(key):
                raise HostRefused(
                    f"fleet_credentials_key is another one than when the backup was made. {_OTHERWISE}"
                )
            material = broker_given(self, broker_options(self, variables), variables).material
            if one["tls"] != (material.sha256 if material else None):
                raise HostRefused(f"the broker's certificate is another one than in the backup. {_OTHERWISE}")

    def _secrets(self, one: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Today's, by workload."""
        if one["kind"] == "service":
            return {
                one["key"]: broker_secrets(broker_given(self, broker_options(self, variables), variables))
            }
        return values_of(self, variables, [one])

    def _place(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        archive = {"token": options["unpacked"]["token"], "replace": options["replace"]}
        report = call_engine(self, variables, {"phase": "restore_place", "archive": archive}, {})
        Display().display(f"  {host}: {', '.join(report['workloads'])} in place")
        return {"changed": True, "workloads": report["workloads"]}

    def _start(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        secrets: dict[str, dict[str, str]] = {}
        for one in options["unpacked"]["workloads"]:
            if one["kind"] == options["kind"]:
                secrets.update(self._secrets(one, variables))
        if not secrets:
            return {"changed": False, "outcomes": []}
        request = {
            "phase": "restore_start",
            "assume_gone": options["assume_gone"],
            "parallel": options["parallel"],
        }
        outcomes = call_engine(self, variables, request, secrets)["outcomes"]
        bad = []
        for one in outcomes:
            if one["result"] == RELEASED:
                Display().display(f"  {host}: {one['name']} is on {one['after']} again, healthy")
            elif one["result"] == UNCHANGED:
                Display().display(f"  {host}: {one['name']} is on {one['after']} again, and stays held")
            else:
                log = "".join(f"\n    | {line}" for line in one["log"])
                bad.append(
                    f"{host}: {one['name']} is in place on {one['after']}, and not ready: {one['reason']}{log}"
                )
        result: dict[str, Any] = {"changed": True, "outcomes": outcomes}
        return {**result, "failed": True, "msg": "\n".join(bad)} if bad else result
