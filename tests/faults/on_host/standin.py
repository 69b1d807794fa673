# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A runtime that behaves as it is told, well or badly, and says truthfully what it was started with.

`STANDIN_BEHAVIOUR` is one of: good; exit; exit-after:SECONDS; slow:SECONDS (nothing listens until then); never-ready;
impostor (answers for another agent); stale (`/health` says 503 though it is ready); cursed (exits where the file CURSE is).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CURSE = "/etc/faults-curse"


def setting(config: str, name: str) -> str:
    """A text of the config, which is plain TOML; Debian 11's Python cannot read that by itself."""
    found = re.search(rf'^\s*{name}\s*=\s*"([^"]*)"', config, re.MULTILINE)
    if found is None:
        sys.exit(f"the config has no {name}")
    return found.group(1)


def main() -> None:
    config = Path(sys.argv[sys.argv.index("--config") + 1]).read_text("utf-8")
    agent_id, description = setting(config, "id"), setting(config, "description")
    if "--check" in sys.argv:
        return
    kind, _, seconds = os.environ.get("STANDIN_BEHAVIOUR", "good").partition(":")
    if kind == "exit" or (kind == "cursed" and os.path.exists(CURSE)):
        sys.exit(3)
    if kind == "exit-after":
        threading.Timer(float(seconds), os._exit, [4]).start()
    if kind == "slow":
        time.sleep(float(seconds))
    key = os.environ.get("OPENAI_API_KEY", "")
    said = {
        "agent_id": "somebody-else" if kind == "impostor" else agent_id,
        "description": description,
        "value": os.environ.get("STANDIN_VALUE", ""),
        "key_sha256": hashlib.sha256(key.encode()).hexdigest() if key else "",
        "program_sha256": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        "status": "stale" if kind == "stale" else "ok",
    }
    codes = {"/ready": 503 if kind == "never-ready" else 200, "/health": 503 if kind == "stale" else 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(said).encode()
            self.send_response(codes.get(self.path, 404))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
            pass

    ThreadingHTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
