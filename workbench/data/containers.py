"""What a video file's container says without being decoded: whether the file was cut, and whether
what is in it can be read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

AV1_MARKS = (b"av01", b"V_AV1")
HEAD_BYTES = 1 << 16  # where a container names its codecs, unless they stand at its end
ASF = b"0&\xb2u\x8ef\xcf\x11"  # how a Windows Media file begins
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # ASF 1.2, Sec. 3.2
FLASH_TAGS = (8, 9, 18)  # sound, pictures, data


def is_av1(path: str | Path) -> bool:
    """Whether MP4's or Matroska's name for AV1 stands at the file's start or end."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(file.seek(0, 2) - HEAD_BYTES, 0))
        text = head + file.read()
    return any(mark in text for mark in AV1_MARKS)


def is_cut(path: str | Path, n_bytes: int) -> bool:
    """Whether a part of the file reaches beyond its end: MP4 and MOV, Matroska and WebM, AVI,
    Windows Media, Flash. False where the container does not say how long it is: a transport stream
    is what was received, and ends anywhere.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            ends = _boxes(file)
        elif head[:4] == b"\x1aE\xdf\xa3":
            ends = _elements(file)
        elif head[:4] == b"RIFF":
            ends = _chunks(file)
        elif head.startswith(ASF):
            ends = _stated(file)
        elif head[:4] == b"FLV\1":
            ends = _tags(file)
        else:
            return False
        return any(end > n_bytes for end in ends)


def _boxes(file: BinaryIO) -> Iterator[int]:
    """Where each box of an ISO file ends; one of size 0 goes on to the end."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if len(head) < 8 or size < 8:
            return
        start += size
        yield start


def _chunks(file: BinaryIO) -> Iterator[int]:
    """Where each RIFF list of an AVI ends: files beyond 1 GB have several."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return
        size = int.from_bytes(head[4:], "little")
        start += 8 + size + size % 2
        yield start


def _elements(file: BinaryIO) -> Iterator[int]:
    """Where the header and the segment of a Matroska file end; a segment that was written while it
    was recorded does not say it.
    """
    start = 0
    for _ in range(2):
        file.seek(start)
        head = file.read(12)
        if len(head) < 5:
            return
        width = 9 - head[4].bit_length()  # of the size, bytes
        raw = head[4 : 4 + width]
        size = int.from_bytes(raw, "big") & ((1 << 7 * width) - 1)
        if width > 8 or size == (1 << 7 * width) - 1:
            return
        start += 4 + width + size
        yield start


def _stated(file: BinaryIO) -> Iterator[int]:
    """Where a Windows Media file ends, as its properties say; a broadcast's say nothing."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    at = head.find(FILE_PROPERTIES)
    properties = head[at : at + 92]
    if at > 0 and len(properties) == 92 and not properties[88] & 1:
        yield int.from_bytes(properties[40:48], "little")


def _tags(file: BinaryIO) -> Iterator[int]:
    """Where each tag of a Flash video ends, with its size that stands again behind it."""
    start = 13
    while True:
        file.seek(start)
        head = file.read(4)
        if not head or head[0] not in FLASH_TAGS:
            return
        start += 11 + int.from_bytes(head[1:], "big") + 4
        yield start
