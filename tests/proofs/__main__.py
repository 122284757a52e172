"""Upload 1 GiB over a bad line, by tuspy and by Chromium, and print what it took: `python -m tests.proofs [MEBIBYTES]`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests import chromium
from tests.proofs import uploads
from tests.proofs.films import make_film

CHUNK_BYTES = 64 << 20
HEAD = "door            size  seconds   sent  cuts  kills      idle      most     above     media children\n"


def main(mebibytes: int) -> int:
    """Run both and print a row for each; status 1 when one did not hold."""
    path = chromium.find()
    if not path:
        sys.stderr.write(f"{chromium.MISSING}\n")
        return 2
    sys.stdout.write(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        film = make_film(Path(folder) / "talk.mp4", mebibytes << 20)
        with uploads.running() as stack:
            held = _row("tuspy", film, lambda: uploads.by_tuspy(stack, film, CHUNK_BYTES))
        with uploads.running() as stack, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(chromium.FLAGS))
            page = browser.new_page()
            held &= _row("Chromium", film, lambda: uploads.by_chromium(stack, film, page))
            browser.close()
    return int(not held)


def _row(door: str, film: Path, run: Callable[[], uploads.Proof]) -> bool:
    proof = run()
    memory = proof.memory
    numbers = (memory.idle, memory.most, memory.growth, memory.most_with_media - memory.most)
    sizes = " ".join(f"{number / 1e6:6.1f} MB" for number in numbers)
    size = film.stat().st_size
    what = f"{door:10}{size >> 20:6} MiB{proof.seconds:9.1f}{proof.line.sent / size:5.2f} x"
    sys.stdout.write(f"{what}{proof.line.cuts:6}{proof.kills:7} {sizes}\n")
    sys.stdout.flush()
    try:
        proof.check(film)
    except AssertionError as error:
        sys.stdout.write(f"{door}: {error}\n")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024))
