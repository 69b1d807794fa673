# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbered steps with their seconds: one line each, for people and for logs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable


class Steps:
    """Prints ``[2/7] Host image … present  0.1 s``; on a terminal also what a running step is at."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._head = ""

    def step(self, title: str, deed: Callable[[], str]) -> None:
        """Do one step; its line ends with what the deed returns and the seconds it took."""
        self.done += 1
        self._head = f"[{self.done}/{self.total}] {title}"
        print(f"{self._head} … ", end="", flush=True)
        started = time.monotonic()
        try:
            outcome = deed()
        except BaseException:
            self._rewrite("failed")
            print(flush=True)
            raise
        self._rewrite(f"{outcome}  {time.monotonic() - started:.1f} s")
        print(flush=True)

    def at(self, detail: str) -> None:
        """Show on a terminal what the running step is at, over its line; elsewhere nothing."""
        if sys.stdout.isatty():
            self._rewrite(detail)

    def _rewrite(self, text: str) -> None:
        if not sys.stdout.isatty():
            print(text, end="", flush=True)
            return
        line = f"{self._head} … {text}"
        print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
