"""Videos against made ones, whose frames tell their number in bars."""

from __future__ import annotations

import sys
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from pydantic import ValidationError

from blemish.errors import BlemishError, ImageError, MissingExtraError
from blemish.modalities import _film
from blemish.modalities.recording import Judged, Recording
from blemish.modalities.video import VideoOptions, open_video
from blemish.settings import settings
from blemish.types import Image, Inspection, Sample

RATE, COUNT = 10, 60
BITS = 6


def numbered(index: int, spot: bool = False) -> Image:
    """Frame `index` of a made video, 48 x 64; a defect is a white square."""
    image = np.full((48, 64, 3), 60, np.uint8)
    for bit in range(BITS):
        # Large enough to survive any codec.
        image[32:, 8 * bit : 8 * bit + 8] = 180 if index >> bit & 1 else 0
    if spot:
        image[8:24, 8:24] = 255
    return image


def number(image: Image) -> int:
    """Which frame a picture is."""
    return sum(
        1 << bit for bit in range(BITS) if image[34:46, 8 * bit + 2 : 8 * bit + 6].mean() > 90
    )


def film(
    path: Path,
    images: Iterable[Image],
    codec: str = "libx264",
    *,
    gop: int = 12,
    stamps: Sequence[int] | None = None,
    keep: Callable[[Any], bool] = lambda packet: True,
    prepare: Callable[[Any], None] = lambda stream: None,
    container: str | None = None,
) -> Path:
    """Write a video of 10 frames a second, or of `stamps` in tenths of a second."""
    with av.open(str(path), "w", format=container) as out:
        fast = {"preset": "ultrafast", "bf": "2"} if codec == "libx264" else {}
        stream: Any = out.add_stream(codec, rate=RATE, options=fast)
        stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", gop, 8_000_000
        prepare(stream)
        frames = [av.VideoFrame.from_ndarray(np.array(image), format="rgb24") for image in images]
        stream.height, stream.width = (frames[0].height, frames[0].width) if frames else (48, 64)
        out.start_encoding()
        for index, frame in enumerate(frames):
            frame.pts = stamps[index] if stamps else index
            frame.time_base = Fraction(1, RATE)
            out.mux([packet for packet in stream.encode(frame) if keep(packet)])
        if frames:
            out.mux([packet for packet in stream.encode() if keep(packet)])
    return path


def opened(path: Path, **options: Any) -> Recording:
    return open_video(path, VideoOptions(**options), id="clip", class_name="street")


def look(sample: Sample) -> Inspection:
    """Marks where white is."""
    maps = tuple((image.min(axis=2) > 220).astype(np.float32) for image in sample.images)
    bad = any(m.any() for m in maps)
    return Inspection(
        sample.id,
        "anomalous" if bad else "normal",
        "calibration",
        score=0.9 if bad else 0.1,
        maps=maps,
        explanation="A white square." if bad else "",
    )


def judged(recording: Recording) -> Iterator[Judged]:
    return ((sample, look(sample)) for sample in recording.samples())


