"""One child process that turns sound into English words; it outlives many requests.

Request on standard input: 8 bytes of length (big-endian), then an audio file. Answer: one line of JSON, either
`{"duration": seconds, "words": [[word, start, end, confidence], ...]}` or `{"error": sentence}`.
The recogniser holds Python's lock while it works, so threads would not do; and a decoder that crashes on hostile
media costs this child, not the server. It ends when its standard input does.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from app.adapters.speech import audio

if TYPE_CHECKING:
    from app.adapters.speech.audio import Samples, Span

FRAMES_A_SECOND = 100  # pocketsphinx's default frame rate
JOINED = 6.0  # seconds up to which short spans are decoded in one go: a little context helps
LONGEST = 15.0  # seconds of one span; a longer one without any pause is divided, for the lattice grows with it
PADDING = 0.2  # seconds of quiet left around an utterance
DITHER = 3  # of 32768: complete silence, as encoders write it, upsets the features
LANGUAGE_WEIGHT = 5.5  # below the default 6.5: measured better on our talks
_VARIANT = re.compile(r"\(\d+\)$")  # "to(3)": the third pronunciation of "to"

Word = tuple[str, float, float, float]


def main() -> None:
    """Answer requests until standard input ends."""
    os.nice(5)  # recognition may be late, pages may not
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not land between the answers
    decoder = _decoder()
    while content := _read(requests):
        answers.write(json.dumps(_answer(decoder, content)).encode() + b"\n")
        answers.flush()


def _read(requests: BinaryIO) -> bytes:
    header = requests.read(8)
    return requests.read(int.from_bytes(header)) if len(header) == 8 else b""  # noqa: PLR2004


def _answer(decoder: Any, content: bytes) -> dict[str, Any]:
    try:
        samples = audio.decode(io.BytesIO(content))
    except audio.UndecodableAudio as error:
        return {"error": str(error)}
    samples = _dithered(samples)
    words = [word for span in utterances(audio.speech_spans(samples)) for word in _recognise(decoder, samples, span)]
    return {"duration": len(samples) / audio.RATE, "words": words}


def _dithered(samples: Samples) -> Samples:
    import numpy as np

    noise = np.random.default_rng(0).integers(-DITHER, DITHER + 1, len(samples), dtype=np.int16)
    dithered: Samples = (samples.clip(-32768 + DITHER, 32767 - DITHER) + noise).astype(np.int16)
    return dithered


def utterances(spans: list[Span]) -> list[Span]:
    """Join neighbouring spans of speech into utterances of at most JOINED seconds; one over LONGEST is divided."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and end - joined[-1][0] <= JOINED:
            joined[-1] = (joined[-1][0], end)
        else:
            count = max(1, -int(-(end - start) // LONGEST))
            step = (end - start) / count
            joined += [(start + i * step, start + (i + 1) * step) for i in range(count)]
    return joined


def _decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL", lw=LANGUAGE_WEIGHT)


def _recognise(decoder: Any, samples: Samples, span: Span) -> list[Word]:
    first = max(0, round((span[0] - PADDING) * audio.RATE))
    part = samples[first : round((span[1] + PADDING) * audio.RATE)]
    offset = first / audio.RATE
    try:
        decoder.start_utt()
        decoder.process_raw(part.tobytes(), full_utt=True)
        decoder.end_utt()
        found = list(decoder.seg() or ())
    except RuntimeError:
        return []  # too short or without any speech: nothing was said
    return [
        (
            _VARIANT.sub("", segment.word),
            round(offset + segment.start_frame / FRAMES_A_SECOND, 2),
            round(offset + (segment.end_frame + 1) / FRAMES_A_SECOND, 2),
            round(min(1.0, segment.prob), 3),
        )
        for segment in found
        if segment.word[0] not in "<[+"  # silences and noises
    ]


if __name__ == "__main__":
    main()
