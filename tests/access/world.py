"""Everything that Alice owns, made once; who asks for it; and the way back after somebody changed it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rq import Queue
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from werkzeug.test import TestResponse

from app import engine
from app.accounts import service
from app.accounts.models import ApiKey, Invitation, User, UserSession
from app.adapters import llm
from app.adapters.llm_fakes import FakeChat, FakeEmbedder, FakeTranscriber
from app.adapters.outbox import MailRow
from app.db import db
from app.engine import testing
from app.errors import Permanent
from app.extensions import redis_client
from app.lib.clock import now
from app.videos import events, links, operations, service_editing, service_uploads, share_links
from app.videos import service as videos
from app.videos.details import Details
from app.videos.models import Upload, Video
from app.web import Throughline
from tests.factories import make_user, sign_in
from tests.videos.talks import SAMPLES, make_video, say_uploaded

TITLE, DESCRIPTION, TAG = "Marzipan telescopes", "A talk about gingerbread optics", "nougat-lenses"
FILE_NAME, UPLOAD_NAME, KEY_NAME = "quokka-recording.mp4", "walrus-draft.mp4", "wombat-laptop"
SPOKEN, BROKEN = "xylophones", "The ocelot model refused this sound"
EMAIL = "alice@example.org"
CONTENTS = (TITLE, DESCRIPTION, TAG, FILE_NAME, UPLOAD_NAME, KEY_NAME, SPOKEN, BROKEN)

CAPTIONS = f"1\n00:00:00,000 --> 00:00:02,500\nZanzibar {SPOKEN} hum at dusk.\n".encode()
ELSEWHERE = "203.0.113.9"  # nobody here sits at the server itself: that alone opens the development outbox
PEOPLE = ("nobody", "alice", "charlie", "root")
WHO = (*PEOPLE, "alice-key", "charlie-key", "root-key", "forged-key")

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def nothing() -> None:
    """Do nothing: what a job of the tests does."""


@dataclass
class Browser:
    """What a person's browser holds: the session's cookie, and the form token of its pages."""

    cookie: str
    token: str


@dataclass
class World:
    """Alice's things, by what they are called here, and the way to ask for them."""

    app: Throughline
    folder: Path
    things: dict[str, Any] = field(default_factory=dict)
    files: dict[Path, bytes] = field(default_factory=dict)
    browsers: dict[str, Browser] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def ask(self, who: str, method: str, path: str, *, has_token: bool = True, **more: Any) -> TestResponse:
        """Ask as one of WHO, with the cookies and form token (or the key) that they have."""
        client = self.app.test_client(use_cookies=False)
        client.environ_base["REMOTE_ADDR"] = ELSEWHERE
        signs = self.signs(who, has_token=has_token)
        return client.open(path, method=method, headers=signs | more.pop("headers", {}), buffered=True, **more)

    def signs(self, who: str, *, has_token: bool = True) -> dict[str, str]:
        """Return the headers by which one of WHO is known."""
        name, _, is_key = who.partition("-")
        signs = {"Authorization": f"Bearer {self.keys.get(name, 'tl_forged')}"} if is_key else {}
        if not is_key or name == "forged":
            browser = self.browsers["alice" if name == "forged" else name]  # beside a forged key it is worth nothing
            signs["Cookie"] = f"session={browser.cookie}"
            if has_token:
                signs["X-CSRFToken"] = browser.token
        return signs

    def snapshot(self) -> None:
        """Keep the database as it is now, and write down (as a function there) how to come back to it."""
        undo = ["SET LOCAL session_replication_role = replica"]  # the order of the tables is no matter then
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA IF EXISTS kept CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA kept"))
            for name, columns in connection.execute(_TABLES).all():
                connection.execute(sa.text(f"CREATE TABLE kept.{name} AS SELECT {columns} FROM public.{name}"))
                into = f"INSERT INTO public.{name} ({columns}) OVERRIDING SYSTEM VALUE"
                undo += [f"DELETE FROM public.{name}", f"{into} SELECT {columns} FROM kept.{name}"]
            function = "CREATE FUNCTION kept.restore() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {}; END $$"
            connection.exec_driver_sql(function.format("; ".join(undo)))

    def restore(self) -> None:
        """Undo what was done since: in the database and to the uploads' files."""
        db.session.rollback()
        db.session.expire_all()
        with db.engine.begin() as connection:
            connection.execute(sa.text("SELECT kept.restore()"))
        for path, content in self.files.items():
            path.write_bytes(content)

    def close(self) -> None:
        """Take the kept copy away."""
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA IF EXISTS kept CASCADE"))

    def failed_job(self) -> str:
        """Put a failed job on Redis and return its id."""
        with redis_client(self.app.settings) as connection:
            queue = Queue("hints", connection=connection, serializer=JSONSerializer)
            job = Job.create(nothing, connection=connection, serializer=JSONSerializer, origin=queue.name)
            job.set_status(JobStatus.FAILED)
            job.save()
            connection.sadd(Queue.redis_queues_keys, queue.key)
            FailedJobRegistry(queue=queue, connection=connection).add(job, exc_string="it broke")
            return str(job.id)


