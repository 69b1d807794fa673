# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools: the hosts that an agent may run on, as Ansible's host patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.loader import lookup_loader


def joined(patterns: Sequence[str]) -> str:
    """A list of patterns as one, as a play takes it: Ansible splits by one of the two signs, never by both."""
    return (":" if any(":" in one for one in patterns) else ",").join(patterns)


def pool_hosts(pattern: str, loader: Any, templar: Any, variables: Mapping[str, Any]) -> list[str]:
    """The hosts of one pool, over the whole inventory whatever --limit says."""
    lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=loader, templar=templar)
    return list(lookup.run([pattern], variables=dict(variables)))
