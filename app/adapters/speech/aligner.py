"""Where each word of a known English text is said: forced alignment with pocketsphinx. Runs in the media child."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import audio, spelling

if TYPE_CHECKING:
    from .audio import Samples

FRAMES_A_SECOND = 100
LONGEST_SECONDS = 900.0
WIDER = {"beam": 1e-100, "wbeam": 1e-80, "pbeam": 1e-100}
_VARIANT = re.compile(r"\(\d+\)$")

Place = tuple[float, float]


def align(path: str, words: list[str]) -> dict[str, Any]:
    """Find `words` in the sound at `path`.

    Returns:
        `seconds` (the sound's length), `speech` (spans in which somebody speaks), and `places`: for each word its
        [start, end] in seconds, or null for one that is not said (a dash); `places` is null when they were not found.
    """
    samples = audio.decode(path, max_seconds=LONGEST_SECONDS)
    places = _places(samples, words) or _places(samples, words, **WIDER)
    return {"seconds": len(samples) / audio.RATE, "speech": audio.speech_spans(samples), "places": places}


def find_speech(path: str) -> dict[str, Any]:
    """Return `seconds` and `speech` of the sound at `path`, as `align` does."""
    samples = audio.decode(path, max_seconds=LONGEST_SECONDS)
    return {"seconds": len(samples) / audio.RATE, "speech": audio.speech_spans(samples)}


def _places(samples: Samples, words: list[str], **options: float) -> list[Place | None] | None:
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL", **options)
    said = [_pronounceable(decoder, word) for word in words]
    flat = [each for group in said for each in group]
    if not flat:
        return None
    try:
        decoder.set_align_text(" ".join(flat))
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        found = [
            (_VARIANT.sub("", s.word), s.start_frame / FRAMES_A_SECOND, (s.end_frame + 1) / FRAMES_A_SECOND)
            for s in decoder.seg() or ()
            if s.word[0] not in "<[+"
        ]
    except RuntimeError:
        return None
    if [word for word, _, _ in found] != flat:
        return None  # the search ended before the last word
    places: list[Place | None] = []
    at = 0
    for group in said:
        places.append((round(found[at][1], 2), round(found[at + len(group) - 1][2], 2)) if group else None)
        at += len(group)
    return places


class _Known:
    """The words that the decoder's dictionary has."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def __contains__(self, word: object) -> bool:
        return self._decoder.lookup_word(word) is not None


def _pronounceable(decoder: Any, word: str) -> list[str]:
    known = _Known(decoder)
    usable = []
    for each in spelling.spoken(word, known):
        if each not in known:
            phones = spelling.sounds(each)
            if not phones:
                continue
            decoder.add_word(each, phones, True)
        usable.append(each)
    return usable