# Every table's own columns: those that the database computes itself cannot be written.
_TABLES = sa.text("""
    SELECT quote_ident(c.table_name), string_agg(quote_ident(c.column_name), ', ' ORDER BY c.ordinal_position)
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER'
      AND c.table_name <> 'alembic_version'
    GROUP BY c.table_name
""")


def make(app: Throughline, folder: Path) -> World:
    """Make the world: a real run of the real pipeline for each video, so that nothing of what it leaves is missing."""
    world = World(app, folder)
    alice, charlie, root = (
        make_user("alice@example.org"),
        make_user("charlie@example.org"),
        make_user("root@example.org", is_admin=True),
    )
    world.things |= {"alice": alice.id, "charlie": charlie.id, "root": root.id}
    try:
        _make_videos(world, alice)
    finally:
        llm.install(app)
    _make_uploads(world, alice)
    _make_account(world, alice, root)
    for person in (alice, charlie, root):
        name = person.email.partition("@")[0]
        client = sign_in(app.test_client(), person)
        page = client.get("/account").get_data(as_text=True)
        world.browsers[name] = _browser(client, page)
        world.keys[name] = service.create_key(person.email, KEY_NAME if name == "alice" else "a key")
        db.session.commit()
    world.things["key"] = db.session.scalar(sa.select(ApiKey.id).where(ApiKey.owner_id == alice.id))
    world.things["session"] = db.session.scalar(sa.select(UserSession.id).where(UserSession.user_id == alice.id))
    stranger = app.test_client()
    world.browsers["nobody"] = _browser(stranger, stranger.get("/sign-in").get_data(as_text=True))
    db.session.commit()
    world.snapshot()
    return world


def _browser(client: Any, page: str) -> Browser:
    found = _TOKEN.search(page)
    assert found, page
    return Browser(client.get_cookie("session").value, found[1])


