"""The `throughline` command. `up` runs everything on one machine; the rest runs the parts alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from app.embedded.errors import CannotStart
from app.embedded.folder import DataFolder
from app.lib.environment import SettingsError, environment, load_env_file
from app.settings import SERVICES, Settings, data_folder

ROOT = Path(__file__).resolve().parent.parent


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run Throughline: upload a talk, watch every step live, read and search what was said.

    Settings come from the environment and from a file `.env` in the current folder; `.env.example` lists them all.
    """


def main() -> None:
    """Run the command; what cannot work is said in a sentence, not in a traceback."""
    try:
        load_env_file(Path(".env"))
        cli()
    except (CannotStart, SettingsError) as error:
        click.echo(f"throughline: {error}", err=True)
        sys.exit(1)


@cli.command()
def up() -> None:
    """Start everything on this machine, and print where it is and how to sign in."""
    from app.embedded.up import Up

    Up(say=_say, data_dir=data_folder()).run()


@cli.command()
def web() -> None:
    """Run the web server alone (HOST, PORT, WEB_PROCESSES)."""
    _become("-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app")


@cli.command()
@click.option("--isolated", is_flag=True, help="Only workflows that have a process of their own for each run.")
def worker(*, isolated: bool) -> None:
    """Run one worker, which executes workflows. Start as many as you like, on any machine."""
    _become("-m", "jobs.worker", *(["--isolated"] if isolated else []))


@cli.command()
def upkeep() -> None:
    """Run upkeep, the engine's timekeeping. One is enough; more do no harm."""
    _become("-m", "jobs.upkeep")


@cli.command()
@click.option("--quiet", is_flag=True, help="Say nothing when there is nothing to do.")
def migrate(*, quiet: bool) -> None:
    """Bring the database up to date."""
    from app import schema

    with _in_app():
        done = schema.upgrade()
    if done or not quiet:
        click.echo(done or "The database is up to date.")


@cli.command()
def check() -> None:
    """Look at every part; each line is ok, or the sentence that mends it."""
    from app import health

    with _in_app():
        found = health.self_test()
    for one in found:
        click.echo(f"{'ok  ' if one.is_ok else 'FAIL'}  {one.name:<12} {one.sentence}")
    sys.exit(0 if all(one.is_ok for one in found) else 1)


@cli.group()
def key() -> None:
    """Make API keys."""


@key.command("create")
@click.argument("email")
def key_create(email: str) -> None:
    """Make an API key for EMAIL (and the person, when new); print the key alone."""
    from app.accounts import service
    from app.db import db
    from app.errors import AppError

    with _in_app():
        try:
            made = service.create_key(email)
            db.session.commit()
        except AppError as error:
            raise CannotStart(error.message) from error
    click.echo(made)


@cli.command()
@click.argument("email")
@click.argument("video_ids", nargs=-1, metavar="[VIDEO_ID]...")
@click.option("--force", is_flag=True, help="Also videos that have vectors of the model set now.")
def reprocess(email: str, video_ids: tuple[str, ...], *, force: bool) -> None:
    """Embed EMAIL's videos again: those named, or all. Search serves the old vectors until the new are complete."""
    from app.accounts import queries as accounts
    from app.db import db
    from app.errors import AppError, NotFound
    from app.lib.text import pluralise
    from app.videos import queries, service

    with _in_app():
        person = accounts.find_by_email(email)
        if person is None:
            raise CannotStart(f"There is no person with the address {email}. Look it up on the people page.")
        try:
            chosen = [queries.get_for(person, video_id).id for video_id in video_ids]
            service.request_reprocess(person.id, chosen, force=force)
            db.session.commit()
        except NotFound as error:
            raise CannotStart(f"{email} has no video of that id. Nothing was asked for.") from error
        except AppError as error:
            raise CannotStart(error.message) from error
    click.echo(
        f"Asked for: {pluralise(len(chosen), 'video') if chosen else 'all videos'} of {email}. A worker does it."
    )


@cli.group()
def files() -> None:
    """Look after the stored files."""


@files.command("copy")
@click.option("--back", is_flag=True, help="From the bucket to the data folder.")
def files_copy(*, back: bool) -> None:
    """Copy all files from the data folder to the bucket that is set. What is there already is passed over."""
    from app.adapters.storage import LocalStorage, StorageFull, Unreachable, from_settings
    from app.adapters.storage_copy import copy_files

    settings = Settings.from_environment()
    if settings.bucket is None:
        raise CannotStart("No bucket is set. Set S3_BUCKET, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY first.")
    disk, bucket = LocalStorage(settings.data_dir / "files"), from_settings(settings)
    source, target = (bucket, disk) if back else (disk, bucket)
    try:
        target.check(thoroughly=True)
        copied = copy_files(source, target, settings.data_dir / "copies", _say)
    except Unreachable as error:
        raise CannotStart(error.hint) from error
    except StorageFull as error:
        raise CannotStart(error.message) from error
    click.echo(f"{copied} copied.")


@cli.command("sign-in-link", hidden=True)
def sign_in_link() -> None:
    """Print a one-time sign-in link for the administrator."""
    from app.accounts import service
    from app.db import db

    with _in_app():
        link = service.administrator_link()
        db.session.commit()
    click.echo(link)


def _say(sentence: str) -> None:
    click.echo(sentence)
    sys.stdout.flush()


def running_environment() -> dict[str, str]:
    """Return our environment, with what `throughline up` on the same data folder chose for what is not set.

    Raises:
        CannotStart: no database or no Redis is set, and nothing that has just these runs on the data folder.
    """
    plain = environment({})
    missing = Settings.missing_services(plain)
    if not missing:
        return plain
    folder = DataFolder(data_folder())
    running = folder.read_running().get("environment", {}) if folder.is_locked() else {}
    # Exactly these: with a database of its own it is another instance, whose Redis is none of ours.
    if missing != [name for name in SERVICES if name in running]:
        raise CannotStart(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, and no Throughline is running "
            f"on {folder.path}. Start it with `throughline up`, or set {' and '.join(missing)} "
            "(and THROUGHLINE_DATA, if it is another folder)."
        )
    return environment(running)


@contextmanager
def _in_app() -> Iterator[None]:
    """Open a context of the app.

    Raises:
        CannotStart: the database cannot be reached or cannot go on; the message has its own first line.
    """
    from sqlalchemy.exc import OperationalError

    from app import create_app

    with create_app(Settings.from_environment(running_environment())).app_context():
        try:
            yield
        except OperationalError as error:
            said = str(error.orig).strip().partition("\n")[0]
            raise CannotStart(f"The database says: {said}. Is PostgreSQL up, and DATABASE_URL right?") from error


def _become(*arguments: str) -> NoReturn:
    """Replace this process by a program of ours, so that signals reach it directly."""
    found = running_environment()
    Settings.from_environment(found)  # a wrong setting is a sentence here, not a traceback there
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, *arguments], found)  # noqa: S606  (our own program)


if __name__ == "__main__":
    main()
