"""What browsers play, and what a video's player is given: its original, a copy made for browsers, or nothing yet."""

from __future__ import annotations

from typing import Protocol

from app.videos.models import Video

MP4_PICTURES = ("h264", "vp9", "av1")
MP4_SOUNDS = ("aac", "mp3", "flac", "opus")
WEBM_PICTURES = ("vp8", "vp9", "av1")
WEBM_SOUNDS = ("opus", "vorbis")
# By the type as which a file is served: the pictures, and the sounds, that Chromium, Firefox and Safari all play in it.
# The reasons stand in docs/decisions/0051-renditions.md.
PLAYED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "video/mp4": (MP4_PICTURES, MP4_SOUNDS),
    "video/quicktime": (("h264",), ("aac", "mp3")),
    "video/webm": (WEBM_PICTURES, WEBM_SOUNDS),
    "audio/webm": ((), WEBM_SOUNDS),
    "audio/mp4": ((), MP4_SOUNDS),
    "audio/mpeg": ((), ("mp3",)),
    "audio/wav": ((), ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le")),
    "audio/flac": ((), ("flac",)),
    "audio/ogg": ((), ("opus", "vorbis", "flac")),
}
# Ten bits are in the main profile of AV1, which whoever plays AV1 must know; of the others they are not.
PIXELS = {"av1": ("yuv420p", "yuvj420p", "yuv420p10le")}
USUAL_PIXELS = ("yuv420p", "yuvj420p")


class Tracks(Protocol):
    """What is known of a file: a `Probe` or a `Video`."""

    @property
    def media_type(self) -> str:
        """The type as which it is served."""

    @property
    def video_codec(self) -> str | None:
        """The picture's codec, by its name in FFmpeg."""

    @property
    def audio_codec(self) -> str | None:
        """The sound's codec, by its name in FFmpeg."""


def browsers_play(found: Tracks) -> bool:
    """Tell whether all browsers play the file as it is.

    The pixel format counts where it is known (a `Probe` knows it, a `Video` does not).
    """
    pictures, sounds = PLAYED.get(found.media_type, ((), ()))
    pixels = getattr(found, "pixel_format", None)
    if found.video_codec and found.video_codec not in pictures:
        return False
    if found.video_codec and pixels and pixels not in PIXELS.get(found.video_codec, USUAL_PIXELS):
        return False
    return found.audio_codec in sounds


def playing_kind(video: Video) -> str | None:
    """Return which file of a video its player gets; None while there is none that browsers play."""
    if video.rendition_status == "ready" and video.rendition_key:
        return "rendition"
    if video.rendition_status is not None:
        return None  # a copy was asked for, since this one is not played
    return "source" if browsers_play(video) else None
