# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of agent_backup: what a host has, fetched in pieces, and encrypted before any of it touches a disk."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ansible.utils.display import Display

from ansible_collections.muster.agents.plugins.module_utils.engine.table import written
from ansible_collections.muster.agents.plugins.plugin_utils import backup_file
from ansible_collections.muster.agents.plugins.plugin_utils.backup_call import folder_of, passphrase_of
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_commit import FleetCommit
from ansible_collections.muster.agents.plugins.plugin_utils.host_action import HostAction
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, call_engine
from ansible_collections.muster.agents.plugins.plugin_utils.host_pipe import muster


class ActionModule(HostAction):
    SPEC: ClassVar = {
        "folder": {"type": "str", "default": ""},
        "run": {"type": "str", "required": True},
        "data": {"type": "bool", "default": True},
        "without_data": {"type": "list", "elements": "str", "default": []},
    }

    def work(self, options: Mapping[str, Any], variables: Mapping[str, Any], host: str) -> dict[str, Any]:
        passphrase = passphrase_of(self, variables)
        path = backup_file.file_of(folder_of(options["folder"], variables), options["run"], host)
        about = {name: options[name] for name in ("data", "without_data")}
        report = call_engine(self, variables, {"phase": "backup", "archive": about}, {})
        if not report["workloads"]:
            Display().display(f"  {host}: nothing of muster is here, so there is nothing to back up")
            return {"changed": False}
        for line in report["left_out"]:
            Display().warning(f"{host}: left out: {line}")
        told = {"file": str(path), "workloads": report["workloads"], "left_out": report["left_out"]}
        if not self._task.check_mode:
            header = backup_file.Header(
                host=host,
                made=written(time.time()),
                commit=FleetCommit(str(variables.get("inventory_dir") or ".")).answer().get("commit", ""),
                **{name: report[name] for name in ("size", "bytes", "files")},
            )
            try:
                backup_file.write(path, header, passphrase, self._pieces(report))
            except OSError as error:
                raise HostRefused(f"{path}: {error.strerror}") from None
            finally:
                with contextlib.suppress(HostRefused):  # the next backup of the host removes it
                    call_engine(
                        self, variables, {"phase": "backup_end", "archive": {"token": report["token"]}}, {}
                    )
        would = "would be " if self._task.check_mode else ""
        Display().display(
            f"  {host}: {', '.join(report['workloads'])} {would}in {path} ({report['files']} files, {report['bytes']} bytes)"
        )
        return {"changed": True, **told}

    def _pieces(self, report: Mapping[str, Any]) -> Iterator[bytes]:
        """The archive in order. Raises HostRefused where it is not what the host announced."""
        digest = hashlib.sha256()
        for offset in range(0, report["size"], backup_file.PIECE):
            asked = {"token": report["token"], "offset": offset, "length": backup_file.PIECE}
            piece = base64.b64decode(muster(self, "_backup_piece", json.dumps(asked).encode()))
            digest.update(piece)
            yield piece
        if digest.hexdigest() != report["sha256"]:
            raise HostRefused("the backup did not arrive as the host made it; run it again")
