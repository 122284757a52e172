"""The real media adapter, whose answers about a file are kept for the whole test process.

Each call starts a process that decodes; dozens of tests run the same sample through the pipeline and are about
something else. The first call for a content is real, so what the pipeline gets is real.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.adapters.media import Media, Piece, Probe, Rendition, Subtitles
from app.lib import outside


@dataclass
class RememberedMedia:
    """Asks `real` once for each content and request; pieces are copied out of `folder`."""

    real: Media
    folder: Path
    known: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def probe(self, path: Path) -> Probe:
        return self._ask(path, "probe", lambda: self.real.probe(path))

    def poster(self, path: Path, out: Path) -> bool:
        return self.real.poster(path, out)

    def waveform(self, path: Path, duration_seconds: float) -> list[float]:
        return self._ask(path, f"waveform {duration_seconds}", lambda: self.real.waveform(path, duration_seconds))

    def subtitles(self, path: Path) -> list[Subtitles]:
        return self._ask(path, "subtitles", lambda: self.real.subtitles(path))

    def extract_pieces(
        self, path: Path, folder: Path, *, max_seconds: float = 28.0, search_seconds: float = 8.0
    ) -> list[Piece]:
        place = self.folder / f"{len(self.known)}"

        def cut() -> list[Piece]:
            place.mkdir()
            return self.real.extract_pieces(path, place, max_seconds=max_seconds, search_seconds=search_seconds)

        pieces = self._ask(path, f"pieces {max_seconds} {search_seconds}", cut)
        return [replace(piece, path=Path(shutil.copy(piece.path, folder / piece.path.name))) for piece in pieces]

    def make_rendition(self, path: Path, out: Path, **more: Any) -> Rendition:
        return self.real.make_rendition(path, out, **more)

    def _ask(self, path: Path, request: str, call: Callable[[], Any]) -> Any:
        outside.before_outside_call()
        key = (hashlib.sha256(path.read_bytes()).digest(), request)
        if key not in self.known:
            self.known[key] = call()
        return self.known[key]
