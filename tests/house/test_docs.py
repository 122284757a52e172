"""The documentation is true where that can be checked: links lead somewhere, commands and settings exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.cli import cli
from tests.house.test_deployment import known_settings

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MADE_AT_THE_END = {"home.png", "video.png", "library.png"}  # screenshots


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    lost = [
        target
        for target in targets
        if "://" not in target and not (page.parent / target).exists() and Path(target).name not in MADE_AT_THE_END
    ]
    assert not lost


def test_every_command_that_is_named_exists():
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"`throughline ([a-z-]+)", text))
    assert named - {"up"} <= set(cli.commands)
    makes = set(re.findall(r"`make ([a-z-]+)", text))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert makes <= targets


def test_every_command_is_described():
    described = (ROOT / "docs/reference/commands.md").read_text()
    for name, command in cli.commands.items():
        assert command.hidden or f"`{name}" in described


def test_every_setting_that_a_page_names_exists():
    # Names in capitals with an underscore, in code; tests' and other programs' own are not settings of ours.
    others = {"DATABASE_PASSWORD", "THROUGHLINE_REQUIRE_BROWSER"}
    for page in PAGES:
        named = set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page.read_text()))
        assert {name.removesuffix("_FILE") for name in named} - others <= known_settings() | {"X"}, page
