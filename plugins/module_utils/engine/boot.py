# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The small unit that finishes an interrupted release: at the next boot, and at once when a release is killed."""

from __future__ import annotations

from . import systemd
from .files import make_directory, read_bytes, write
from .layout import Layout

UNIT = "muster-resume.service"
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
WantedBy=multi-user.target
"""


def ensure(layout: Layout) -> None:
    """Install and enable the unit where it is missing or differs."""
    path = layout.units / UNIT
    text = _TEXT.format(engine=layout.engine).encode()
    if read_bytes(path) != text:
        make_directory(path.parent)
        write(path, text)
        systemd.systemctl("enable", "--", UNIT)
