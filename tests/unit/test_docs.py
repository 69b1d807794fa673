# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No link of the documentation is dead, and what it tells people to type is there."""

from __future__ import annotations

import argparse
import functools
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.options import parser
from dev import ROOT, ansible_files, collection_pages, reference

PAGES = sorted(
    [ROOT / "README.md", ROOT / "src/README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")]
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def without_code(text: str) -> str:
    """Fences and code spans hold brackets that are no links."""
    return re.sub(r"```.*?^```$|`[^`\n]*`", "``", text, flags=re.DOTALL | re.MULTILINE)


@functools.cache
def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings, and those that are written out."""
    text = page.read_text("utf-8")
    found = set(re.findall(r'<a id="([^"]+)">', text))
    fenceless = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.+)$", fenceless, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)|<[^>]*>", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@each_page
def test_no_link_is_dead(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append(target)
    assert dead == []


@each_page
def test_playbooks_and_variables_that_it_names_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    names = set(re.findall(r"ansible-playbook (?:-\S+ )*(?!-)([\w./-]*\w)(?![\w.<])", text))
    names |= set(re.findall(r"(?<![\w/.-])playbooks/\w+\.yml", text))
    installed = {f"muster.agents.{path.stem}" for path in ansible_files.playbooks()}
    assert {name for name in names if name not in installed and not (ROOT / name).is_file()} == set()
    known = {*reference.load(reference.SCHEMAS / "fleet.schema.json")["properties"], *collection_pages._GIVEN}
    known |= {name for role in ansible_files.roles() for name in collection_pages._options(role)}
    assert set(re.findall(r"(?<=-e )'?\"?(\w+)=", text)) - known == set()


@each_page
def test_modules_and_commands_that_it_names_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    known = {
        path.stem for path in [*ansible_files.modules(), *ansible_files.playbooks(), *ansible_files.roles()]
    }
    assert set(re.findall(r"\bmuster\.agents\.(\w+)", text)) - known == set()
    (commands,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    told = set(re.findall(r"(?:^    |^# |^    # |`|; )muster ([a-z]+)", text, re.MULTILINE))
    assert told - set(commands.choices) == set()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= {
        "STAGE",
        *re.findall(r"[a-z-]+", re.search(r"^STAGES := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]),
    }
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) - targets == set()


def test_every_page_is_in_the_index() -> None:
    linked = set()
    for index in (ROOT / "docs/README.md", ROOT / "docs/how-to/README.md", ROOT / "docs/validation.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", index.read_text("utf-8")):
            linked.add((index.parent / target).resolve())
    pages = {page for page in PAGES if (ROOT / "docs") in page.parents} - {ROOT / "docs/README.md"}
    assert pages - linked == set()
