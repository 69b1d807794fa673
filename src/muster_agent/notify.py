# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd's notification protocol (sd_notify): a datagram of NAME=value lines to $NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

# Until what the manager had no room for is sent again, in seconds.
_AGAIN = 0.2


class Notifier:
    """Tells the service manager how the agent is; does nothing where there is none. Belongs to the event loop.

    Its socket holds few messages where the kernel's limit is low, and many agents that start at once fill it: a READY=1 that
    were lost then would have the manager wait for one until the start has failed.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        address = env.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of Linux's abstract socket names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_interval = _watchdog_interval(env)
        self._unsent: dict[str, str] = {}
        self._again: asyncio.TimerHandle | None = None

    def ready(self, status: str) -> None:
        self._tell(READY="1", STATUS=status)

    def status(self, status: str) -> None:
        self._tell(STATUS=status)

    def stopping(self, status: str) -> None:
        self._tell(STOPPING="1", STATUS=status)

    async def ping(self) -> None:
        """Pings the manager's watchdog until cancelled: a stuck event loop stops doing so."""
        while self._watchdog_interval is not None:
            self._tell(WATCHDOG="1")
            await asyncio.sleep(self._watchdog_interval)
        await asyncio.Event().wait()  # nobody watches, for ever

    def _tell(self, **news: str) -> None:
        if self._address:
            self._unsent.update(news)
            self._send()

    def _send(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        message = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(message.encode(), self._address)
        except BlockingIOError:
            self._again = asyncio.get_running_loop().call_later(_AGAIN, self._send)
            return
        except OSError:
            # A manager that is not there is no reason to fail: its own timeouts judge the agent.
            pass
        self._unsent.clear()


def _watchdog_interval(env: Mapping[str, str]) -> float | None:
    """Seconds between pings: half of what the manager allows, or None when it does not watch this process."""
    microseconds = env.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if env.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
