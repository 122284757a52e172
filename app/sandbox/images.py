"""`/v1/images/generations`: a calm picture that the prompt's words alone decide, with "sandbox" written in a corner."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.sandbox.asking import read_most
from app.sandbox.embedding import count_tokens
from app.sandbox.errors import ApiError, unknown_model

MODELS = ("sandbox-image", "gpt-image-2.5-flare", "gpt-image-2.5-sunburst")
USUAL_SIZE = "1024x1024"
MOST_PIXELS = 2048 * 2048
SMALLEST, MOST_PICTURES = 16, 10
MOST_CHARACTERS = 32_000
# Sky, far and near: pairs of colours that go together.
_PALETTES = (
    ((246, 211, 178), (120, 140, 180), (44, 62, 96)),
    ((200, 224, 232), (96, 150, 160), (30, 74, 88)),
    ((250, 226, 190), (214, 138, 106), (92, 58, 82)),
    ((222, 226, 244), (142, 134, 190), (60, 54, 104)),
    ((228, 238, 214), (138, 172, 132), (48, 88, 72)),
)
# "sandbox" in dots, five high.
_LABEL = (
    ".XX..XX..X..X.XXX..XXX...XX..X..X",
    "X...X..X.XX.X.X..X.X..X.X..X.X..X",
    ".X..XXXX.X.XX.X..X.XXX..X..X..XX.",
    "..X.X..X.X..X.X..X.X..X.X..X.X..X",
    "XX..X..X.X..X.XXX..XXX...XX..X..X",
)

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """One checked request."""

    model: str
    prompt: str
    width: int
    height: int
    count: int

    @property
    def content_hash(self) -> str:
        """Return the SHA-256 of what is asked."""
        return hashlib.sha256(f"{self.prompt}\n{self.width}x{self.height}\n{self.count}".encode()).hexdigest()


def parse(body: object) -> Asked:
    """Check a request's JSON.

    Raises:
        ApiError: what the real service would say.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    model, prompt = body.get("model"), body.get("prompt")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if model not in MODELS and not model.startswith("fault-"):
        raise unknown_model(model)
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MOST_CHARACTERS:
        raise ApiError(400, f"Invalid 'prompt': a text of at most {MOST_CHARACTERS} characters.", param="prompt")
    if body.get("output_format") not in (None, "png"):
        raise ApiError(400, "The sandbox draws 'png' only.", param="output_format", code="invalid_value")
    count = read_most(body.get("n"), "n") or 1
    if count > MOST_PICTURES:
        raise ApiError(400, f"Invalid 'n': at most {MOST_PICTURES}.", param="n")
    return Asked(model, prompt, *_size(body.get("size")), count)


def _size(value: object) -> tuple[int, int]:
    text = USUAL_SIZE if value in (None, "auto") else str(value)
    width, _, height = text.partition("x")
    if width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and len(text) < 12:  # noqa: PLR2004
        found = int(width), int(height)
        if min(found) >= SMALLEST and found[0] * found[1] <= MOST_PIXELS:
            return found
    raise ApiError(400, f"Invalid size {text[:40]!r}: write for example 1024x1024.", param="size", code="invalid_value")


def render(asked: Asked) -> dict[str, Any]:
    """Return the answer's JSON."""
    pictures = [draw(f"{asked.prompt}\n{number}", asked.width, asked.height) for number in range(asked.count)]
    tokens = count_tokens(asked.prompt)
    drawn = asked.count * (asked.width * asked.height) // 1024
    return {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": "png",
        "quality": "medium",
        "size": f"{asked.width}x{asked.height}",
        "data": [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures],
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": tokens},
            "output_tokens": drawn,
            "total_tokens": tokens + drawn,
        },
    }


def draw(prompt: str, width: int, height: int) -> bytes:
    """Return a PNG: a sky, a sun and some hills; the same prompt always gives the same."""
    chance = np.random.default_rng(int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big"))
    sky, far, near = (np.array(colour, float) for colour in _PALETTES[chance.integers(len(_PALETTES))])
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width, y / height
    pixels = sky + (1 - y)[..., None] ** 1.5 * (far - sky) * 0.55
    centre = chance.uniform(0.2, 0.8), chance.uniform(0.18, 0.4)
    distance = np.hypot((x - centre[0]) * width / height, y - centre[1])
    pixels = _over(pixels, np.array((255, 250, 238), float), np.clip((0.11 - distance) * height / 2, 0, 1) * 0.9)
    for layer in range(4):
        share = layer / 3
        line = 0.52 + 0.13 * layer
        for wave in range(3):
            line = line + chance.uniform(0.01, 0.05) / (wave + 1) * np.sin(
                x * chance.uniform(3, 7) * (wave + 1) + chance.uniform(0, 6)
            )
        pixels = _over(pixels, far + (near - far) * share, np.clip((y - line) * height / 2, 0, 1))
    return _png(_labelled(np.clip(pixels, 0, 255).astype(np.uint8)))


def _over(pixels: Pixels, colour: Pixels, cover: Pixels) -> Pixels:
    return pixels + (colour - pixels) * cover[..., None]


def _labelled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    dots = np.array([[sign == "X" for sign in row] for row in _LABEL])
    scale = max(1, pixels.shape[1] // 400)
    dots = np.kron(dots, np.ones((scale, scale), bool))
    high, wide = dots.shape
    corner = pixels[-high - 4 * scale : -4 * scale, -wide - 4 * scale : -4 * scale]
    if corner.shape[:2] == dots.shape:
        corner[dots] = 235
    return pixels


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
