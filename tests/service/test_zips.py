"""ZIP archives: what becomes of good ones, and how each kind of bad one is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from blemish.errors import InputError
from blemish.service.types import Upload
from blemish.service.zips import Limits, unpacked

LIMITS = Limits()


def packed(
    *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def refused(data: bytes, limits: Limits = LIMITS) -> str:
    """What is said of an archive of which nothing is unpacked."""
    with pytest.raises(InputError) as caught:
        unpacked([Upload("parts.zip", data)], limits)
    return str(caught.value)


def unreadable(data: bytes) -> str:
    """What is said of an archive's only entry when it is read."""
    [entry] = unpacked([Upload("parts.zip", data)], LIMITS)
    with pytest.raises(InputError) as caught, entry.open():
        pytest.fail("it was read")
    return str(caught.value)


def test_the_files_of_an_archive_stand_in_its_place() -> None:
    data = packed(("a.png", b"one"), ("deep/b.png", b"two"), ("deep/", b""))
    found = unpacked([Upload("x.png", b"x"), Upload("parts.zip", data), Upload("y", b"")], LIMITS)
    assert [(u.name, u.data) for u in found] == [
        ("x.png", b"x"),
        ("a.png", b"one"),
        ("deep/b.png", b"two"),
        ("y", b""),
    ]


def test_the_first_bytes_decide_and_not_the_name() -> None:
    found = unpacked(
        [Upload("parts.png", packed(("a.png", b"1"))), Upload("b.zip", b"2")], Limits()
    )
    assert [u.name for u in found] == ["a.png", "b.zip"]


def test_what_systems_add_is_left_out_and_other_files_are_kept() -> None:
    names = (
        *("__MACOSX/._a.png", ".DS_Store", "a/.hidden/b.png", "Thumbs.db", "a/thumbs.DB"),
        *("a\\Desktop.ini", "desktop.ini", "notes.txt", "a.png"),
    )
    found = unpacked([Upload("z", packed(*((name, b"1") for name in names)))], LIMITS)
    assert [u.name for u in found] == ["notes.txt", "a.png"]


def test_an_archive_within_an_archive_stays_one() -> None:
    inner = packed(("a.png", b"1"))
    [found] = unpacked([Upload("z", packed(("b.zip", inner)))], LIMITS)
    assert (found.name, found.data) == ("b.zip", inner)


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/passwd", "a\\..\\evil.png", "C:\\evil.png"]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name  # the constructor would change backslashes on Windows
    assert "leads out" in refused(packed((info, b"1")))


def test_links_are_refused() -> None:
    link = zipfile.ZipInfo("part.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    assert "a link" in refused(packed((link, b"/etc/passwd")))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = packed(("part.png", bytes(200 * 2**20)))
    assert len(bomb) < 2**20
    assert "times its size" in refused(bomb)


def test_a_bomb_of_many_small_files_is_refused() -> None:
    data = packed(*((f"{n}.png", bytes(2**20)) for n in range(8)))
    assert "times its size" in refused(data)


def test_a_size_that_lies_is_noticed() -> None:
    data = bytearray(packed(("part.png", bytes(3 * 2**20))))
    index = data.rindex(b"PK\x01\x02")
    data[index + 24 : index + 28] = struct.pack("<I", 10)
    assert "broken" in unreadable(bytes(data))


def test_too_many_entries_or_bytes_are_refused() -> None:
    data = packed(*((f"{n}.png", b"1") for n in range(5)))
    assert "5 entries; expected at most 4" in refused(data, Limits(entries=4))
    assert "more than 2 entries" in refused(data, Limits(entries=2))
    assert "5 bytes of files; expected at most 4" in refused(data, Limits(size=4))


def test_the_archives_of_a_request_are_counted_together() -> None:
    one = Upload("one.zip", packed(("a.png", b"123"), ("b.png", b"4")))
    two = Upload("two.zip", packed(("c.png", b"56")))
    assert len(unpacked([one, two, one], Limits(entries=5, size=10))) == 5
    for limits, why in (
        (Limits(entries=4), "'one.zip' holds 2 entries; expected at most 4 in all archives"),
        (Limits(size=9), "'one.zip' holds 4 bytes of files; expected at most 9 in all archives"),
    ):
        with pytest.raises(InputError, match=why):
            unpacked([one, two, one], limits)


@pytest.mark.parametrize("cut", [10, 40, -30, -4])
def test_a_broken_archive_is_refused(cut: int) -> None:
    assert "broken" in refused(packed(("part.png", bytes(range(256))))[:cut])


def test_damage_inside_is_noticed() -> None:
    data = bytearray(packed(("part.png", b"abcdefgh"), method=zipfile.ZIP_STORED))
    data[data.index(b"abcdefgh")] ^= 1
    assert "broken" in unreadable(bytes(data))


def test_encrypted_and_odd_ones_are_refused() -> None:
    data = bytearray(packed(("part.png", b"1")))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(bytes(data))
    assert "plain ZIP" in refused(packed(("part.png", b"1"), method=zipfile.ZIP_LZMA))


def test_an_empty_one_is_refused() -> None:
    assert "holds no file" in refused(packed())
