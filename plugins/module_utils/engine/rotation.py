# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""New secrets for agents that stay on the release they have: what a rotation wants, as a deploy would want it.

Stage, switch, gate and revert are the deploy's own. The manifest and the files are those of the current release, so that
nothing which waits in the fleet goes out with a rotation.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping

from . import manifest, releases, secret_files
from .compare import Change
from .errors import EngineError
from .files import remove
from .layout import Layout, workload_key
from .manifest import SECRETS, Manifest
from .reasons import NOTHING, SECRETS_ALTERED
from .request import Request, Wanted
from .state import State, load


def completed(layout: Layout, request: Request) -> Request:
    """The request with each agent's current release and all of its secrets: those given, and the host's for the others.

    Raises EngineError where an agent's release or one of its other secrets is not there as it was released.
    """
    if not request.rotate:
        return request
    state, wanted = load(layout), {}
    for name in request.rotate:
        key = workload_key("agent", name)
        document = manifest.read(layout, key, releases.current(layout, state, key) or "")
        try:
            values = _values(layout, state, document, request.secrets.get(key, {}))
            texts = releases.texts(layout, document)
        except (EngineError, OSError, ValueError) as error:
            what = "be restarted as it is" if request.restart else "be given new secrets"
            raise EngineError(f"{name} cannot {what}: {error}; deploy.yml puts it right") from None
        wanted[key] = Wanted(document, texts, values)
    secrets = {key: one.secrets for key, one in wanted.items()}
    return dataclasses.replace(request, wanted=wanted, secrets=secrets)


def _values(layout: Layout, state: State, document: Manifest, given: Mapping[str, str]) -> dict[str, str]:
    others = sorted(set(document.secrets) - set(given))
    if others and not secret_files.intact(layout, state, document.key):
        # What somebody wrote there by hand is not to become what was released.
        raise EngineError(f"{secret_files.place(layout, document)} was changed by hand")
    values = {**(secret_files.read(layout, document.key) if others else {}), **given}
    missing = [name for name in others if name not in values]
    if missing:
        raise EngineError(f"{', '.join(missing)} is not on this host any more")
    return {name: values[name] for name in document.secrets}


def narrowed(request: Request, changes: list[Change]) -> list[Change]:
    """In a rotation only new secrets are a reason; whatever else differs waits for a deploy."""
    for change in changes if request.rotate else ():
        if not {SECRETS, SECRETS_ALTERED} & set(change.reasons):
            change.action = NOTHING
    return changes


def refusals(layout: Layout, request: Request, pending: Iterable[Change]) -> dict[str, str]:
    """name → why, for agents that could not be started again on the release that they have."""
    if not request.rotate:
        return {}
    hash_file, found = releases.hasher(), {}
    for change in pending:
        if damage := releases.damage(layout, change.manifest, hash_file):
            found[change.name] = f"could not be started again: {damage}; deploy.yml puts it right"
    return found


def sweep(layout: Layout, keys: Iterable[str]) -> None:
    """Remove what lies beside the secrets of these agents and may hold the old ones, such as an editor's copy."""
    known = load(layout).workloads
    owned = {path for key in known for path in (layout.secrets_file(key), layout.credentials(key))}
    for key in keys:
        ours = (layout.secrets_file(key).name, layout.credentials(key).name)
        beside = {
            path for name in ours for glob in (f"{name}?*", f".{name}*") for path in layout.secrets.glob(glob)
        }
        inside = {*layout.credentials(key).glob("*")} - {*secret_files.files(layout, key)}
        for left in (beside - owned) | inside:
            with contextlib.suppress(OSError):
                remove(left)
