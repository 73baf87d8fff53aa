"""Video files, read with PyAV: only what is asked for is decoded, and nothing is held.

A video is a chain of groups of pictures; each begins with a key frame, the others build on it. The
packets of a group are collected undecoded until the next key frame tells whether any frame of the
group is wanted. This needs no seeking, which several containers do inexactly, and the whole file is
read, so that its true end is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.errors import ImageError, MissingExtraError
from blemish.modalities._frames import EXACT, SMALL, Frame, Pick, check_size

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

KINDS: Mapping[str, str] = {"mov": "MP4 or MOV", "matroska": "MKV or WebM", "avi": "AVI"}
"""PyAV's name of a container to what a person calls it."""

_HELD = 32 * 2**20
"""Bytes of undecoded packets that are collected at most: a video may have a single key frame."""


def kind(start: bytes) -> str:
    """PyAV's name of the container that a file begins like, or "".

    The content decides, never the name: a playlist named .mp4 could make FFmpeg open other files.
    """
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "avi" if start[:4] == b"RIFF" and start[8:11] == b"AVI" else ""


class Film:
    """A video file. Its rotation is applied; its pixels are taken as square."""

    def __init__(self, path: Path, container: str) -> None:
        self._path = path
        self._container = container
        self._read = 0.0
        """Seconds at which the last packet of any stream ends that was read."""
        self._key = False
        """Whether a key frame was decoded since the decoder was started."""
        with self._open() as opened:
            stream = self._stream(opened)
            check_size(path, stream.height, stream.width)
            rate = float(stream.average_rate or 0)
            self._step = 1 / rate if rate else 0.0
            self._declared, self._own = _declared(opened, stream)
            self.end = self._own or self._declared
            self.about: Mapping[str, Any] = {
                "kind": KINDS[container],
                "codec": stream.codec_context.name,
                "height": stream.height,
                "width": stream.width,
                "frames_per_second": round(rate, 3),
            }

    def frames(self, pick: Pick) -> Iterator[Frame]:
        """The frames from `pick.due` on, without decoding groups in which none is wanted."""
        last, self._read, self._key = -math.inf, 0.0, False
        with self._open() as opened:
            stream = self._stream(opened)
            # Not from the frame, which has no time base where it comes out last.
            unit = float(stream.time_base or 0)
            zero = (stream.start_time or 0) * unit
            for raw in self._decoded(opened, stream, zero, pick):
                time = last + self._step if raw.pts is None else raw.pts * unit - zero
                time = time if math.isfinite(time) else 0.0
                # A broken clock may stand still or go back; spans may not.
                if time <= last:
                    continue
                check_size(self._path, raw.height, raw.width)
                last = time
                if last >= pick.due - EXACT:
                    yield self._frame(raw, last)
            self._check_end(last)

    def _frame(self, raw: VideoFrame, time: float) -> Frame:
        def image() -> Any:
            if raw.is_corrupt:
                raise self._damaged(f"the frame at {time:.2f} s is incomplete")
            # FFmpeg counts angles against the clock, as rot90 does.
            shown = np.rot90(raw.to_ndarray(format="rgb24"), round(raw.rotation / 90))
            return np.ascontiguousarray(shown)

        def small() -> Any:
            return raw.to_ndarray(format="gray", width=SMALL[1], height=SMALL[0])

        return Frame(time, image, small)

    def _decoded(
        self, opened: InputContainer, stream: VideoStream, zero: float, pick: Pick
    ) -> Iterator[VideoFrame]:
        """Decoded frames, of those groups in which one is due."""
        context = stream.codec_context
        for group, following in self._groups(opened, stream, zero):
            for packet in group:
                if pick.due >= following - EXACT:
                    context.flush_buffers()
                    self._key = False
                    break
                yield from self._complete(stream, packet)
        yield from self._complete(stream, None)

    def _complete(self, stream: VideoStream, packet: Packet[VideoStream] | None) -> list[Any]:
        """The frames that a packet completes, without those that come before a key frame."""
        try:
            frames = stream.decode(packet)
        except _av().FFmpegError as error:
            if not self._key:
                return []
            raise self._damaged(str(error.strerror)) from error
        whole = []
        for frame in frames:
            self._key = self._key or frame.key_frame
            if self._key:
                whole.append(frame)
        return whole

    def _groups(
        self, opened: InputContainer, stream: VideoStream, zero: float
    ) -> Iterator[tuple[list[Packet[VideoStream]], float]]:
        """Packets of one group, and when the next begins; of a large group, a piece at a time."""
        held: list[Packet[VideoStream]] = []
        size = 0
        for packet in self._packets(opened, zero):
            if packet.stream_index != stream.index:
                continue
            if packet.is_keyframe and held:
                stamp = packet.pts if packet.pts is not None else packet.dts
                known = stamp is not None and packet.time_base is not None
                yield held, float(stamp * packet.time_base) - zero if known else -math.inf
                held, size = [], 0
            elif size > _HELD:
                yield held, -math.inf
                held, size = [], 0
            held.append(packet)
            size += packet.size
        if held:
            yield held, math.inf

    def _packets(self, opened: InputContainer, zero: float) -> Iterator[Any]:
        """All packets of all streams: the longest stream tells whether the file is whole."""
        try:
            for packet in opened.demux():
                if not packet.size:
                    continue
                if packet.pts is not None and packet.time_base is not None:
                    ended = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._read = max(self._read, float(ended) - zero)
                    if packet.stream.type == "video" and not self._own:
                        self.end = max(self.end, self._read)
                yield packet
        except _av().FFmpegError as error:
            raise self._damaged(str(error.strerror)) from error

    def _check_end(self, last: float) -> None:
        """Refuse a file that had no frame to show, or ended before its header says."""
        if not math.isfinite(last):
            if not self._read:
                raise self._empty()
            raise ImageError(
                f"{self._path} holds no key frame, so that none of its frames can be shown whole. "
                "Save the video again from its source, for instance with ffmpeg."
            )
        if self._read < self._declared - max(0.5, 0.01 * self._declared):
            raise self._damaged(
                f"it ends after {self._read:.1f} s, but its header says {self._declared:.1f} s"
            )
        self.end = max(self.end, last + self._step)

    def _empty(self) -> ImageError:
        return ImageError(f"{self._path} is a video of zero length: it holds no frame.")

    def _damaged(self, why: str) -> ImageError:
        return ImageError(
            f"{self._path} is a video that is cut short or damaged: {why}. Copy it again from "
            "where it came."
        )

    def _open(self) -> InputContainer:
        av = _av()
        try:
            opened: InputContainer = av.open(
                str(self._path.absolute()),
                format=self._container,
                # No address or playlist inside may make FFmpeg open anything else.
                options={"protocol_whitelist": "file"},
                metadata_errors="ignore",
            )
        except av.EOFError:
            raise self._empty() from None
        except (av.FFmpegError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise self._damaged(f"it cannot be opened ({why})") from error
        return opened

    def _stream(self, opened: InputContainer) -> VideoStream:
        """The first moving picture; the cover of a piece of music is none."""
        cover = import_module("av.stream").Disposition.attached_pic
        for stream in opened.streams.video:
            if not stream.disposition & cover:
                if stream.codec_context is None:
                    raise ImageError(
                        f"{self._path} is compressed in a way that is not known here. Save it as "
                        "H.264 in MP4."
                    )
                stream.thread_type = "AUTO"
                return stream
        if opened.streams.audio:
            raise ImageError(f"{self._path} holds sound but no picture. Expected a video.")
        raise self._damaged("it holds no picture")


def _declared(opened: InputContainer, stream: VideoStream) -> tuple[float, float]:
    """Seconds that the header gives the file and, where it does, this stream; 0 if unknown."""
    own = float((stream.duration or 0) * (stream.time_base or 0))
    counted = stream.frames / float(stream.average_rate) if stream.average_rate else 0.0
    return max(own, (opened.duration or 0) / 1e6, counted), own


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError as cause:
        raise MissingExtraError(
            'Videos need PyAV, which is not installed. Install it: pip install "blemish[video]"'
        ) from cause
