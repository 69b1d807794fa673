# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an earlier run checked and found nothing in, so that the next one need not look again, nor load what looks.

A file in the user's cache holds digests of what was checked, how, and of the code that did it: with other code, another schema or
another config nothing in it counts. It may be removed at any time. Only the absence of findings is remembered, never a text.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ansible_collections.muster.agents.plugins.plugin_utils.literal_secrets import Finding

_Found = TypeVar("_Found")
_HERE = Path(__file__).resolve().parent
# Whatever decides over a finding.
_CODE = ("checked_before.py", "literal_secrets.py", "schema_check.py")
_MOST_BYTES = 4 << 20  # some 64,000 digests, two for each config; then it begins anew


def cache_directory() -> Path:
    """The collection's own folder in the user's cache."""
    return _folder(os.environ.get("XDG_CACHE_HOME"))


@functools.cache  # asked for each config
def _folder(cache_home: str | None) -> Path:
    return Path(cache_home or Path.home() / ".cache") / "muster"


def findings(kind: str, subject: object, look: Callable[[], Iterable[_Found]]) -> list[_Found]:
    """What `look` finds in the subject; nothing, without a look, where it found nothing in the same before.

    `subject`: plain data whose `repr` tells all that `look` goes by, beside the code of the checks and the collection's schemas.
    """
    digest = hashlib.sha256(f"{_checks()} {kind} {subject!r}".encode("utf-8", "surrogatepass")).hexdigest()
    path = cache_directory() / "checked"
    if digest in _known(path):
        return []
    found = list(look())
    if not found:
        _remember(path, digest)
    return found


def secrets(document: Any, prose: frozenset[str] = frozenset()) -> list[Finding]:
    """The literal secrets in a document, as `literal_secrets.find` tells of them."""

    def look() -> Iterable[Finding]:
        # Its patterns take longer to compile than all else here takes.
        from ansible_collections.muster.agents.plugins.plugin_utils import literal_secrets

        return literal_secrets.find(document, prose)

    return findings("secrets", (document, sorted(prose)), look)


@functools.cache
def _checks() -> str:
    """The digest of the code of the checks and of the collection's schemas."""
    files = [*(_HERE / name for name in _CODE), *sorted((_HERE / "schemas").iterdir())]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


@functools.cache
def _known(path: Path) -> set[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return set(path.read_text("ascii").split())
    return set()


def _remember(path: Path, digest: str) -> None:
    """One line, in one write, so that runs at the same time do not mix. Where it cannot be written, the next run looks again."""
    _known(path).add(digest)
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            flags |= os.O_TRUNC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, f"{digest}\n".encode())
        finally:
            os.close(descriptor)
