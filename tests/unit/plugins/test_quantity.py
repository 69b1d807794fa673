# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory and CPU in Kubernetes' notation."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.plugin_utils.quantity import cpu_percent, memory_bytes
from tests.unit.plugins.builders import few


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1Gi", 1073741824),
        ("512Mi", 536870912),
        ("64Ki", 65536),
        ("1Ti", 2**40),
        ("1.5Gi", 1610612736),
        ("1G", 10**9),
        ("200M", 200_000_000),
        ("5k", 5000),
        ("1T", 10**12),
        ("1048576", 1048576),
    ],
)
def test_memory(text: str, amount: int) -> None:
    assert memory_bytes(text) == amount


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("500m", 50),
        ("2", 200),
        ("0.5", 50),
        ("1500m", 150),
        ("1m", 1),
        ("0.001", 1),
        ("15m", 2),
        ("64", 6400),
    ],
)
def test_cpu(text: str, percent: int) -> None:
    assert cpu_percent(text) == percent


@pytest.mark.parametrize(
    "text", ["", "0", "0Gi", "-1Gi", "1GB", "1gi", "1 Gi", "Gi", "1Gi\n", "١Gi", "1e3", "much", ".5Gi"]
)
def test_what_is_no_memory_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 512Mi or 1Gi"):
        memory_bytes(text)


@pytest.mark.parametrize("text", ["", "0", "0m", "-1", "1 m", "m", "50%", "500M", "1\n", "half"])
def test_what_is_no_cpu_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 500m or 2"):
        cpu_percent(text)


@few
@example("0.5")
@given(st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4})?(Ki|Mi|Gi|Ti|k|M|G|T|m)?", fullmatch=True))
def test_no_limit_is_ever_nothing(text: str) -> None:
    for read in (memory_bytes, cpu_percent):
        with contextlib.suppress(ValueError):
            assert read(text) >= 1
