# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a page is read: which fence is a file, a command or output, and what counts as the output that it shows."""

from __future__ import annotations

import pytest
from page import Block, blocks, missing

PAGE = """\
# Title

`a/b.yml`:

```yaml
x: 1
```

```sh
true
```

<!-- exits with 2 -->
```sh
false
```

```text
no
```
"""


def test_a_fence_is_a_file_or_commands_or_output() -> None:
    assert list(blocks(PAGE)) == [
        Block(5, "yaml", "x: 1\n", file="a/b.yml"),
        Block(9, "sh", "true\n"),
        Block(14, "sh", "false\n", status=2),
        Block(18, "text", "no\n"),
    ]


SHOWN = """\
NAME     RELEASE   SINCE             UP   PORT
greeter  8d9104aa  2026-11-21 14:36  36s  20000
done by …
"""


@pytest.mark.parametrize(
    ("output", "absent"),
    [
        (
            "PLAY [x]\nNAME RELEASE SINCE UP PORT\ngreeter 01234567 2027-01-02 03:04 1m02s 20417\ndone by me",
            "",
        ),
        ("NAME RELEASE SINCE UP PORT\ngreeter - 2027-01-02 03:04 2s 20000\ndone by me", "greeter"),
        ("greeter 01234567 2027-01-02 03:04 2s 20000\nNAME RELEASE SINCE UP PORT\ndone by me", "greeter"),
        ("NAME RELEASE SINCE UP PORT\ngreeter 01234567 2027-01-02 03:04 2s 20000", "done"),
    ],
)
def test_shown_output_is_found_with_other_times_and_ids_in_the_order_shown(output: str, absent: str) -> None:
    assert missing(SHOWN, output).partition(" ")[0] == absent
