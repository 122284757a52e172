"""The gate before every call outside: a transaction that only read is ended, one that has changed something refuses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.adapters.storage import LocalStorage, MemoryStorage
from app.db import OpenTransaction, db
from tests.factories import make_user


@pytest.fixture(params=["transcribe", "embed", "store", "store elsewhere"])
def call(request, tmp_path):
    file = tmp_path / "a.mp3"
    file.write_bytes(b"a")
    return {
        "transcribe": lambda: FakeTranscriber().transcribe(file),
        "embed": lambda: FakeEmbedder().embed(["a"]),
        "store": lambda: LocalStorage(tmp_path / "files").put_path("a.mp3", file),
        "store elsewhere": lambda: MemoryStorage().put_path("a.mp3", file),
    }[request.param]


def test_a_transaction_that_only_read_is_ended_before_a_call_outside(app, call):
    db.session.execute(sa.select(sa.literal(1)))
    assert db.session().in_transaction()
    call()
    assert not db.session().in_transaction()


@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_call_outside_is_refused_while_changes_are_unwritten_or_uncommitted(app, call, is_flushed):
    make_user().name = "Changed"
    if is_flushed:
        db.session.flush()
    with pytest.raises(OpenTransaction):
        call()
    db.session.rollback()
