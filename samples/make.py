# ruff: noqa: INP001 (a tool beside its results, not a package)
"""Make the sample talks: read each script aloud with flite over drawn slides.

The results are committed, so the product needs neither flite nor Pillow. To make them again:
`python samples/make.py` with `flite` (voice rms) and the Inter fonts installed, and Pillow in the environment.
A script has one sentence a line; an empty line begins the next slide.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
RATE = 16_000  # flite's own; AAC carries it as it is
FPS = 10
WIDTH, HEIGHT, SCALE = 1280, 720, 2  # drawn twice as large and reduced, which smooths every edge
LEAD, PAUSE, SLIDE_PAUSE = 0.4, 0.55, 1.0  # seconds of silence: at the start, after a sentence, after a slide
CUE_CHARACTERS, CUE_SECONDS = 84, 5.5

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Talk:
    """One sample: who reads it, how its slides look, and the phrases that tests search for."""

    name: str
    title: str
    voice: str
    paper: Colour
    ink: Colour
    accent: Colour
    slides: tuple[tuple[str, ...], ...]  # heading, then bullets; one for each paragraph of the script
    phrases: tuple[str, ...]
    captions: bool = False


TALKS = (
    Talk(
        "tides",
        "Why the tide comes in twice a day",
        "rms",
        (13, 27, 46),
        (236, 243, 250),
        (99, 179, 237),
        (
            ("Two tides a day", "The moon is half of the story"),
            ("The near side", "The pull is strongest under the moon", "Water is lifted: high tide"),
            ("The far side", "The pull is weaker there", "The Earth is drawn away from the water"),
            ("Turning through both", "One turn a day, two bulges", "Sun and moon in line: spring tide"),
            ("On the beach", "The ocean does not come to you", "You are moving"),
        ),
        ("opposite side of the world", "spring tide", "two forces work against each other"),
    ),
    Talk(
        "bread",
        "Bread needs time",
        "rms",
        (250, 244, 232),
        (58, 39, 23),
        (196, 113, 42),
        (
            ("Four things", "Flour and water", "Salt", "Time"),
            ("First, wait", "Half an hour for flour and water", "Then salt and a little yeast"),
            ("A cold night", "Yeast eats sugar and makes gas", "Slow dough tastes better"),
            ("The morning", "Fold and shape with wet hands", "A very hot stone", "Knock: it sounds hollow"),
            ("Patience", "One hour before you cut it"),
        ),
        ("small amount of yeast", "until the next morning", "the hardest part comes at the end"),
    ),
    Talk(
        "trees",
        "What a city tree is worth",
        "rms",
        (238, 246, 238),
        (22, 52, 38),
        (46, 139, 87),
        (
            ("Cooler streets", "As much as ten degrees"),
            ("Two ways", "Leaves make shade", "Roots lift water into the air"),
            ("When it rains", "Leaves slow it down", "The soil holds it"),
            ("Thirty years", "A young tree does little", "Hard, dry ground kills early"),
            ("The plan", "Room below the ground", "Water for three summers", "Keep the old tree"),
        ),
        ("thirty years before the crown is wide enough", "can hold a great deal of water", "take care of the old one"),
        captions=True,
    ),
)


@dataclass(frozen=True)
class Sentence:
    """One spoken sentence and when it is heard (seconds)."""

    text: str
    slide: int
    start: float
    end: float


def main() -> None:
    """Make every talk and the index that the product and the tests read."""
    index = []
    for talk in TALKS:
        sentences, sound = speak(talk)
        film(talk, sentences, sound, HERE / f"{talk.name}.mp4")
        if talk.captions:
            (HERE / f"{talk.name}.srt").write_text(to_srt(sentences), encoding="utf-8")
        index.append(
            {
                "name": talk.name,
                "title": talk.title,
                "file": f"{talk.name}.mp4",
                "script": f"{talk.name}.txt",
                "captions": f"{talk.name}.srt" if talk.captions else None,
                "language": "en",
                "duration_seconds": round(len(sound) / RATE, 2),
                "phrases": [{"text": text, "seconds": find(sentences, text)} for text in talk.phrases],
            }
        )
    (HERE / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def speak(talk: Talk) -> tuple[list[Sentence], np.ndarray]:
    """Read the script aloud; return its sentences with their times and the samples (mono, 16 bit, RATE)."""
    sound, at = [np.zeros(int(LEAD * RATE), np.int16)], LEAD
    sentences = []
    paragraphs = (HERE / f"{talk.name}.txt").read_text(encoding="utf-8").strip().split("\n\n")
    for slide, paragraph in enumerate(paragraphs):
        lines = paragraph.splitlines()
        for number, text in enumerate(lines):
            spoken = say(text, talk.voice)
            end = at + len(spoken) / RATE
            sentences.append(Sentence(text, slide, at, end))
            silence = np.zeros(int((SLIDE_PAUSE if number == len(lines) - 1 else PAUSE) * RATE), np.int16)
            sound += [spoken, silence]
            at = end + len(silence) / RATE
    return sentences, np.concatenate(sound)


def say(text: str, voice: str) -> np.ndarray:
    """Return `text` as flite's `voice` says it (mono, 16 bit, RATE)."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)  # noqa: S603, S607
        with av.open(file.name) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            return np.concatenate(
                [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            )


def find(sentences: list[Sentence], phrase: str) -> float:
    """Return the second at which `phrase` begins: its share of the characters of its sentence."""
    for sentence in sentences:
        position = sentence.text.lower().find(phrase)
        if position >= 0:
            share = position / len(sentence.text)
            return round(sentence.start + share * (sentence.end - sentence.start), 2)
    raise LookupError(phrase)


def to_srt(sentences: list[Sentence]) -> str:
    """Return the sentences as SubRip cues; the first begins at zero, as careful captioners write it."""
    cues = [cue for sentence in sentences for cue in split(sentence)]
    cues[0] = Sentence(cues[0].text, 0, 0.0, cues[0].end)
    blocks = [
        f"{number}\n{clock(cue.start)} --> {clock(cue.end)}\n{two_lines(cue.text)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def split(sentence: Sentence) -> list[Sentence]:
    """Cut a sentence that is too long for one cue at the comma nearest to its middle."""
    text = sentence.text
    if len(text) <= CUE_CHARACTERS and sentence.end - sentence.start <= CUE_SECONDS:
        return [sentence]
    breaks = [i + 1 for i, sign in enumerate(text) if sign == ","] or [i for i, sign in enumerate(text) if sign == " "]
    cut = min(breaks, key=lambda i: abs(i - len(text) / 2))
    middle = sentence.start + (sentence.end - sentence.start) * cut / len(text)
    left = Sentence(text[:cut].strip(), sentence.slide, sentence.start, middle)
    right = Sentence(text[cut:].strip(), sentence.slide, middle, sentence.end)
    return [*split(left), *split(right)]


def two_lines(text: str) -> str:
    """Break a cue of more than 42 characters into two lines of about the same length."""
    if len(text) <= CUE_CHARACTERS // 2:
        return text
    spaces = [i for i, sign in enumerate(text) if sign == " "]
    cut = min(spaces, key=lambda i: abs(i - len(text) / 2))
    return f"{text[:cut]}\n{text[cut + 1 :]}"


def clock(seconds: float) -> str:
    """Return SubRip's 00:00:00,000."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"


def film(talk: Talk, sentences: list[Sentence], sound: np.ndarray, path: Path) -> None:
    """Write slides and sound as H.264 and AAC in an MP4 whose index comes first, so that it plays while it loads."""
    starts = [min(s.start for s in sentences if s.slide == number) - 0.5 for number in range(len(talk.slides))]
    pictures = [np.asarray(draw(talk, number)) for number in range(len(talk.slides))]
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "26", "preset": "slow", "tune": "stillimage", "g": str(FPS * 5), "profile": "main"}
        audio = container.add_stream("aac", rate=RATE)
        audio.codec_context.layout, audio.bit_rate = "mono", 48_000
        for number in range(math.ceil(len(sound) / RATE * FPS)):
            second = number / FPS
            shown = max([i for i, start in enumerate(starts) if start <= second], default=0)
            frame = av.VideoFrame.from_ndarray(pictures[shown], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            _mux_sound(container, audio, sound, number)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _mux_sound(container: object, audio: object, sound: np.ndarray, number: int) -> None:
    step = RATE // FPS
    part = sound[number * step : (number + 1) * step]
    if not len(part):
        return
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part[None, :]), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, number * step, Fraction(1, RATE)
    container.mux(audio.encode(frame))


def draw(talk: Talk, number: int) -> Image.Image:
    """Draw one slide: title, heading, bullets, a motif of the talk, and how far it has come."""
    picture = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), talk.paper)
    pen = ImageDraw.Draw(picture)
    MOTIFS[talk.name](pen, talk, number)
    left = 96 * SCALE
    pen.text((left, 84 * SCALE), talk.title.upper(), font=font("SemiBold", 20), fill=talk.accent)
    heading, *bullets = talk.slides[number]
    pen.text((left, 168 * SCALE), heading, font=font("Bold", 68), fill=talk.ink)
    pen.rounded_rectangle(box(96, 270, 184, 278), radius=4 * SCALE, fill=talk.accent)
    for row, bullet in enumerate(bullets):
        y = 340 + row * 66
        pen.ellipse(box(98, y + 13, 110, y + 25), fill=talk.accent)
        pen.text(((96 + 36) * SCALE, y * SCALE), bullet, font=font("Medium", 32), fill=talk.ink)
    for dot in range(len(talk.slides)):
        colour = talk.accent if dot <= number else mix(talk.paper, talk.ink, 0.18)
        pen.rounded_rectangle(box(96 + dot * 52, 628, 96 + dot * 52 + 40, 634), radius=3 * SCALE, fill=colour)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def draw_tides(pen: ImageDraw.ImageDraw, talk: Talk, number: int) -> None:
    """Draw Earth with its two bulges; the moon stands a little further round on each slide."""
    x, y = 1000, 380
    pen.ellipse(box(x - 235, y - 160, x + 235, y + 160), fill=mix(talk.paper, talk.accent, 0.35))
    pen.ellipse(box(x - 150, y - 150, x + 150, y + 150), fill=talk.accent)
    pen.ellipse(box(x - 118, y - 118, x + 118, y + 118), fill=mix(talk.paper, talk.accent, 0.7))
    angle = math.radians(-62 + number * 9)
    mx, my = x + 270 * math.cos(angle), y + 270 * math.sin(angle)
    pen.ellipse(box(mx - 36, my - 36, mx + 36, my + 36), fill=talk.ink)
    pen.ellipse(box(mx - 6, my - 20, mx + 12, my - 2), fill=mix(talk.paper, talk.ink, 0.8))


def draw_bread(pen: ImageDraw.ImageDraw, talk: Talk, number: int) -> None:
    """Draw a loaf that rises from slide to slide."""
    x, base, rise = 985, 520, 170 + number * 32
    pen.ellipse(box(x - 220, base - 26, x + 220, base + 34), fill=mix(talk.paper, talk.ink, 0.12))
    pen.pieslice(box(x - 190, base - rise, x + 190, base + rise), 180, 360, fill=talk.accent)
    pen.rounded_rectangle(box(x - 190, base - 24, x + 190, base + 10), radius=16 * SCALE, fill=talk.accent)
    for cut in (-90, 0, 90):
        top = base - rise * math.sqrt(1 - (cut / 190) ** 2)
        line = [(x + cut - 22) * SCALE, (top + 70) * SCALE, (x + cut + 22) * SCALE, (top + 26) * SCALE]
        pen.line(line, fill=mix(talk.accent, talk.paper, 0.65), width=12 * SCALE)


def draw_trees(pen: ImageDraw.ImageDraw, talk: Talk, number: int) -> None:
    """Draw a street tree that grows from slide to slide, with its roots."""
    x, ground = 1000, 520
    size = 78 + number * 20
    pen.rectangle(box(760, ground, 1240, ground + 6), fill=mix(talk.paper, talk.ink, 0.35))
    for root in (-120, -60, 60, 120):
        line = [x * SCALE, (ground + 6) * SCALE, (x + root) * SCALE, (ground + 84 - abs(root) // 4) * SCALE]
        pen.line(line, fill=mix(talk.paper, talk.ink, 0.45), width=8 * SCALE)
    pen.rectangle(box(x - 12, ground - 170, x + 12, ground + 10), fill=mix(talk.paper, talk.ink, 0.7))
    for dx, dy, share in ((0, -1.15, 1.0), (-0.75, -0.6, 0.8), (0.75, -0.6, 0.8)):
        cx, cy, r = x + dx * size, ground - 150 + dy * size * 0.7, size * share
        pen.ellipse(box(cx - r, cy - r, cx + r, cy + r), fill=mix(talk.paper, talk.accent, 0.75 + 0.25 * share))


MOTIFS = {"tides": draw_tides, "bread": draw_bread, "trees": draw_trees}


def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """Return a box in drawing units."""
    return left * SCALE, top * SCALE, right * SCALE, bottom * SCALE


def font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    """Return Inter in one weight."""
    return ImageFont.truetype(f"Inter-{weight}.otf", size * SCALE)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour `share` of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


if __name__ == "__main__":
    main()
