"""The walls of the house: who may know whom, how long things may be, what must not be in the tree."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
ENGINE_LINES = 4_420
PRODUCT = ("app", "jobs", "wsgi.py", "gunicorn.conf.py")

# One violation of each wall: where it is planted, the line, and what the report must then say.
PLANTED = {
    "down only": ("app/lib/planted.py", "import app.settings", "app.lib.planted -> app.settings"),
    "never sideways": ("app/home/planted.py", "import app.runs.routes", "app.home.planted -> app.runs.routes"),
    "rooms do not know jobs": ("app/home/planted_jobs.py", "import jobs", "app.home.planted_jobs -> jobs"),
    "the engine knows only lib": ("app/engine/planted.py", "import app.db", "app.engine.planted -> app.db"),
    "inner order": ("app/accounts/queries.py", "import app.accounts.service", "app.accounts.queries -> app.accounts.service"),
    "private models": ("app/runs/planted_models.py", "import app.videos.models", "app.runs.planted_models -> app.videos.models"),
    "private forms": ("app/runs/planted_forms.py", "import app.accounts.forms", "app.runs.planted_forms -> app.accounts.forms"),
    "private routes": ("app/home/planted_routes.py", "import app.accounts.routes", "app.home.planted_routes -> app.accounts.routes"),
    "front door": ("app/home/planted_engine.py", "import app.engine.store", "app.home.planted_engine -> app.engine.store"),
    "front door, from jobs": ("jobs/planted_engine.py", "import app.engine.store", "jobs.planted_engine -> app.engine.store"),
    "rq": ("app/home/planted_rq.py", "import rq", "app.home.planted_rq -> rq"),
    "openai": ("app/videos/planted_openai.py", "from openai import OpenAI", "app.videos.planted_openai -> openai"),
    "resend": ("jobs/planted_resend.py", "import resend", "jobs.planted_resend -> resend"),
    "flask_sock": ("app/web_planted/__init__.py", "import flask_sock", "app.web_planted -> flask_sock"),
}  # fmt: skip


def python_files(*places: str) -> list[Path]:
    """Every Python file of these folders and files."""
    found = [
        path for place in places for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    ]
    assert found
    return found


def tracked_files() -> list[Path]:
    """Every file that the repository tracks, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("This copy is no git repository, so it has no list of its files.")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import contracts of `folder`."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=folder, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)},
    )  # fmt: skip


def test_every_import_contract_is_kept():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy of the house with one violation planted for each wall."""
    copy = tmp_path_factory.mktemp("planted")
    for folder in ("app", "jobs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    settings = copy / "pyproject.toml"
    # The planted folder must stand on some storey, or the linter stops there (that, too, has its test below).
    settings.write_text(settings.read_text().replace('  "settings",\n', '  "web_planted",\n  "settings",\n', 1))
    for place, line, _ in PLANTED.values():
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        with (copy / place).open("a") as module:
            module.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    return re.sub(r"\s+", " ", done.stdout)


@pytest.mark.parametrize("wall", PLANTED)
def test_a_planted_violation_is_caught(report, wall):
    assert PLANTED[wall][2] in report


def test_a_new_folder_must_be_given_its_storey(tmp_path):
    for folder in ("app", "jobs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "app" / "newcomer").mkdir()
    (tmp_path / "app" / "newcomer" / "__init__.py").touch()
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "app.newcomer" in done.stdout


def test_every_room_keeps_its_models_forms_and_routes_to_itself():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = {module for contract in contracts for module in contract.get("protected_modules", ())}
    private = {
        f"app.{path.parent.name}.{path.stem}"
        for room in ("accounts", "videos")
        for path in (ROOT / "app" / room).iterdir()
        if path.stem in ("models", "forms", "routes")
    }
    assert private <= protected


def test_the_tests_know_the_engine_by_its_front_door_or_are_its_own():
    wrong = re.compile(r"^\s*(?:from|import) app\.engine\.(?!testing\b)", re.MULTILINE)
    elsewhere = [
        path
        for path in python_files("tests")
        if path.parent.name not in ("engine", "crash", "bench")
        and path.name != "schema.py"
        and wrong.search(path.read_text())
    ]
    assert not elsewhere


def test_no_file_is_longer_than_the_wall():
    places = ("app", "jobs", "tests", "migrations", "wsgi.py", "gunicorn.conf.py")
    files = [path for path in python_files(*places) if "versions" not in path.parts]
    long = {
        str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not long


def test_no_function_is_longer_than_the_wall():
    long = {}
    for path in python_files(*PRODUCT, "tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                words = ast.get_docstring(node) is not None  # a long docstring makes no long function
                length = node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if words else 0)
                if length > LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert not long


def lines_of_code(path: Path) -> int:
    """Count the lines that are not blank, comment or docstring (a statement over three lines is three)."""
    words = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                words.update(range(first.lineno, first.end_lineno + 1))
    empty = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    empty |= {tokenize.ENDMARKER, tokenize.ENCODING}
    code = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in empty:
                code.update(range(token.start[0], token.end[0] + 1))
    return len(code - words)


def test_lines_of_code_are_counted_without_blanks_comments_and_docstrings(tmp_path):
    path = tmp_path / "counted.py"
    path.write_text(
        '"""Not\nthis."""\n\n# nor this\nTEXT = """\nSELECT 1\n"""\n\n\ndef one():\n    """No."""\n    return TEXT  # yes\n'
    )
    assert lines_of_code(path) == 5


def test_the_engine_stays_small():
    files = [
        path for path in python_files("app/engine") if path.name != "testing.py"
    ]  # no process of the product loads it
    assert sum(map(lines_of_code, files)) <= ENGINE_LINES


def test_only_settings_reads_the_environment():
    reads = re.compile(r"\bos\.(environ|getenv)\b|from os import .*\b(environ|getenv)\b")
    readers = [path.relative_to(ROOT) for path in python_files(*PRODUCT) if reads.search(path.read_text())]
    assert sorted(str(path) for path in readers) == ["app/lib/environment.py", "app/settings.py"]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("an inline script", r"<script(?![^>]*\bsrc=)[^>]*>"),
        ("a style element", r"<style\b"),
        ("a style attribute", r"\sstyle\s*="),
        ("an event attribute", r"\son(click|change|submit|input|load|error|key\w+|mouse\w+)\s*="),
        ("a foreign address to load from", r"(?:src|href)=[\"']https?://(?![\"'{])[^\"']*\.(?:js|css|woff2?)\b"),
    ],
)
def test_no_page_has(what, pattern):
    """The content security policy would refuse it."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "templates").rglob("*.html")
        if "emails" not in path.parts  # mail programs know nothing else
        for match in re.finditer(pattern, path.read_text(), re.IGNORECASE)
    ]
    assert not found, f"{what} in {found}"


def test_the_tree_names_no_package_index_and_no_path_of_one_machine():
    words = (
        "pypi." + "org",
        "python" + "hosted",
        "npm" + "js.org",
        "/w" + "t/",
        "/opt/" + "tl",
        "/ro" + "ot/",
        "/wo" + "rk/",
    )
    wrong = re.compile("|".join(rf"(?<![\w.-]){re.escape(word)}" for word in words))
    found = []
    for path in tracked_files():
        if "static/vendor" in str(path) or path.name == "LICENSES.txt":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in wrong.finditer(text)]
    assert not found
