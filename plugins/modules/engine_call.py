#!/usr/bin/python

# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_call
short_description: Hand one request to the release engine on a host
version_added: 0.1.0
description:
  - The host side of this collection's other modules, which call it; playbooks do not. They do so where the host has not this engine yet, or the
    connection no pipelining; else they ask the engine itself.
  - Gives the request to the engine C(muster) that is installed, and returns its report.
  - Where the host has none or another one, a temporary copy of O(engine) runs; unless in check mode, it installs itself.
options:
  engine:
    description:
      - The engine, a zipapp, deflated and in base64.
      - Without it a host that lacks this engine answers with the C(kind) V(no_engine), so that it need not travel each time.
    type: str
  engine_sha256:
    description: Its SHA-256.
    type: str
    required: true
  request:
    description: The request, JSON deflated and in base64.
    type: str
    required: true
  secrets:
    description: Environment variables with secrets by workload, packed in the same way. They go to the engine with the request only.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing on the host is changed; the engine runs from a temporary file and only looks.
    support: full
  diff_mode:
    description: The report holds the differences, with secrets hidden.
    support: full
  idempotent:
    description: A second call with the same request changes nothing.
    support: full
author:
  - muster.agents contributors (@muster-agents)
seealso:
  - module: muster.agents.agent_release
  - module: muster.agents.broker_release
  - module: muster.agents.agent_info
"""

EXAMPLES = r"""
- name: It is called by the action plugin of agent_release, not by playbooks
  muster.agents.agent_release:
    phase: stage
    plan: "{{ planned.plan }}"
"""

RETURN = r"""
report:
  description: The engine's report, or C(error) and C(kind).
  returned: always
  type: dict
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import runpy
import sys
import tempfile
import zlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ENGINE = "/usr/local/lib/muster/muster.pyz"


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def engine(module: AnsibleModule) -> tuple[str | None, bool]:
    """(path, whether it is a copy to be removed) of the engine with the digest asked for; no path where it did not come.

    A copy only runs; it installs itself once it has the host's lock and knows that it is not too old for what is there.
    """
    wanted = module.params["engine_sha256"]
    try:
        with open(ENGINE, "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() == wanted:
                return ENGINE, False
    except OSError:
        pass
    if module.params["engine"] is None:
        return None, False
    data = unpacked(module.params["engine"])
    if hashlib.sha256(data).hexdigest() != wanted:
        module.fail_json(msg="the engine arrived with another digest than announced; nothing was installed")
    return write_copy(data, module.tmpdir), True


def write_copy(data: bytes, directory: str) -> str:
    handle, path = tempfile.mkstemp(prefix=".muster-", suffix=".pyz", dir=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    except OSError:
        os.unlink(path)
        raise
    return path


def run(module: AnsibleModule, request: dict[str, Any]) -> dict[str, Any]:
    """The engine's report, or `error` and `kind` where it never came to give one."""
    try:
        path, is_copy = engine(module)
    except OSError as error:
        where = error.filename or module.tmpdir
        return {"error": f"{where}: {error.strerror}; nothing was changed", "kind": "no_room"}
    if path is None:
        return {"error": "the host does not have this engine", "kind": "no_engine"}
    try:
        code, out, err = apply(path, json.dumps(request))
    finally:
        if is_copy:
            os.unlink(path)
    try:
        report: dict[str, Any] = json.loads(out)
    except ValueError:
        lines = err.strip().splitlines() or ["no answer"]
        kind = "unsupported" if code == 69 else "refused"
        return {"error": f"the engine ended with status {code}: {lines[-1]}", "kind": kind}
    return report


def apply(path: str, request: str) -> tuple[Any, str, str]:
    """(exit status, output, errors) of `muster apply`.

    It runs in this process: a second Python, and importing again what is here already, would cost as much as its work.
    """
    # For whoever looks with `ps` what works here.
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("muster")
    sys.argv = [path, "apply"]
    sys.stdin = io.StringIO(request)
    code: Any = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = end.code
        except Exception as error:  # noqa: BLE001 - the caller gets a sentence
            code = 1
            err.write(f"{type(error).__name__}: {error}")
    return code, out.getvalue(), err.getvalue()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            # Not a secret, but 100 kB of base64 would drown the output of -vvv.
            "engine": {"type": "str", "no_log": True},
            "engine_sha256": {"type": "str", "required": True},
            "request": {"type": "str", "required": True, "no_log": True},
            "secrets": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        refusal = {"error": "root is needed on the host; set `become: true`", "kind": "unsupported"}
        module.exit_json(changed=False, report=refusal)
    request = json.loads(unpacked(module.params["request"]))
    request["secrets"] = json.loads(unpacked(module.params["secrets"]))
    module.exit_json(changed=False, report=run(module, request))


if __name__ == "__main__":
    main()
