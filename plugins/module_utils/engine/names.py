# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which workloads a person means: by fleet key, by instance, or by agent id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .errors import EngineError
from .layout import KINDS
from .state import State

_AGENTS = KINDS["agent"] + "/"


def name_of(key: str) -> str:
    """`agents/writer-1` → `writer-1`."""
    return key.partition("/")[2]


def kind_of(key: str) -> str:
    """`agents/writer-1` → `agent`."""
    return next(kind for kind, directory in KINDS.items() if directory == key.partition("/")[0])


def keys_of(state: State, names: Iterable[str]) -> list[str]:
    """Keys of what is here under these names; `writer` means all its instances. Names of nothing are passed over.

    A service of the host's own (the broker) is meant where no agent has the name.
    """
    found: set[str] = set()
    for name in names:
        agents = {key for key in state.workloads if key.startswith(_AGENTS) and name in known_as(state, key)}
        found |= agents or {key for key in state.workloads if name in (key, name_of(key))}
    return sorted(found)


def known_as(state: State, key: str) -> set[str]:
    entry = state.workloads[key]
    return {key, name_of(key), str(entry.get("base") or ""), str(entry.get("agent_id") or "")} - {""}


def words(state: State) -> list[str]:
    """Everything that a person may say for what is here, for the shell's completion."""
    return sorted(
        {name_of(key) for key in state.workloads}
        | {str(one["base"]) for one in state.workloads.values() if one.get("base")}
    )


def require(state: State, names: Iterable[str]) -> list[str]:
    """As `keys_of`, and raises EngineError for a name of nothing, with what there is."""
    unknown = [name for name in names if not keys_of(state, [name])]
    if unknown:
        raise EngineError(_nobody(state, unknown[0]))
    return keys_of(state, names)


def require_one(state: State, name: str) -> str:
    """The one key that a name means. Raises EngineError where it means none or several."""
    keys = require(state, [name])
    if len(keys) > 1:
        raise EngineError(f"{name!r} is {len(keys)} agents here; name one: {', '.join(map(name_of, keys))}")
    return keys[0]


def _nobody(state: State, name: str) -> str:
    here = sorted(map(name_of, state.workloads))
    if not here:
        return f"{name!r} is not on this host; nothing is, deploy to it first"
    every = sorted({one for key in state.workloads for one in known_as(state, key)})
    near = difflib.get_close_matches(name, every, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name!r} is not on this host; here are {', '.join(here)}{hint}"
