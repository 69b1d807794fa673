# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The small unit that finishes an interrupted release: at the next boot, and at once when a release is killed."""

from __future__ import annotations

from . import systemd
from .files import make_directory, read_bytes, write
from .layout import Layout

UNIT = "muster-resume.service"
_TARGET = "multi-user.target"
_TEXT = """# Made by muster. Reverts a release of agents that a power loss or a kill left unfinished.
[Unit]
Description=muster: finish an interrupted release of agents
Wants=network-online.target
After=network-online.target mosquitto.service

[Service]
Type=oneshot
ExecStart={engine} resume
# Killed itself, it begins again; what it says with an exit status is for a person.
Restart=on-abnormal
RestartSec=2

[Install]
WantedBy={target}
"""


def ensure(layout: Layout) -> None:
    """Install the unit where it is missing or differs, and enable it where it is not: a run may have ended in between."""
    path = layout.units / UNIT
    text = _TEXT.format(engine=layout.engine, target=_TARGET).encode()
    same = read_bytes(path) == text
    if not same:
        make_directory(path.parent)
        write(path, text)
    if not same or not systemd.wanted_by(layout.units, _TARGET, UNIT):
        systemd.systemctl("enable", "--", UNIT)
