"""Every promise of docs/reference/promises.md has a test: by name, in the test files as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "promises.md"
NAME = re.compile(r"`([^`]+)`")


def promises(text):
    """Return (promise, modules, tests) of each row of the page's tables."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert all(len(row) == 3 for row in rows), "a row has three cells: promise, module, tests"
    titles = ("Promise", "---")
    return [(row[0], NAME.findall(row[1]), NAME.findall(row[2])) for row in rows if row[0] not in titles]


def known_tests():
    """Return the name of every test function of the tree."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def amiss(text):
    """Return a sentence for each promise that nothing keeps."""
    known = known_tests()
    for promise, modules, tests in promises(text):
        if not tests:
            yield f"{promise} No test is named."
        yield from (f"{promise} There is no {name}." for name in tests if name not in known)
        if not modules:
            yield f"{promise} No module is named."
        yield from (f"{promise} There is no {name}." for name in modules if not (ROOT / name).is_file())


def test_every_promise_has_a_test_that_exists_and_a_module_that_keeps_it():
    text = PAGE.read_text(encoding="utf-8")
    assert len(promises(text)) > 100
    assert list(amiss(text)) == []


def test_a_promise_without_a_test_or_with_one_that_is_gone_is_noticed():
    found = list(amiss("| Nothing is lost. | `app/engine/none.py` | |\n| All is well. | `app/db.py` | `test_gone` |"))
    assert found == [
        "Nothing is lost. No test is named.",
        "Nothing is lost. There is no app/engine/none.py.",
        "All is well. There is no test_gone.",
    ]
