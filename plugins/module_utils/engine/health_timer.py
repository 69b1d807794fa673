# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timer that looks after the agents of this host. It is there where agents are, and goes with the last of them."""

from __future__ import annotations

from . import systemd
from .errors import EngineError
from .files import make_directory, read_bytes, remove, write
from .health import Health
from .layout import KINDS, Layout
from .state import State

TIMER, SERVICE = "muster-health.timer", "muster-health.service"
TICK = "tick"  # in state.json, of a workload: how often its release wants somebody to look, in seconds
_TIMER = """# Made by muster. Looks after the agents of this host.
[Unit]
Description=muster: look after the agents every {tick:g} s

[Timer]
OnActiveSec={tick:g}s
OnUnitActiveSec={tick:g}s
AccuracySec=250ms

[Install]
WantedBy=timers.target
"""
_SERVICE = """# Made by muster. Started by muster-health.timer.
[Unit]
Description=muster: look after the agents

[Service]
Type=oneshot
ExecStart={engine} _health
SyslogIdentifier=muster-health
# A round is no news. What it finds is said as notice or worse.
LogLevelMax=notice
TimeoutStartSec=600
"""


def ensure(layout: Layout, state: State) -> str:
    """Have the timer as this state wants it; "" or a warning. Where nothing differs two files are read, and no more."""
    ticks = [
        float(entry.get(TICK) or Health().tick)
        for key, entry in state.workloads.items()
        if key.startswith(KINDS["agent"] + "/")
    ]
    try:
        if ticks:
            _put(layout, min(ticks))
        else:
            _remove(layout)
    except (EngineError, OSError) as error:
        return f"{TIMER}: {error}; nobody looks after the agents of this host until the next deploy"
    return ""


def _put(layout: Layout, tick: float) -> None:
    if (layout.units / TIMER).is_symlink():
        return  # masked: somebody does not want it
    texts = {SERVICE: _SERVICE.format(engine=layout.engine), TIMER: _TIMER.format(tick=tick)}
    if all(read_bytes(layout.units / name) == text.encode() for name, text in texts.items()):
        return
    make_directory(layout.units)
    for name, text in texts.items():
        write(layout.units / name, text.encode())
    systemd.systemctl("enable", "--", TIMER)
    systemd.systemctl("restart", "--", TIMER)


def _remove(layout: Layout) -> None:
    if read_bytes(layout.units / TIMER) is None and read_bytes(layout.units / SERVICE) is None:
        return
    systemd.run("systemctl", "disable", "--now", "--", TIMER)
    remove(layout.units / TIMER)
    remove(layout.units / SERVICE)
    systemd.daemon_reload()
