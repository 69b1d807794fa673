# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which values a secret may have: one line of characters that can be seen, which then arrives byte for byte.

The same for every backend, so that a value never stands in the way of another one.
"""

from __future__ import annotations

from collections.abc import Mapping

# Linux passes no longer text to a program: MAX_ARG_STRLEN, of `NAME=value` and the byte that ends it.
LONGEST = 128 * 1024


def complaint(name: str, value: object) -> str:
    """What is wrong with a secret's value, in words that follow its name and never hold the value; "" where nothing is."""
    if isinstance(value, (bool, bytes, Mapping, list, tuple)) or value is None:
        return f"must be a text or a number, not {_kind(value)}"
    text = str(value)
    if not text.strip():
        return "is empty; a lookup of an environment variable that is not set gives that, too"
    if len(text.splitlines()) > 1 or text.splitlines()[0] != text:
        return "holds a line break; end a YAML block with `|-`, and give a text of several lines encoded, as by `b64encode`"
    if unseen := next((one for one in text if not one.isprintable()), ""):
        return f"holds U+{ord(unseen):04X}, which cannot be seen: probably it came along when the value was copied"
    if len(f"{name}={text}".encode()) >= LONGEST:
        return f"is longer than Linux passes to a program ({LONGEST // 1024} KiB with its name)"
    return ""


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false; quote it"
    return "bytes" if isinstance(value, bytes) else "a structure"
