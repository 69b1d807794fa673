# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The failures that the agent tells somebody about, each in the words that person reads."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(Exception):
    """The config or the environment is wrong. `problems` holds every line to print, none of them secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class StartError(Exception):
    """The agent cannot start: said in one log line, then exit status 1."""


class TaskError(Exception):
    """A task failed. `code` is one of the protocol's error codes, `message` is safe to publish."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LlmError(Exception):
    """The model did not answer. The message names the provider and the reason, never the request."""


class ToolError(Exception):
    """A tool call failed in a way that the model is told about, so that it can try something else."""


class ToolBroken(Exception):
    """A tool cannot work at all (such as a refused key): the task fails, trying again is no use."""
