"""Files that no honest program writes: each is a `bytes`, and each must be refused with a sentence.

The bombs are small here and enormous once unpacked; what they claim or hold is said with each.
"""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av

from tests.videos.media_files import RATE, make_media, tone

TEXT = b"Dear sir or madam,\n" * 500
HUGE = 16_000  # pixels on each side: FFmpeg itself refuses not much more than this


def media(name: str, **how) -> bytes:
    """A real file."""
    with tempfile.TemporaryDirectory() as folder:
        return make_media(Path(folder) / name, **how).read_bytes()


def film_without_its_index() -> bytes:
    """An MP4 is cut before the index at its end."""
    whole = media("talk.mp4", seconds=20)
    return whole[: len(whole) // 2]


def film_without_its_end() -> bytes:
    """An MP4 whose index comes first is cut behind it."""
    whole = media("talk.mp4", seconds=20, options={"movflags": "faststart"})
    return whole[: len(whole) // 2]


def wave_of_nothing(samples: int = 80) -> bytes:
    """A hundredth of a second of sound."""
    data = bytes(2 * samples)
    head = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
    )


def zipped() -> bytes:
    """A film in a ZIP archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("talk.mp4", media("talk.mp4"))
    return packed.getvalue()


def zeros_in_gzip() -> bytes:
    """A hundred megabytes of nothing, packed."""
    return gzip.compress(bytes(100_000_000), 1)


def index_that_claims_much() -> bytes:
    """An MP4 whose index claims 268 million samples."""
    data = bytearray(media("talk.mp4", options={"movflags": "faststart"}))
    at = 0
    while (at := data.find(b"stsz", at + 1)) > 0:
        data[at + 8 : at + 16] = struct.pack(">II", 0, 0x0FFFFFFF)
    return bytes(data)


def packed_index() -> bytes:
    """A MOV whose index is packed, 100 MB that claim to be 2 GB once unpacked."""
    packed = _deflate(100_000_000)
    body = _box(b"dcom", b"zlib") + _box(b"cmvd", struct.pack(">I", 0x7FFFFFF0) + packed)
    return _box(b"ftyp", b"qt  \0\0\0\0qt  ") + _box(b"moov", _box(b"cmov", body)) + _box(b"mdat", bytes(100_000))


def thirty_hours_of_silence() -> bytes:
    """A FLAC of 200 kB with 860 million samples: one value for each block of 8 seconds."""
    blocks = 30 * 3600 * 8000 // 65535 + 1
    info = struct.pack(">HH", 65535, 65535) + bytes(6) + struct.pack(">Q", 8000 << 44 | 15 << 36) + bytes(16)
    return b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info + b"".join(map(_flac_block, range(blocks)))


def enormous_picture() -> bytes:
    """A MOV whose picture has 256 million pixels."""
    return _film_of([_png(HUGE)], HUGE)


def picture_that_lies() -> bytes:
    """The same, but the file says 160 x 160."""
    return _film_of([_png(HUGE)], 160)


def picture_that_grows() -> bytes:
    """A MOV that shows a small dark picture first."""
    return _film_of([_png(160), *[_png(HUGE)] * 3], 160)


def packed_sound() -> bytes:
    """A MKV of 400 kB whose one block of sound unpacks to 100 MB."""
    sound = _ebml(0xB5, struct.pack(">d", 8000.0)) + _ebml(0x9F, b"\1") + _ebml(0x6264, b"\x10")
    packing = _ebml(0x6D80, _ebml(0x6240, _ebml(0x5034, _ebml(0x4254, b"\0"))))
    track = _ebml(0xD7, b"\1") + _ebml(0x73C5, b"\1") + _ebml(0x83, b"\2") + _ebml(0x86, b"A_PCM/INT/LIT")
    head = _ebml(0x4286, b"\1") + _ebml(0x4282, b"matroska") + _ebml(0x4287, b"\4") + _ebml(0x4285, b"\2")
    cluster = _ebml(0xE7, b"\0") + _ebml(0xA3, b"\x81\0\0\x80" + _deflate(100_000_000))
    tracks = _ebml(0x1654AE6B, _ebml(0xAE, track + _ebml(0xE1, sound) + packing))
    info = _ebml(0x1549A966, _ebml(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    return _ebml(0x1A45DFA3, head) + _ebml(0x18538067, info + tracks + _ebml(0x1F43B675, cluster))


def flood_behind_a_trickle(path: Path, seconds: int) -> Path:
    """A MKV of 15 seconds of sound in small packets, which are tried when it is added, and of the rest in one."""
    with av.open(str(path), "w", format="matroska") as out:
        track = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        sizes = [1600] * 150 + [16_000 * seconds]
        for number, size in enumerate(sizes):
            packet = av.Packet(b"\x10\x20" * (size // 2))
            packet.stream, packet.time_base, packet.is_keyframe = track, Fraction(1, 10), True
            packet.pts = packet.dts = number
            out.mux(packet)
    return path


# What it is called in a test: (how it is made, a part of its sentence).
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (bytes, "This file is empty."),
    "text named .mp4": (lambda: TEXT, "This is not a video or sound file that can be read here."),
    "an MP4 without its index": (film_without_its_index, "This file is damaged"),
    "an MP4 without its end": (film_without_its_end, "This file ends too early"),
    "a film without sound": (lambda: media("talk.mp4", sound=False), "This video has no sound"),
    "zero seconds": (wave_of_nothing, "This file is zero seconds long."),
    "a ZIP named .mp4": (zipped, "This is not a video or sound file that can be read here."),
    "a gzip bomb named .mp4": (zeros_in_gzip, "This is not a video or sound file that can be read here."),
    "an index that claims 268 million samples": (index_that_claims_much, "This file is damaged"),
    "a packed index that claims 2 GB": (packed_index, "This file unpacks to more than can be handled here."),
    "a FLAC of thirty hours in 200 kB": (thirty_hours_of_silence, "This file is 29:59:"),
    "a picture of 256 million pixels": (enormous_picture, "This file unpacks to more than can be handled here."),
    "a picture that says it is small": (picture_that_lies, "This file unpacks to more than can be handled here."),
    "a picture that grows": (picture_that_grows, "This file unpacks to more than can be handled here."),
    "sound of 100 MB in one packed block": (packed_sound, "This file is damaged"),
}


def _film_of(pictures: list[bytes], size: int) -> bytes:
    """A MOV with sound and pictures, whose header says `size` for both sides of them."""
    made = io.BytesIO()
    with av.open(made, "w", format="mov") as out:
        track = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        film = out.add_stream("png", rate=10)
        film.width, film.height, film.pix_fmt = size, size, "gray"
        samples = (tone(2.0)[None, :] * 32_000).astype("int16")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for packet in [*track.encode(frame), *track.encode(None)]:
            out.mux(packet)
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.time_base, packet.is_keyframe = film, Fraction(1, 10), True
            packet.pts = packet.dts = number
            out.mux(packet)
    return made.getvalue()


def _png(size: int) -> bytes:
    """A black picture of `size` x `size`."""
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", _deflate(size * (size + 1))), (b"IEND", b"")]
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


@cache
def _deflate(count: int) -> bytes:
    """`count` zeros, packed."""
    packer, block = zlib.compressobj(1), bytes(1 << 20)
    whole, rest = divmod(count, len(block))
    return b"".join(packer.compress(block) for _ in range(whole)) + packer.compress(bytes(rest)) + packer.flush()


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def _ebml(identity: int, data: bytes) -> bytes:
    size = (len(data) | 1 << 56).to_bytes(8, "big")
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big") + size + data


def _flac_block(number: int) -> bytes:
    head = b"\xff\xf8\x70\x08" + _utf8(number) + struct.pack(">H", 65535 - 1)
    head += bytes([_crc(head, 8, 0x07)])
    block = head + b"\0\0\0"  # a constant: zero
    return block + struct.pack(">H", _crc(block, 16, 0x8005))


def _utf8(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    found, top = 0, 1 << (bits - 1)
    for byte in data:
        found ^= byte << (bits - 8)
        for _ in range(8):
            found = (found << 1 ^ polynomial if found & top else found << 1) & ((1 << bits) - 1)
    return found
