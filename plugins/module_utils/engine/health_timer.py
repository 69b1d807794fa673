# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The timer that has the agents of this host looked after. It is there where agents are, and goes with the last of them.

What it starts goes round every few seconds for some minutes, and ends: to start Python for each round would cost more than the
rounds do, and fill the journal with the words of its start and end.
"""

from __future__ import annotations

from . import systemd
from .errors import EngineError
from .files import make_directory, read_bytes, remove, write
from .layout import KINDS, Layout
from .state import State

TIMER, SERVICE = "muster-health.timer", "muster-health.service"
SECONDS = 600.0  # that it goes round before it ends and is started anew
_TARGET = "timers.target"
_TIMER = f"""# Made by muster. Has the agents of this host looked after.
[Unit]
Description=muster: look after the agents

[Timer]
OnActiveSec=5s
OnUnitInactiveSec=5s
AccuracySec=1s

[Install]
WantedBy={_TARGET}
"""
_SERVICE = """# Made by muster. Started by muster-health.timer, ends by itself after ten minutes.
[Unit]
Description=muster: look after the agents

[Service]
ExecStart={engine} _health
SyslogIdentifier=muster-health
# That it starts and ends is no news; what it finds is said as notice or worse.
LogLevelMax=notice
RuntimeMaxSec={most:g}
"""


def ensure(layout: Layout, state: State) -> str:
    """Have the timer as this state wants it; "" or a warning. Where nothing differs two files are read and a link is found."""
    try:
        if any(key.startswith(KINDS["agent"] + "/") for key in state.workloads):
            _put(layout)
        else:
            _remove(layout)
    except (EngineError, OSError) as error:
        return f"{TIMER}: {error}; nobody looks after the agents of this host until the next deploy"
    return ""


def _put(layout: Layout) -> None:
    if (layout.units / TIMER).is_symlink():
        return  # masked: somebody does not want it
    texts = {SERVICE: _SERVICE.format(engine=layout.engine, most=2 * SECONDS), TIMER: _TIMER}
    same = all(read_bytes(layout.units / name) == text.encode() for name, text in texts.items())
    if same and systemd.wanted_by(layout.units, _TARGET, TIMER):  # a run may have ended before it was enabled
        return
    make_directory(layout.units)
    for name, text in texts.items():
        write(layout.units / name, text.encode())
    systemd.systemctl("enable", "--", TIMER)
    systemd.systemctl("restart", "--", TIMER)


def _remove(layout: Layout) -> None:
    if read_bytes(layout.units / TIMER) is None and read_bytes(layout.units / SERVICE) is None:
        return
    systemd.run("systemctl", "disable", "--", TIMER)
    systemd.run("systemctl", "stop", "--", TIMER, SERVICE)
    remove(layout.units / TIMER)
    remove(layout.units / SERVICE)
    systemd.daemon_reload()
