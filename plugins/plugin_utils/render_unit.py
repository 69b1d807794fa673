# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The systemd unit and environment of one agent, as text."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2


def unit_word(word: str) -> str:
    """One word of an ExecStart= line, quoted as systemd.service(5) wants it."""
    escaped = word.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"' if re.search(r"[\s;'\"\\]", word) or not word else escaped


def unit_words(words: Iterable[str]) -> str:
    return " ".join(unit_word(word) for word in words)


def unit_text(text: str) -> str:
    """Free text for Description= and the like: one line, no specifiers."""
    return " ".join(text.split()).replace("%", "%%").rstrip("\\")


@dataclass(frozen=True)
class Trust:
    """What an agent trusts: the unit that puts it together, and the file that it is then in."""

    unit: str
    file: str


def trust_of(name: str) -> Trust:
    return Trust(f"muster-trust-{name}.service", f"/run/muster-trust/{name}.pem")


def render_trust(name: str, ca: str) -> str:
    """The unit that puts an agent's trust together before each of its starts: the host's authorities, as its packages have
    them by then, and the broker's, from the file `ca`.

    It is no ExecStartPre= of the agent, for systemd 247 starts none where there are credentials.
    """
    file = trust_of(name).file
    authorities = "/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt"
    return f"""# Made by muster.agents for agent {name}. Changes made here are undone by the next deploy.
[Unit]
Description=Authorities that agent {name} trusts

[Service]
Type=oneshot
RuntimeDirectory=muster-trust
RuntimeDirectoryPreserve=yes
UMask=0022
ExecStart=/bin/sh -c 'cat {authorities} >{file} 2>/dev/null; exec cat {ca} >>{file}'
"""


def render_unit(template: str, variables: Mapping[str, Any]) -> str:
    """Render the unit's template, the built-in one or the user's own.

    Raises ValueError naming the line where the template is wrong or asks for something that is not there.
    """
    try:
        return _compiled(template).render(variables)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    except Exception as error:  # noqa: BLE001  (a template may do anything, such as divide by zero)
        raise ValueError(f"line {_line(error)}: {error}") from None


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    """Compiling takes far longer than rendering, and a fleet has one template for all its agents."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(unit_word=unit_word, unit_words=unit_words, unit_text=unit_text)
    return environment.from_string(template)


def _line(error: BaseException) -> int:
    """The line of the template in which it failed; Jinja puts the template's own frames into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == "<template>"), 1)
