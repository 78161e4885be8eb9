"""Pictures and videos: what is read, what is refused by name, and that frame i is always the
same frame.
"""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from workbench.data import containers
from workbench.data import frames as module
from workbench.data.frames import Frames, open_frames, read_picture
from workbench.errors import (
    BadFile,
    BadParameter,
    EmptyFile,
    MissingFile,
    UnsafeFile,
    WorkbenchError,
)
from workbench.film import write_video
from workbench.records import Clip, Picture, Video


def noise(h=11, w=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


@pytest.fixture
def video(tmp_path):
    """71 frames of 56x48; stripe b of frame i is white where bit b of i is set, so each tells
    its number.
    """
    path = tmp_path / "count.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP90"), 25, (56, 48))
    for i in range(71):
        writer.write(
            np.broadcast_to(255 * (i >> np.arange(56)[:, None] // 8 & 1), (48, 56, 3)).astype(
                np.uint8
            )
        )
    writer.release()
    return path


@pytest.fixture
def long_video(tmp_path):
    """311 frames of 56x48 that differ, two of three of them B-frames, in groups of twelve."""
    path = tmp_path / "long.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mpg2"), 25, (56, 48))
    scene = cv2.resize(noise(12, 14), (56, 48))
    for i in range(311):
        writer.write(np.roll(scene, (i // 7, 3 * i), (0, 1)))
    writer.release()
    return path


def number(frame):
    return int(((frame[24, 4::8, 0] > 127) << np.arange(7)).sum())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_pictures_come_as_stored(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise()).save(path, lossless=True)
    np.testing.assert_array_equal(read_picture(path), noise())


def test_every_kind_of_pixel_becomes_rgb_bytes(tmp_path):
    grey = noise()[..., 0]
    for name, image in {
        "grey": Image.fromarray(grey),
        "alpha": Image.fromarray(
            np.dstack((np.repeat(grey[..., None], 3, -1), noise(seed=1)[..., 0]))
        ),
        "palette": Image.fromarray(grey).convert("P"),
        "wide": Image.fromarray(grey.astype(np.uint16) * 256 + 255),
    }.items():
        image.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(
            read_picture(tmp_path / f"{name}.png"), np.repeat(grey[..., None], 3, -1), name
        )
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BadFile, match="32-bit"):
        read_picture(tmp_path / "float.tiff")


@pytest.mark.parametrize("turn", range(1, 9))
def test_own_pictures_are_turned_by_their_tag_and_those_of_data_sets_are_not(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "x.png"
    image = Image.fromarray(noise())
    image.save(path, exif=exif)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_picture(path), noise())
    np.testing.assert_array_equal(read_picture(path, upright=True), turned)
    for source in (path, tmp_path):
        own = open_frames(source)
        np.testing.assert_array_equal(own[0], turned)
        assert own.size_of(0) == (own.video.width, own.video.height) == turned.shape[1::-1]
        np.testing.assert_array_equal(open_frames(source, upright=False)[0], noise())
    clip = Clip(Video(str(tmp_path), 1), (), pictures=(Picture("x.png", size_wh=(7, 11)),))
    np.testing.assert_array_equal(open_frames(clip)[0], noise())
    assert pickle.loads(pickle.dumps(open_frames(path, upright=False)))[0].shape == (11, 7, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_videos(tmp_path, suffix):
    path = tmp_path / f"walk.{suffix}"
    grey = [np.full((6, 8), 20 * i, np.uint8) for i in range(5)]
    first, *others = map(Image.fromarray, grey)
    first.save(path, save_all=True, append_images=others, duration=40, lossless=True, loop=0)
    frames = open_frames(path)
    assert (len(frames), frames.video.width, frames.video.height) == (5, 8, 6)
    assert frames.video.fps == 25
    for i in (4, 0, 2, 3):
        np.testing.assert_array_equal(frames[i][..., 1], grey[i])
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 20, 40, 60, 80]
    frames.close()
    assert frames[1][0, 0, 0] == 20
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BadFile):
        list(open_frames(path))


@pytest.mark.parametrize("picture", [1, 2])
@pytest.mark.parametrize(
    ("side", "said"), [(65_535, "damaged.*exceeds limit"), (200, "200x200 px, at most 30000")]
)
def test_a_later_picture_of_an_animation_that_is_too_large_is_named(
    tmp_path, monkeypatch, picture, side, said
):
    monkeypatch.setattr(module, "MAX_PIXELS", 30_000)
    pictures = [Image.new("L", (17, 13), 60 * i) for i in range(3)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, optimize=False)
    raw = bytearray(path.read_bytes())
    starts = [i for i in range(len(raw) - 9) if raw[i] == 0x2C and raw[i - 1] == 0]
    own = starts[picture]
    assert len(starts) == 3
    raw[own + 5 : own + 9] = struct.pack("<HH", side, side)
    path.write_bytes(raw)
    with pytest.raises(BadFile, match=rf"a\.gif: .*{said}"):
        list(open_frames(path))


@pytest.mark.parametrize("ending", [b"", b";", b"\0", b"\0;"])
def test_an_animation_cut_anywhere_is_read_or_a_named_error(tmp_path, ending):
    pictures = [Image.fromarray(noise(13, 17, seed)).quantize(16) for seed in range(3)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, optimize=False)
    raw = path.read_bytes()
    for cut in range(raw.index(b"\x2c") - 20, len(raw)):
        path.write_bytes(raw[:cut] + ending)
        try:
            assert len(open_frames(path)) == module.animated(path)
        except BadFile as error:
            assert "a.gif" in str(error)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tiff", "webp", "gif", "ppm"])
def test_a_picture_cut_anywhere_is_a_named_error(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise(31, 37)).save(path)
    raw, whole = path.read_bytes(), read_picture(path)
    for cut in {1, 2, 9, 13, len(raw) // 3, len(raw) // 2, len(raw) - 3, len(raw) - 1}:
        path.write_bytes(raw[:-cut])
        try:
            np.testing.assert_array_equal(read_picture(path), whole)
            assert cut < 3 and suffix in ("gif", "bmp")  # a trailer, or padding: no pixel is lost
        except BadFile as error:
            assert error.file == str(path) and (
                "truncated" in error.problem or "cut" in error.problem
            )


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    path = tmp_path / "x.jpg"
    Image.fromarray(noise()).save(path)
    whole = read_picture(path)
    path.write_bytes(path.read_bytes() + b"\0" * 13)
    np.testing.assert_array_equal(read_picture(path), whole)


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    with pytest.raises(MissingFile):
        read_picture(tmp_path / "none.jpg")
    (tmp_path / "empty.png").touch()
    with pytest.raises(EmptyFile):
        read_picture(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(BadFile, match="not a picture"):
        read_picture(tmp_path / "text.jpg")
    (tmp_path / "program.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(BadFile, match="not a picture"):
        read_picture(tmp_path / "program.eps")


@pytest.mark.parametrize("side", [9100, 60000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_header(tmp_path, side):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(BadFile, match="pixels"):
        read_picture(path)


def test_mutated_pictures_give_pictures_or_named_errors(tmp_path, rng):
    path = tmp_path / "x"
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        Image.fromarray(noise(13, 17)).save(path, kind)
        raw = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            changed = raw.copy()
            changed[rng.integers(len(raw), size=3)] = rng.integers(256, size=3)
            path.write_bytes(changed.tobytes())
            try:
                assert read_picture(path).dtype == np.uint8
            except WorkbenchError:
                pass


def test_a_folder_is_read_in_natural_order(tmp_path, monkeypatch):
    for i in (10, 2, 1):
        Image.fromarray(np.full((5, 7, 3), i, np.uint8)).save(tmp_path / f"f{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._f0.png").write_text("what a Mac leaves behind")
    (tmp_path / "f3.png").mkdir()
    with open_frames(tmp_path) as frames:
        assert [frame[0, 0, 0] for frame in frames] == [1, 2, 10]
        assert frames.video == frames.video and (frames.video.width, frames.video.height) == (7, 5)
        assert frames[-1][0, 0, 0] == 10 and len(frames) == 3
        with pytest.raises(IndexError):
            frames[3]
        with pytest.raises(ValueError, match="read-only"):
            frames[0][0] = 0
    with pytest.raises(BadFile, match="no pictures"):
        # a folder that holds folders only
        open_frames(tmp_path / "..", root=tmp_path / "f1.png" / "..").video

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "scandir", refused)
    with pytest.raises(BadFile, match="cannot be read: Permission"):
        open_frames(tmp_path)


def test_a_clip_finds_its_pictures_and_checks_their_size(tmp_path):
    (tmp_path / "seq").mkdir()
    Image.fromarray(noise()).save(tmp_path / "seq" / "0.png")
    for source, name in (("seq", "0.png"), ("seq", "seq/0.png"), ("", "seq/0.png")):
        clip = Clip(Video(source, 1), pictures=(Picture(name, size_wh=(7, 11)),))
        np.testing.assert_array_equal(open_frames(clip, tmp_path)[0], noise())
    turned = Clip(Video("seq", 1), pictures=(Picture("0.png", size_wh=(11, 7)),))
    with pytest.raises(BadFile, match="7x11 px, its annotation says 11x7"):
        open_frames(turned, tmp_path)[0]
    lost = open_frames(Clip(Video("seq", 1), pictures=(Picture("1.png"),)), tmp_path)
    with pytest.raises(MissingFile, match=r"1\.png"):
        lost[0]
    with pytest.raises(UnsafeFile, match="leaves"):
        open_frames(Clip(Video("seq", 1), pictures=(Picture("../x.png"),)), tmp_path)


def test_a_video_gives_the_same_frame_however_it_is_reached(video, rng):
    with open_frames(video) as frames:
        assert (frames.video.n_frames, frames.video.fps) == (71, 25)
        assert (frames.video.width, frames.video.height) == (56, 48)
        assert number(frames[40]) == 40  # before anything else was seen
        assert [number(frame) for frame in frames] == list(range(71))
        for i in rng.permutation(71):
            assert number(frames[i]) == i
        frames.close()
        assert number(frames[69]) == 69 and number(frames[-71]) == 0
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda i: number(frames[i]), range(70, 0, -7))) == list(
                range(70, 0, -7)
            )
        assert number(pickle.loads(pickle.dumps(frames))[5]) == 5


def in_order(path):
    """All frames, by the decoder alone."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames


def ways(n, rng):
    """Orders in which a scrubber may ask for frames."""
    around = rng.integers(20, n - 20) + rng.integers(-10, 11, 90)
    jumps = (rng.integers(12, n) - np.arange(12) for _ in range(4))
    return {
        "backward": range(n - 1, -1, -1),
        "backward by five": range(n - 1, -1, -5),
        "around one": around,
        "anywhere": rng.integers(0, n, 25),
        "jumps, then steps back": np.concatenate(tuple(jumps)),
        "to and fro": [i + k for i in range(n - 60, 60, -17) for k in (0, 9, -9, 4, -1)],
    }


@pytest.mark.parametrize("room", [64, 9, 2, 0])
def test_frames_are_those_of_decoding_in_order_whatever_was_asked_before(
    long_video, monkeypatch, rng, room
):
    monkeypatch.setattr(module, "PASSED_BYTES", room * 56 * 48 * 3)
    expected = in_order(long_video)
    for way, order in ways(311, rng).items():
        with open_frames(long_video) as frames:
            assert len(frames) == len(expected) == 311
            for i in (0, 310, *order):
                frame = frames[int(i)]
                assert np.array_equal(frame, expected[i]), (way, i)
                assert not frame.flags.writeable


class Counted:
    """A capture that counts how often it decodes, and how often it seeks."""

    def __init__(self, real, counts):
        self.real, self.counts = real, counts

    def __getattr__(self, name):
        self.counts[name] += 1
        return getattr(self.real, name)


def test_a_step_back_costs_little_and_no_more_late_in_a_video(long_video, monkeypatch):
    make, counts = module._capture, Counter()
    monkeypatch.setattr(module, "_capture", lambda *a: Counted(make(*a), counts))
    with open_frames(long_video) as frames:
        frames[310]
        costs = []
        for start in (140, 310):
            frames[start]
            counts.clear()
            for i in range(start, start - 100, -1):
                frames[i]
            costs.append(counts["grab"] + counts["set"])
    early, late = costs
    assert late < 1.5 * early and late < 200


def test_what_is_kept_round_a_scrubber_is_bounded_in_bytes_and_let_go_of(long_video, monkeypatch):
    size = 56 * 48 * 3
    monkeypatch.setattr(module, "PASSED_BYTES", 11 * size + size // 2)
    with open_frames(long_video) as frames:
        frames[310]
        tracemalloc.start()

        def held():
            return tracemalloc.get_traced_memory()[0] / size

        for i in range(309, 200, -1):
            frames[i]
        stepping = held()
        frames[30]
        jumped = held()
        for i in range(29, 10, -1):
            frames[i]
        again = held()
        frames.close()
        closed = held()
        tracemalloc.stop()
    # five that were read last are kept, too
    assert 11 < stepping < 11 + 5 + 2 and 11 < again < 11 + 5 + 2
    assert jumped < 5 + 2 and closed < 2


def test_threads_may_step_back_at_once(long_video):
    expected = in_order(long_video)
    with open_frames(long_video) as frames, ThreadPoolExecutor(4) as pool:
        frames[310]

        def right(start):
            return all(np.array_equal(frames[i], expected[i]) for i in range(start, start - 40, -1))

        assert all(pool.map(right, (310, 300, 90, 280)))


@pytest.mark.parametrize("name", ["12:30.webm", "file:x.webm", "a%03d [1] ü.webm", "-i.webm"])
def test_the_name_of_a_video_is_only_a_name(video, tmp_path, monkeypatch, name):
    video.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert number(open_frames(name)[2]) == 2


def _first_number(frames, queue):
    gc.collect()  # other videos of the parent, open and forgotten, are let go of here
    queue.put([number(frames[i]) for i in (50, 49, 3)])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_reads_for_itself(video):
    frames, forgotten = open_frames(video), [open_frames(video)]
    assert number(frames[7]) == number(forgotten[0][7]) == 7
    for i in range(60, 51, -1):  # frames before these are kept
        assert number(frames[i]) == i
    forgotten.append(forgotten)
    gc.disable()
    del forgotten
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_first_number, args=(frames, queue))
    child.start()
    gc.enable()
    child.join(10)
    alive = child.is_alive()
    child.kill()
    assert not alive  # releasing the parent's decoder would wait for ever
    assert queue.get() == [50, 49, 3]
    assert number(frames[50]) == 50 and number(frames[8]) == 8


class Failing:
    """A capture whose frame 7 does not become pixels."""

    def __init__(self, real):
        self.real, self.at = real, -1

    def __getattr__(self, name):
        return getattr(self.real, name)

    def grab(self):
        self.at += 1
        return self.real.grab()

    def retrieve(self):
        return (False, None) if self.at == 7 else self.real.retrieve()


def test_a_frame_of_a_video_that_does_not_decode_is_black_and_named_where_that_is_asked(
    video, monkeypatch
):
    make = module._capture
    monkeypatch.setattr(module, "_capture", lambda *a: Failing(make(*a)))
    with open_frames(video) as frames:
        with pytest.raises(BadFile, match="frame 7: cannot be decoded"):
            list(frames)
        assert number(frames[8]) == 8
    with open_frames(video, on_bad="report") as frames:
        frames.black = True
        every = list(frames)
        assert len(every) == 71 and not every[7].any() and every[7].shape == every[8].shape
        assert [number(frame) for frame in every[8:]] == list(range(8, 71))
        assert [*frames.lost] == [7] and "frame 7: cannot be decoded" in str(frames.lost[7])


def test_black_pictures_have_their_own_size_and_the_first_one_s_where_none_can_be_read(tmp_path):
    for i, size in enumerate([(11, 7), (11, 7), (13, 5)]):
        Image.fromarray(noise(*size)).save(tmp_path / f"{i}.bmp")
    (tmp_path / "0.bmp").write_bytes(b"")
    raw = (tmp_path / "2.bmp").read_bytes()
    (tmp_path / "2.bmp").write_bytes(raw[:99])
    with pytest.raises(EmptyFile):
        open_frames(tmp_path)
    frames = open_frames(tmp_path, on_bad="report")
    with pytest.raises(EmptyFile):
        frames[0]
    frames.black = True
    assert [frame.shape for frame in frames] == [(11, 7, 3), (11, 7, 3), (13, 5, 3)]
    assert sorted(frames.lost) == [0, 2] and frames[1].any() and not frames[2].any()
    assert not pickle.loads(pickle.dumps(frames))[0].any()


class Claims:
    """A capture whose header claims another count than there is."""

    def __init__(self, real, claim):
        self.real, self.claim = real, claim

    def __getattr__(self, name):
        return getattr(self.real, name)

    def get(self, what):
        return self.claim if what == cv2.CAP_PROP_FRAME_COUNT else self.real.get(what)


@pytest.mark.parametrize("claim", [355.0, 83.0, 70.0, 35.0, 0.0, -9e18])
def test_the_count_that_a_header_claims_proves_nothing(video, monkeypatch, claim):
    make = module._capture
    monkeypatch.setattr(module, "_capture", lambda *a: Claims(make(*a), claim))
    for ask in (len, lambda frames: frames.video.n_frames, lambda frames: sum(1 for _ in frames)):
        frames = open_frames(video)
        assert number(frames[70]) == 70
        assert ask(frames) == 71 == len(frames)
        assert number(frames[-1]) == 70 and number(frames[3]) == 3
        assert [str(claim).removesuffix(".0") in str(w) for w in frames.warnings] == (
            [True] if claim > 71 else []
        )
        with pytest.raises(IndexError):
            frames[71]
    with pytest.raises(IndexError):
        open_frames(video)[500]


def cut_video(path, video, keep=0.6):
    raw = video.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])
    return path


def test_a_video_that_was_cut_is_refused_where_its_end_matters(video, tmp_path):
    path = cut_video(tmp_path / "cut.webm", video)
    strict = open_frames(path)
    assert number(strict[5]) == 5
    for ask in (len, list, lambda frames: frames[70], lambda frames: frames.video):
        with pytest.raises(BadFile, match=r"71 frames by its header, .* it was cut"):
            ask(strict)
    frames = open_frames(path, on_bad="report")
    n = sum(1 for _ in frames)
    assert 5 < n < 71 and n == len(frames) and frames.cut and len(frames.warnings) == 1
    with pytest.raises(IndexError):
        frames[n]


def thirty_frames(path, fourcc):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25, (56, 48))
    for i in range(30):
        writer.write(noise(48, 56, i))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("name", "fourcc"),
    [
        ("x.webm", "VP90"),
        ("x.mp4", "mpg2"),
        ("x.avi", "MJPG"),
        ("x.wmv", "WMV2"),
        ("x.flv", "FLV1"),
    ],
)
def test_whether_a_container_was_cut(tmp_path, name, fourcc):
    path = thirty_frames(tmp_path / name, fourcc)
    raw = path.read_bytes()
    assert not containers.is_cut(path, len(raw))
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(raw[: int(share * len(raw))])
        assert containers.is_cut(path, path.stat().st_size), share
    path.write_bytes(noise().tobytes())
    assert not containers.is_cut(path, path.stat().st_size)


@pytest.mark.parametrize(("name", "fourcc"), [("x.wmv", "WMV2"), ("x.flv", "FLV1")])
def test_cut_windows_media_and_flash_videos_are_refused(tmp_path, name, fourcc):
    path = thirty_frames(tmp_path / name, fourcc)
    raw = path.read_bytes()
    assert len(open_frames(path)) == 30 and not open_frames(path).warnings
    path.write_bytes(raw[: int(0.6 * len(raw))])
    with pytest.raises(BadFile, match="it was cut; on_bad='report'"):
        len(open_frames(path))
    frames = open_frames(path, on_bad="report")
    assert 5 < len(frames) < 30 and frames.cut


def test_what_a_broadcast_states_of_its_size_is_not_believed(tmp_path):
    path = tmp_path / "x.wmv"
    head = containers.ASF + bytes(8) + containers.FILE_PROPERTIES + bytes(24)
    for flags, cut in ((0, True), (1, False)):
        raw = head + (999).to_bytes(8, "little") + bytes(40) + bytes([flags, 0, 0, 0])
        path.write_bytes(raw)
        assert containers.is_cut(path, len(raw)) is cut


def test_a_kind_of_video_that_cannot_be_decoded_is_said(tmp_path):
    path = tmp_path / "x.mp4"
    box = struct.pack(">I4s", 16, b"ftyp") + b"isom0000"
    path.write_bytes(box + struct.pack(">I4s", 24, b"moov") + b"stsd....av01....")
    with pytest.raises(BadFile, match=r"AV1.*ffmpeg"):
        open_frames(path)


def test_what_is_no_video_is_refused_by_name(tmp_path):
    with pytest.raises(MissingFile):
        open_frames(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(EmptyFile):
        open_frames(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(BadFile, match="cannot be opened"):
        open_frames(tmp_path / "text.mp4")
    with pytest.raises(BadParameter, match="on_bad"):
        open_frames(tmp_path, on_bad="maybe")
    with pytest.raises(MissingFile, match="no camera 97"):
        open_frames(97)


def test_a_camera_is_read_in_order_and_has_no_length(video, monkeypatch):
    make = module._capture
    monkeypatch.setattr(module, "_capture", lambda index, backend: make(str(video), cv2.CAP_FFMPEG))
    with open_frames(0) as frames:
        assert frames.video.source == "camera 0" and frames.video.n_frames is None
        assert [number(frame) for frame, _ in zip(frames, range(5))] == list(range(5))
        with pytest.raises(BadParameter, match="no length"):
            frames[0]


def test_a_refused_source_leaves_no_noise_of_the_decoder(tmp_path):
    (tmp_path / "half.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    code = """if True:
        import sys
        from workbench.data.frames import open_frames
        from workbench.errors import WorkbenchError
        for source in (sys.argv[1], 97):
            try:
                open_frames(source)
            except WorkbenchError as error:
                print(type(error).__name__)
    """
    # a process of its own: the decoder asks for its log level once
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "half.mp4")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (["BadFile", "MissingFile"], "")


@pytest.mark.realdata
def test_real_videos(data_root):
    folder = data_root / "mmpose_samples" / "posetrack18" / "videos" / "000001_mpiinew_test"
    for path, facts in {
        data_root / "clips" / "two_people_hug.mp4": (72, 1920, 1080, 28.05),
        data_root / "clips" / "street_pedestrians.mp4": (5, 960, 540, 5.0),
        folder: (5, 1280, 720, None),
        folder / "000001_mpiinew_test.mp4": (5, 1280, 720, 30.0),
    }.items():
        frames = open_frames(path)
        video = frames.video
        assert (
            video.n_frames,
            video.width,
            video.height,
            video.fps and round(video.fps, 2),
        ) == facts
        assert (
            sum(1 for frame in frames if frame.shape == (video.height, video.width, 3)) == facts[0]
        )
    pictures, same = open_frames(folder), open_frames(folder / "000001_mpiinew_test.mp4")
    for i in (4, 0):
        others = [np.abs(pictures[i].astype(int) - same[j]).mean() for j in range(5)]
        assert np.argmin(others) == i and others[i] < 5


@pytest.mark.realdata
def test_real_bad_files(data_root):
    bad = data_root / "bad"
    assert open_frames(bad / "000000000785.jpg")[0].shape == (425, 640, 3)
    with pytest.raises(BadFile, match="truncated image"):
        read_picture(bad / "truncated.jpg")
    with pytest.raises(EmptyFile):
        read_picture(bad / "zero_byte.png")
    with pytest.raises(BadFile, match="video cannot be opened / no frames"):
        open_frames(bad / "half.mp4")


def test_frames_are_a_base_class_only():
    with pytest.raises(NotImplementedError):
        Frames(Video("x", 1), ())[0]


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("suffix", ["webm", "mp4"])
def test_the_last_frame_is_there_after_the_end_was_seen(tmp_path, n, suffix):
    pictures = np.arange(n, dtype=np.uint8)[:, None, None, None] * 40 + np.zeros((64, 80, 3), "u1")
    path = write_video(tmp_path / "a.webm", pictures)
    if suffix == "mp4":
        path = tmp_path / "a.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (80, 64))
        for picture in pictures:
            writer.write(picture)
        writer.release()
    with open_frames(path) as frames:
        assert len(frames) == n
        assert abs(int(frames[n - 1][30, 40, 0]) - 40 * (n - 1)) < 9
