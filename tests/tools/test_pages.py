"""What the pages on tools say of commands, checks, metrics and events is so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import partner_auth
from partner_auth import events
from partner_auth.cli import COMMANDS
from partner_auth.cli._parser import parser_of

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "docs" / "tools"
PACKAGE = Path(partner_auth.__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def typed():
    """Return the commands that the pages show, as they would be typed."""
    for page in PAGES:
        for block in re.findall(
            r"^```console\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            for line in re.findall(r"partner-auth ((?:[\w$./:=-]+ ?)+)", block):
                yield line.strip()


def row(page, name):
    """Return the row of a table that begins with this name."""
    (found,) = re.findall(rf"^\| `{name}` \|.*", (TOOLS / page).read_text(), re.MULTILINE)
    return found


@pytest.mark.parametrize("line", sorted(set(typed())))
def test_each_command_of_a_page_can_be_typed(line):
    """The parser takes it as it stands."""
    assert parser_of(COMMANDS).parse_args(line.split())


def test_the_page_names_every_command():
    """And nothing else."""
    table = (TOOLS / "command-line.md").read_text().partition("\nResults go")[0]
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert names == [command.name for command in COMMANDS]


def test_the_page_names_every_check():
    """By the word that the report shows."""
    text = "".join(file.read_text() for file in (PACKAGE / "cli").glob("_check_*.py"))
    made = set(re.findall(r'(?:ok|warn|fail|Finding)\(\s*"([\w ]+)"', text))
    page = (TOOLS / "command-line.md").read_text().partition("| check |")[2]
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert {name for names in rows for name in re.findall(r"`([\w ]+)`", names)} == made


def test_the_page_names_every_metric():
    """With what its instrument is called."""
    source = (PACKAGE / "opentelemetry.py").read_text()
    made = re.findall(r'"(partner_auth\.[a-z_]+\.[a-z_.]+)"', source)
    assert made
    for name in made:
        assert row("observability.md", re.escape(name))


@pytest.mark.parametrize("kind", events.Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_the_page_names_every_event_with_every_field(kind):
    """Nobody has to read the source."""
    shown = row("observability.md", kind.__name__)
    for field in dataclasses.fields(kind):
        assert field.name == "source" or f"`{field.name}`" in shown
