"""What cannot be run here is at least true: every name in the Docker files and .env.example exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.cli import cli, running_environment
from app.embedded.errors import CannotStart
from app.embedded.folder import DataFolder
from app.lib.environment import SettingsError, environment, load_env_file
from app.settings import Settings
from tests.house.conftest import clean_environment

ROOT = Path(__file__).resolve().parent.parent.parent


class Recorder(dict):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        super().__init__(values or {})
        self.asked: set[str] = set()

    def get(self, name: str, default: object = None) -> object:
        self.asked.add(name)
        return super().get(name, default)


def known_settings() -> set[str]:
    asked = Recorder()
    Settings.from_environment(asked)
    return {name for name in asked.asked if not name.endswith("_FILE")}


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_example_lists_every_setting_and_no_other():
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == known_settings()


def test_the_example_shows_the_defaults():
    text = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z][A-Z0-9_]+)=(.+)$", text, re.MULTILINE))
    for name in ("DATABASE_URL", "REDIS_URL", "ALLOWED_EMAIL_DOMAINS", "ADMIN_EMAILS"):
        del shown[name]  # examples, not defaults
    plain, written = (
        Settings.from_environment({"THROUGHLINE_DATA": shown["THROUGHLINE_DATA"]}),
        Settings.from_environment(shown),
    )
    assert written == plain


def test_every_service_runs_a_command_that_exists(compose):
    ours = {name: service for name, service in compose["services"].items() if service.get("build")}
    assert set(ours) == {"web", "worker", "upkeep", "migrate"}
    for service in ours.values():
        assert service["command"][0] in cli.commands


def test_every_variable_of_our_services_is_a_setting(compose):
    for name in ("web", "worker", "upkeep", "migrate"):
        assert set(compose["services"][name]["environment"]) <= known_settings()


def test_services_depend_on_services_that_exist_and_say_when_they_are_healthy(compose):
    for service in compose["services"].values():
        for name, on in service.get("depends_on", {}).items():
            assert name in compose["services"]
            assert on["condition"] != "service_healthy" or "healthcheck" in compose["services"][name]


def test_the_database_is_postgresql_18_with_pgvector_and_hints_go_over_valkey(compose):
    assert compose["services"]["database"]["image"] == "pgvector/pgvector:pg18"
    assert compose["services"]["valkey"]["image"].startswith("valkey/valkey:")
    assert {volume.split(":")[0] for volume in compose["services"]["database"]["volumes"]} <= set(compose["volumes"])


def test_the_settings_of_the_services_start_in_production(compose):
    given = {"SECRET_KEY": "x" * 40, "DATABASE_PASSWORD": "p", "RESEND_API_KEY": "re_x", "MAIL_FROM": "a@example.org"}

    def fill(text: str) -> str:
        return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: given.get(found[1], found[2] or ""), text)

    values = {name: fill(str(value)) for name, value in compose["services"]["web"]["environment"].items()}
    assert Settings.from_environment(values).is_production


def test_what_the_dockerfile_copies_exists_and_what_it_runs_too():
    text = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert len(copied) > 8
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in copied:
        assert (ROOT / name).exists()
        assert name not in ignored
    for folder in ("app", "jobs", "migrations", "templates", "static", "samples", "wsgi.py", "gunicorn.conf.py"):
        assert folder in copied
    assert 'ENTRYPOINT ["python", "-m", "app.cli"]' in text
    assert re.search(r'CMD \["(\w+)"\]', text)[1] in cli.commands


def test_the_lock_files_hold_hashes_and_no_address():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(packages) > 40
        assert all("==" in line and line.endswith("\\") for line in packages)
        assert text.count("--hash=sha256:") >= len(packages)


def test_ci_is_a_script_that_the_shell_can_read():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0


def test_make_help_lists_every_target():
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "bench", "format", "help"):
        assert f"make {target} " in said


def test_an_env_file_fills_in_what_the_environment_does_not_set(tmp_path, monkeypatch):
    monkeypatch.setenv("SESSION_DAYS", "7")
    for name in ("SIGNUP", "MAIL_FROM"):
        monkeypatch.setenv(name, "")  # so that both are put back afterwards
        monkeypatch.delenv(name)
    file = tmp_path / ".env"
    file.write_text("# a comment\n\nSESSION_DAYS=9\nexport SIGNUP=invite\nMAIL_FROM='Me <me@example.org>'\n")
    load_env_file(file)
    found = Settings.from_environment()
    assert (found.session_days, found.signup, found.mail_from) == (7, "invite", "Me <me@example.org>")


def test_a_bad_line_of_an_env_file_is_named(tmp_path):
    file = tmp_path / ".env"
    file.write_text("SIGNUP=open\nwhat is this\n")
    with pytest.raises(SettingsError, match=r"Line 2 of .* must look like NAME=value"):
        load_env_file(file)


def test_what_a_person_set_wins_over_what_up_would_choose(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://mine")
    monkeypatch.setenv("SECRET_KEY", "mine")
    monkeypatch.setenv("DATABASE_URL", "  ")
    found = environment({"REDIS_URL": "ours", "SECRET_KEY_FILE": "ours", "DATABASE_URL": "ours"})
    assert found["REDIS_URL"] == "redis://mine"
    assert "SECRET_KEY_FILE" not in found
    assert found["DATABASE_URL"] == "ours"


DATABASE, HINTS = "postgresql://me@db/name", "redis://hints"


@pytest.mark.parametrize(
    ("given", "running", "used"),
    [
        ({"DATABASE_URL": DATABASE, "REDIS_URL": HINTS}, None, (DATABASE, HINTS)),
        ({}, {"DATABASE_URL": "its", "REDIS_URL": "its"}, ("its", "its")),
        ({"DATABASE_URL": DATABASE}, {"REDIS_URL": "its"}, (DATABASE, "its")),
        ({"REDIS_URL": HINTS}, {"DATABASE_URL": "its"}, ("its", HINTS)),
        ({}, None, "DATABASE_URL and REDIS_URL are not set"),
        ({"DATABASE_URL": DATABASE}, None, "REDIS_URL is not set"),
        # It runs on a database of its own: its hints are none of this one's.
        ({"DATABASE_URL": DATABASE}, {"DATABASE_URL": "its", "REDIS_URL": "its"}, "REDIS_URL is not set"),
    ],
)
def test_a_command_takes_from_what_runs_here_exactly_what_is_not_set(tmp_path, monkeypatch, given, running, used):
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(name, given.get(name, ""))
    monkeypatch.setenv("THROUGHLINE_DATA", str(tmp_path))
    folder = DataFolder(tmp_path)
    if running:
        folder.open()
        folder.write_running({"environment": running})
    try:
        if isinstance(used, str):
            with pytest.raises(CannotStart, match=used):
                running_environment()
        else:
            found = running_environment()
            assert (found["DATABASE_URL"], found["REDIS_URL"]) == used
    finally:
        folder.close()


@pytest.mark.parametrize("command", [["migrate"], ["key", "create", "a@example.org"]], ids=" ".join)
def test_a_database_that_does_not_answer_is_a_sentence(command):
    nobody = {"DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/name", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *command], cwd=ROOT, env=clean_environment(**nobody),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "The database says: connection failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
