# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every value that is not refused reaches a service byte for byte, through the systemd of each host."""

from __future__ import annotations

import string

import fleet
import pytest

VALUES = {
    "PRINTABLE": string.digits + string.ascii_letters + string.punctuation + " ",
    "QUOTES": '"double" \'single\' "',
    "SHELL": "$HOME ${PATH} $(id) `id` $$ ~ * ; & | < >",
    "UNIT": "%n %% %I %h",
    "BACKSLASHES": '\\ \\\\ \\n \\x41 \\" end\\',
    "JINJA": "{{ 7 * 7 }} {% raw %} {# no comment #}",
    "COMMENT": "# no comment",
    "BLANKS": "  both ends  ",
    "UNICODE": "grüße 日本 👩🏽 e\u0301",
    "LONG": "x" * 100_000,
}

PLAIN = """
import json, os, subprocess, sys
sys.path.insert(0, "/usr/local/lib/muster/muster.pyz")
from muster import envfile
with open("/run/values.env", "w", encoding="utf-8") as stream:
    stream.write(envfile.render(json.load(sys.stdin)))
words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "-p", "EnvironmentFile=/run/values.env", "env", "-0"]
said = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()
os.unlink("/run/values.env")
print(json.dumps(dict(one.split("=", 1) for one in said.split(chr(0)) if one)))
"""
SEALED = """
import json, pathlib, shutil, subprocess, sys
sys.path.insert(0, "/usr/local/lib/muster/muster.pyz")
from muster import loader, secret_files
folder = pathlib.Path("/run/values.creds")
folder.mkdir()
values = json.load(sys.stdin)
words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect"]
for name, value in values.items():
    (folder / name).write_bytes(secret_files._sealed(folder / name, name, value))
    words += ["-p", f"LoadCredentialEncrypted={name}:{folder / name}"]
said = subprocess.run([*words, loader.PATH, *values, "--", "env", "-0"], stdout=subprocess.PIPE, check=True).stdout.decode()
shutil.rmtree(folder)
print(json.dumps(dict(one.split("=", 1) for one in said.split(chr(0)) if one)))
"""


@pytest.mark.parametrize(("host", "script"), [("agent-1", PLAIN), ("agent-2", PLAIN), ("agent-1", SEALED)])
def test_a_value_arrives_as_it_was(host: str, script: str) -> None:
    found = fleet.run_python(host, script, VALUES)
    assert {name: found.get(name) for name in VALUES} == VALUES
