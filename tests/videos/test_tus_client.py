"""The standard Python client of tus works unchanged against a live server, also across its restart."""

import threading
from contextlib import contextmanager

import pytest
import requests
from tusclient.client import TusClient
from werkzeug.serving import make_server

from app.accounts import service as accounts
from app.db import db
from app.videos import queries
from tests.videos.media_files import make_media

CHUNK = 16_000


@contextmanager
def running(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def bearer(alice):
    key = accounts.create_key(alice.user.email, "tuspy")
    db.session.commit()
    return {"Authorization": f"Bearer {key}"}


def test_tuspy_uploads_in_parts_resumes_after_a_restart_and_the_file_becomes_a_video(app, alice, bearer, tmp_path):
    path = make_media(tmp_path / "talk.mp4")
    with path.open("rb") as stream:
        with running(app) as address:
            client = TusClient(f"{address}/uploads/", headers=bearer)
            uploader = client.uploader(file_stream=stream, chunk_size=CHUNK, metadata={"filename": "talk.mp4"})
            uploader.upload(stop_at=CHUNK)
            place = uploader.url.removeprefix(address)
        with running(app) as address:
            again = TusClient(f"{address}/uploads/", headers=bearer).uploader(
                file_stream=stream, url=address + place, chunk_size=CHUNK, upload_checksum=True
            )
            assert again.offset == CHUNK
            again.upload()
            made = requests.post(f"{address}/api/videos", json={"upload_id": place}, headers=bearer, timeout=30)
    assert made.status_code == 201
    video = queries.get_for(alice.user, made.json()["id"])
    with app.extensions["throughline.storage"].get_path(video.storage_key) as stored:
        assert stored.read_bytes() == path.read_bytes()
