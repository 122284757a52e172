"""Demux and decode what may be broken: broken parts are left out, parts that need too much memory are not.

PyAV's MemoryError is one of its FFmpegErrors too, so whoever leaves out what is broken takes a bomb for a scratch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer


def packets(container: InputContainer, stream: Any) -> Iterator[Any]:
    """Yield the packets of a stream, as far as the file can be read.

    The last one is empty, so that whoever decodes it gets what the decoder still has in hand.
    """
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except MemoryError:
            raise
        except av.FFmpegError:
            last: Any = av.Packet()
            last.stream = stream
            yield last
            return
        yield packet


def decoded(packet: Any) -> list[Any] | None:
    """Return the frames of a packet; None when it is broken."""
    try:
        return list(packet.decode())
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError):
        return None


def frames(container: InputContainer, stream: Any, most_packets: int | None = None) -> Iterator[Any]:
    """Yield the frames of a stream that are whole; `most_packets`: only of its first ones."""
    for packet in itertools.islice(packets(container, stream), most_packets):
        yield from decoded(packet) or ()
