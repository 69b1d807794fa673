# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bytes to and from the command `muster` on a host: through a pipe, so none of them is in an argument, a file or a log."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.muster.agents.plugins.module_utils.engine.install import COMMAND
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import HostRefused, reaching


def muster(action: ActionBase, command: str, told: bytes) -> str:
    """What `muster <command>` prints when it is told this. Raises HostRefused with its own words.

    Connection plugins take what is told as it is only without a terminal: it must not be empty.
    """
    context = action._connection._play_context
    said, context.no_log = context.no_log, True  # at -vvv the output of every command would be shown
    try:
        with reaching():
            done = action._low_level_execute_command(f"{COMMAND} {command}", in_data=told)
    except AnsibleError as error:
        raise HostRefused(f"its connection cannot carry a backup: {error}") from None
    finally:
        context.no_log = said
    if done["rc"] != 0:
        lines = [line for line in done["stderr"].splitlines() if line.strip()] or [
            f"exit status {done['rc']}"
        ]
        raise HostRefused(lines[-1])
    return str(done["stdout"])