def seen(path: Path, **options: Any) -> list[tuple[str, list[int]]]:
    """What each sample is called, and which frames it shows."""
    return [(s.id, [number(i) for i in s.images]) for s in opened(path, **options).samples()]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 6 seconds in each container, a white square in frames 23 to 31."""
    folder = tmp_path_factory.mktemp("clips")
    images = [numbered(i, 23 <= i < 32) for i in range(COUNT)]
    kinds = {"mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "avi": "mpeg4"}
    kinds["webm"] = "libvpx"
    return {end: film(folder / f"a.{end}", images, codec) for end, codec in kinds.items()}


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "avi", "webm"])
def test_frames_are_those_at_their_times_and_a_defect_comes_back_to_its_seconds(
    clips: dict[str, Path], kind: str
) -> None:
    assert seen(clips[kind], every=0.7) == [
        (f"{0.7 * i:.2f} s", [7 * i]) for i in range(9) if 7 * i < COUNT
    ]
    recording = opened(clips[kind], every=0.1)
    found = recording.back(judged(recording)).inspection
    assert [score for _, _, score in found.spans] == [0.1, 0.9, 0.1]
    edges = [start for start, _, _ in found.spans] + [found.spans[-1][1]]
    assert edges == pytest.approx([0.0, 2.3, 3.2, 6.0], abs=0.001)
    assert found.verdict == "anomalous"
    assert found.explanation == "A white square. Found from 2.3 s to 3.2 s."
    assert recording.about["frames_taken"] == COUNT
    assert recording.about["seconds"] == pytest.approx(6.0, abs=0.001)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_groups_without_a_wanted_frame_are_not_decoded(
    clips: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = []
    real = _film.Film._complete

    def counted(self: Any, stream: Any, packet: Any) -> list[Any]:
        fed.append(packet)
        return real(self, stream, packet)

    monkeypatch.setattr(_film.Film, "_complete", counted)
    assert [frames for _, frames in seen(clips[kind], every=4.8)] == [[0], [48]]
    # Group 1 until its first frame is out, group 5 likewise, of 5 groups of 12 frames.
    assert len(fed) < 36


def test_times_are_those_of_the_frames_not_their_number(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", map(numbered, range(5)), stamps=[0, 1, 25, 31, 60])
    assert seen(path, every=1) == [
        ("0.00 s", [0]),
        ("2.50 s", [2]),
        ("3.10 s", [3]),
        ("6.00 s", [4]),
    ]
    recording = opened(path, every=0.01)
    assert recording.back(judged(recording)).inspection.spans[0][1] == pytest.approx(6.1, abs=0.1)


def test_the_rotation_of_a_phone_is_applied(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 255
    # The matrix that phones write when held upright: x to the right becomes y downwards.
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    path = film(tmp_path / "a.mp4", [image], prepare=lambda s: s.set_display_matrix(turn))
    (sample,) = opened(path).samples()
    assert sample.image.shape == (64, 48, 3)
    assert sample.image[:16, -16:].mean() > 240
    assert sample.image[:16, :16].mean() < 15


def test_windows_hold_neighbours_and_the_last_one_is_full(clips: dict[str, Path]) -> None:
    windows = seen(clips["mp4"], every=1, window=4)
    assert windows == [("0.00 to 3.00 s", [0, 10, 20, 30]), ("2.00 to 5.00 s", [20, 30, 40, 50])]
    assert seen(clips["mp4"], every=2, window=2, step=1) == [
        ("0.00 to 2.00 s", [0, 20]),
        ("2.00 to 4.00 s", [20, 40]),
    ]
    assert seen(clips["mp4"], every=4, window=5) == [("0.00 to 4.00 s", [0, 40])]


def test_a_frame_gets_the_highest_score_of_its_windows(clips: dict[str, Path]) -> None:
    recording = opened(clips["mp4"], every=1, window=2, step=1)
    scores = iter([0.2, None, 0.7, 0.1, 0.1])
    pairs = (
        (s, Inspection(s.id, "anomalous", "calibration", score=next(scores)))
        for s in recording.samples()
    )
    found = recording.back(pairs).inspection
    assert found.spans == ((0, 2, 0.2), (2, 4, 0.7), (4, 6, 0.1))
    assert found.explanation == "Found from 0.0 s to 6.0 s."


def test_scenes_begin_at_cuts_and_where_a_fade_has_gone_far(tmp_path: Path) -> None:
    levels = [10] * 8 + [200] * 8 + [200 - 10 * i for i in range(8)]
    path = film(tmp_path / "a.mp4", [np.full((48, 64, 3), v, np.uint8) for v in levels])
    ids = [sample.id for sample in opened(path, scenes=0.15).samples()]
    # 0.15 of the range is 38 levels: reached 4 frames into the fade.
    assert ids == ["0.00 s", "0.80 s", "2.00 s"]


def test_a_limit_ends_the_looking_and_says_so(clips: dict[str, Path]) -> None:
    recording = opened(clips["mp4"], every=1, most=3)
    found = recording.back(judged(recording)).inspection
    assert found.spans[-1][1] == pytest.approx(3.0)
    assert found.explanation.endswith("Nothing was looked at from 3.0 s on.")
    assert recording.about["left_out_from"] == pytest.approx(3.0)
    whole = opened(clips["mp4"], every=1, most=6)
    assert "Nothing" not in whole.back(judged(whole)).inspection.explanation


def test_samples_can_be_asked_for_twice(clips: dict[str, Path]) -> None:
    recording = opened(clips["mp4"], every=2)
    first = [sample.id for sample in recording.samples()]
    assert [sample.id for sample in recording.samples()] == first
    assert all(s.domain == "scene" and s.class_name == "street" for s in recording.samples())


def test_an_animated_gif_keeps_its_frames_durations(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [PIL.Image.fromarray(numbered(i)) for i in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[500, 1000, 250, 250])
    assert seen(path, every=0.01) == [
        ("0.00 s", [0]),
        ("0.50 s", [1]),
        ("1.50 s", [2]),
        ("1.75 s", [3]),
    ]
    recording = opened(path, every=1)
    assert recording.back(judged(recording)).inspection.spans == ((0, 2, 0.1),)


def test_a_folder_of_frames_goes_by_the_numbers_in_its_names(tmp_path: Path) -> None:
    for index in (10, 2, 1):
        image = numbered(index, spot=index == 2)
        PIL.Image.fromarray(image).save(tmp_path / f"frame_{index}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "frame_11.png").write_text("unread: beyond the limit")
    assert seen(tmp_path, rate=4, every=0.25, most=3) == [
        ("0.00 s", [1]),
        ("0.25 s", [2]),
        ("0.50 s", [10]),
    ]
    with pytest.raises(ImageError, match=r"frame_11\.png"):
        seen(tmp_path)


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    jpegs = []
    for index, size in enumerate([(64, 48), (32, 24), (64, 48)]):
        file = tmp_path / f"{index}.jpg"
        PIL.Image.new("RGB", size, (50 * index,) * 3).save(file)
        jpegs.append(file.read_bytes())
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index, data in enumerate(jpegs):
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = index
            packet.time_base = Fraction(1, 1)
            out.mux(packet)
    samples = list(opened(tmp_path / "a.mkv", window=3).samples())
    assert [image.shape[:2] for image in samples[0].images] == [(48, 64), (24, 32), (48, 64)]


def test_a_video_of_one_frame_lasts_as_long_as_that_frame(tmp_path: Path) -> None:
    recording = opened(film(tmp_path / "a.mp4", [numbered(0)]), window=2)
    (span,) = recording.back(judged(recording)).inspection.spans
    assert span == pytest.approx((0.0, 0.1, 0.1))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_a_video_without_key_frames_is_refused(tmp_path: Path, kind: str, codec: str) -> None:
    images = [numbered(i) for i in range(8)]
    keep = {"gop": 100, "keep": lambda packet: not packet.is_keyframe}
    path = film(tmp_path / f"a.{kind}", images, codec, **keep)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="holds no key frame"):
        list(opened(path).samples())


def test_a_video_of_zero_length_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", [])
    with pytest.raises(ImageError, match="zero length"):
        list(opened(path).samples())


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "avi"])
def test_a_truncated_video_is_refused(clips: dict[str, Path], tmp_path: Path, kind: str) -> None:
    data = clips[kind].read_bytes()
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(ImageError, match="cut short or damaged"):
        list(opened(path).samples())


def test_a_truncated_gif_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [PIL.Image.fromarray(numbered(i)) for i in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="cut short"):
        list(opened(path).samples())


def test_sound_without_a_picture_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    with av.open(str(tmp_path / "a.wav")) as source, av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        for frame in source.decode(audio=0):
            out.mux(stream.encode(frame))
    with pytest.raises(ImageError, match="sound but no picture"):
        opened(tmp_path / "a.mkv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am a text\n" * 9, "is no video that blemish reads"),
        (b"#EXTM3U\n#EXTINF:1\nhttp://example.com/a.ts\n", "is no video"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "cut short or damaged"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "cut short or damaged"),
        (b"GIF89a" + bytes(4) + b";", "holds no frame|damaged"),
    ],
)
def test_files_that_are_no_video_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        list(opened(path).samples())


def test_missing_files_and_folders_without_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a file"):
        opened(tmp_path / "nowhere.mp4")
    with pytest.raises(ImageError, match="folder without pictures"):
        opened(tmp_path)


def test_frames_over_the_limit_are_refused_at_once(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PIL.Image.new("L", (64, 48)).save(tmp_path / "a.gif")
    monkeypatch.setenv("BLEMISH_MAX_PIXELS", "3000")
    settings.cache_clear()
    try:
        for path in (clips["mp4"], tmp_path / "a.gif"):
            with pytest.raises(ImageError, match="64 x 48 pixels; at most 3,000"):
                opened(path)
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_a_damaged_file_never_ends_in_another_error(clips: dict[str, Path], tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for kind, clip in clips.items():
        data = np.frombuffer(clip.read_bytes(), np.uint8)
        for _ in range(12):
            broken = data.copy()
            places = chance.integers(0, len(data), 20)
            broken[places] = chance.integers(0, 256, 20)
            path = tmp_path / f"a.{kind}"
            path.write_bytes(broken.tobytes())
            try:
                list(opened(path, every=0.5).samples())
            except BlemishError:
                continue


def test_a_video_without_pyav_names_the_command(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "blemish\[video\]"'):
        opened(clips["mp4"])


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"step": 2}, {"scenes": 1.5}, {"window": 0}, {"fps": 3}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VideoOptions(**options)