def _make_videos(world: World, alice: User) -> None:
    facts = {"description": DESCRIPTION, "tags": [TAG], "original_filename": FILE_NAME}
    models = FakeTranscriber(otherwise=Permanent(f"{BROKEN}.")), FakeEmbedder()
    outline = {"title": TITLE, "summary": DESCRIPTION, "chapters": [{"segment": 0, "title": TITLE}]}
    llm.install(world.app, transcriber=models[0], embedder=models[1], chat=FakeChat(otherwise=outline))

    def video(title: str, *, captions: bytes | None = None) -> Video:
        made = make_video(alice, world.folder, sample="tides", captions=captions, title=title, **facts)
        say_uploaded(made)
        return made

    completed = _upload_whole(world, alice)
    deleted, failed = video(f"{TITLE} deleted", captions=CAPTIONS), video(f"{TITLE} failed")
    testing.drain(advance=True)
    assert [each.status for each in (completed, deleted, failed)] == ["completed", "completed", "failed"]
    assert completed.poster_key
    videos.delete(deleted)
    deleted.deleted_at = now() + timedelta(hours=1)  # so that it can be taken back however slow the tests are
    db.session.commit()
    waiting, paused = video(f"{TITLE} waiting"), video(f"{TITLE} paused")  # their runs stand in the queue
    runs = {run.subject: run for run in engine.list_runs(owner_id=alice.id) if run.workflow == "transcribe-video"}
    named = {"video": completed, "deleted": deleted, "failed": failed, "waiting": waiting, "paused": paused}
    for name, made in named.items():
        world.things[name] = made.id
        world.things[f"{name} run"] = runs[f"video:{made.id}"].id
    engine.pause(world.things["paused run"])
    engine.send(events.RENEW_REQUESTED, {"user_id": str(alice.id), "request_id": "one"}, owner_id=alice.id)
    db.session.commit()
    world.things["renewal run"] = engine.list_runs(owner_id=alice.id, workflow="renew-videos")[0].id
    waveforms = engine.list_runs(owner_id=alice.id, workflow="draw-waveform", status="completed")
    world.things["waveform run"] = waveforms[-1].id
    videos.request_reprocess(alice.id, [completed.id])
    db.session.commit()
    world.things["batch run"] = engine.list_runs(owner_id=alice.id, workflow="reprocess-embeddings")[0].id
    world.things["step"] = engine.list_steps(world.things["video run"])[0].key
    world.things |= {"old version": completed.transcript_id, "version number": 1, "cue": 0}
    said = f"Zanzibar {SPOKEN} hum at dusk!"
    edited = service_editing.edit_transcript(completed, completed.transcript_id, [operations.SetText(0, said)])
    world.things["version"] = edited.id
    world.things["storage key"] = completed.storage_key
    world.things["media token"] = links.signed_url(completed).rpartition("/")[2]
    shared, _ = videos.share(completed)
    world.things["share token"] = share_links.page_token(shared.id)
    world.things["share file token"] = share_links.file_token(shared.id, "source")
    db.session.commit()


def _upload_whole(world: World, alice: User) -> Video:
    """Take a file in the way that a browser's is taken in: so it gets a poster, too."""
    captions = world.folder / "captions.srt"
    captions.write_bytes(CAPTIONS)
    talk = SAMPLES / "bread.mp4"
    upload = service_uploads.create(alice.id, talk.stat().st_size, FILE_NAME)
    service_uploads.path_of(upload).write_bytes(talk.read_bytes())
    made = videos.accept_upload(upload, Details(TITLE, "en", keep_both=False), captions)
    videos.change_video(made, {"description": DESCRIPTION, "tags": [TAG]})
    db.session.commit()
    return made


def _make_uploads(world: World, alice: User) -> None:
    film = (SAMPLES / "trees.mp4").read_bytes()
    for name, length, content in (("upload", len(film), film), ("open upload", 10, b"some")):
        made: Upload = service_uploads.create(alice.id, length, UPLOAD_NAME)
        world.things[name] = made.id
        world.files[service_uploads.path_of(made)] = content
        service_uploads.path_of(made).write_bytes(content)
    db.session.commit()


def _make_account(world: World, alice: User, root: User) -> None:
    service.invite("guest@example.org", root.id)
    world.things["unsubscribe token"] = service.unsubscribe_url(alice.id, "ready").rpartition("/")[2]
    started = service.start_sign_in(EMAIL, browser="a browser")
    world.things["link token"] = started.link_token
    db.session.commit()
    world.things["invitation"] = db.session.scalar(sa.select(Invitation.id))
    world.things["mail"] = db.session.scalar(sa.select(MailRow.id).where(MailRow.to == EMAIL))
    assert world.things["mail"]
