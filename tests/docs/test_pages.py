"""Every Python block of README and docs runs, and what the pages say about files is true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from os import environ
from pathlib import Path

import pytest

import partner_auth

ROOT = Path(__file__).parents[2]
PACKAGE = Path(partner_auth.__file__).parent.parent
RUNNER = Path(__file__).with_name("run_page.py")
MISSING = 77
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([a-z]+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_id(page: Path) -> str:
    """Name a page as people do."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the page's blocks in one of these languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python", "json")], ids=page_id
)
def test_every_block_of_a_page_runs(page):
    """In turn, in one namespace, warnings as errors; and what is printed is what the page shows."""
    done = subprocess.run(
        [sys.executable, "-W", "error", RUNNER, page],
        env=environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode == MISSING:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_block_names_its_language(page):
    """A fence without a language is run by nobody."""
    fences = re.findall(r"^```(\w*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    known = {"python", "text", "console", "json", "toml", "hcl", "yaml"}
    assert set(fences[0::2]) <= known
    assert set(fences[1::2]) <= {""}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_to_a_file_leads_somewhere(page):
    """Links between pages are relative, and so right in the repository and on the site."""
    text = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """Return the anchors that both GitHub and the site make of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", h).strip().lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_make_target_of_a_page_exists(page):
    """`$ make demo` can be typed as it stands."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    asked = re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text(encoding="utf-8"))
    assert set(asked) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_toml_block_parses(page):
    """It can be pasted into pyproject.toml."""
    for text in blocks(page, "toml"):
        tomllib.loads(text)


def test_every_page_is_in_the_site_s_navigation():
    """No page is lost."""
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    there = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert set(listed) == there


def test_the_readme_is_one_page():
    """A newcomer decides in a minute."""
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 100
