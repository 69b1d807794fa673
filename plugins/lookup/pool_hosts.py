# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts of several pools, each by itself: joined into one pattern, what one leaves out would be missing from all."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pool_hosts
author:
  - muster.agents contributors (@muster-agents)
short_description: The hosts that agents may run on
version_added: 0.5.0
description:
  - The hosts of several pools, as C(fleet.<agent>.hosts) names them; each pool is looked up by itself, over the whole inventory, whatever
    C(--limit) says.
options:
  _terms:
    description: Pools, each a host pattern or a list of them.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts of two pools
  ansible.builtin.debug:
    msg: "{{ query('muster.agents.pool_hosts', 'agents', ['writers', 'judges', '!spare']) }}"
"""

RETURN = r"""
_list:
  description: Names of hosts, each once, in the order of the pools and of the inventory.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.muster.agents.plugins.plugin_utils.pools import joined, pool_hosts


class LookupModule(LookupBase):
    def run(
        self, terms: Sequence[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        found: dict[str, None] = {}
        for term in terms:
            patterns = [term] if isinstance(term, str) else term
            if not isinstance(patterns, Sequence) or not all(isinstance(one, str) for one in patterns):
                raise AnsibleLookupError(
                    f"{term!r} is neither a host pattern nor a list of them (fleet.<agent>.hosts)"
                )
            found.update(
                dict.fromkeys(pool_hosts(joined(patterns), self._loader, self._templar, variables or {}))
            )
        return list(found)
