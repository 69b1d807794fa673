# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a workload has to change, and what its service needs for that: words that the host and the controller share."""

from __future__ import annotations

from .manifest import SECRETS

# What a service needs, the least first.
NEEDS = NOTHING, RECORD, RELOAD, RESTART = "nothing", "record", "reload", "restart"

CREDENTIALS = "the key of all passwords"
DRIFT = "drift: "  # begins every reason that only a change by hand explains
RUNTIME_ALTERED, RUNTIME_GONE = DRIFT + "runtime program altered", DRIFT + "the runtime is gone"
MASKED = DRIFT + "masked"
SECRETS_ALTERED = DRIFT + SECRETS
NOT_RECORDED = "not recorded"
BROKER_RESTARTED = "the broker was restarted"
OWED = "mended, not restarted since"
