"""The three sample talks that come with the product, added to a library like any other file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from app.adapters.media import Unusable
from app.adapters.storage import telling_when_full
from app.db import db, end_reading
from app.errors import AppError, NotFound
from app.videos import service_intake, service_uploads
from app.videos.details import Details

PATIENCE_SECONDS = 60.0
FOLDER = Path(__file__).resolve().parents[2] / "samples"


def are_there() -> bool:
    """Tell whether this installation has the sample talks."""
    return (FOLDER / "index.json").is_file()


def add_to_library(owner_id: UUID) -> int:
    """Add the samples that the person does not have; return how many were added.

    Commits after each: the next file is looked at, which must not happen inside a transaction.

    Raises:
        NotFound: this installation has none.
        TooLarge, TooMany, StorageFull: as for any upload.
        Locked: another request has been adding them for a minute.
    """
    if not are_there():
        raise NotFound("This installation has no sample talks. Upload a file of your own.")
    index: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    # A second click comes while the first is at work: it waits, and then finds the talks there.
    end_reading()  # a wait of a minute holds no connection
    with service_uploads.locked_file(service_uploads.folder() / f"samples-{owner_id}", PATIENCE_SECONDS):
        return sum(_add(owner_id, sample) for sample in index)


def _add(owner_id: UUID, sample: dict[str, Any]) -> bool:
    source = FOLDER / sample["file"]
    details = Details(title=sample["title"], language=sample["language"])
    upload = service_uploads.create(owner_id, source.stat().st_size, sample["file"])
    captions = FOLDER / sample["captions"] if sample["captions"] else None
    try:
        with telling_when_full():
            shutil.copyfile(source, service_uploads.path_of(upload))
        service_intake.accept_upload(upload, details, captions)
    except service_intake.AlreadyThere:
        service_uploads.forget(upload)
        return False
    except Unusable:
        return False  # it was thrown away; the other talks may be fine
    except AppError:
        service_uploads.forget(upload)  # else it would count as under way for a day
        raise
    db.session.commit()
    return True
