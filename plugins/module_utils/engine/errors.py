# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways in which the engine stops before anything was changed, each with its exit code (sysexits.h)."""

from __future__ import annotations


class EngineError(Exception):
    """A refusal with a message for people. Nothing was switched when it is raised.

    `kind` tells the controller what sort of refusal it is without parsing the message.
    """

    kind = "refused"
    exit_code = 1


class Unsupported(EngineError):
    """This host cannot run agents at all (no systemd, Python too old): other hosts are none the worse."""

    kind = "unsupported"
    exit_code = 69


class Busy(EngineError):
    """Another deploy holds the host's lock."""

    kind = "busy"
    exit_code = 75


class NoRoom(EngineError):
    """Too little disk space or too few inodes for what would be staged."""

    kind = "no_room"
    exit_code = 73
