"""Windows: the right pixels, the right joints, the same sample for a seed, and nothing lost in
silence.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from workbench import geometry
from workbench.data.frames import open_frames
from workbench.data.windows import (
    Augment,
    WindowConfig,
    Windows,
    clips_of,
    detected_windows,
    loader,
    normalised,
    prefetched,
)
from workbench.errors import BadFile, BadParameter, BadRecord, WorkbenchError
from workbench.records import Clip, PersonBoxes, Picture, Pose, Reading, Track, Video
from workbench.skeletons import skeleton

COCO = skeleton("coco17")
SIZE = (96, 128)
STILL = Augment((1.0, 1.0), 0.0, 0.0, flip=0.0)


def ramps(t=7, w=211, h=173, k=17):
    """Joints, and pixels that say where they are: red = x, green = y, blue = 10 times the frame."""
    rng = np.random.default_rng(5)
    xy = rng.uniform((60, 40), (150, 130), (1, k, 2)) + rng.uniform(-5, 5, (t, k, 2))
    frames = np.stack(
        [np.dstack((*np.meshgrid(range(w), range(h)), np.full((h, w), 10 * i))) for i in range(t)]
    )
    boxes = np.concatenate((xy.min(1) - 7, xy.max(1) + 7), -1)
    return xy.astype(np.float32), frames.astype(np.uint8), boxes


def clip_of(xy, boxes, labelled=None, visibility=None, track_id=3):
    t, k = xy.shape[:2]
    labelled = np.ones(t, bool) if labelled is None else np.asarray(labelled)
    visibility = np.full((t, k), 2) * labelled[:, None] if visibility is None else visibility
    boxes, xy = boxes * labelled[:, None], xy * labelled[:, None, None]
    return Clip(
        Video("made", t), [Track("coco17", track_id, xy, visibility, labelled, boxes)], name="made"
    )


@pytest.fixture
def pair():
    xy, frames, boxes = ramps()
    return clip_of(xy, boxes), frames


def mirrored(window):
    return bool(np.linalg.det(window.affine[:, :2]) < 0)


def config(**kw):
    return WindowConfig(**{"size": SIZE, "augment": STILL, **kw})


def test_windows_repeat_the_border(pair):
    windows = Windows([pair], config())
    assert len(windows) == 7 and windows.id(2) == "made track 3 frame 2"
    first, last = windows.sample(0), windows.sample(6)
    assert first.frames.tolist() == [0, 0, 0, 1, 2] and last.frames.tolist() == [4, 5, 6, 6, 6]
    np.testing.assert_array_equal(first.crops[0], first.crops[2])
    assert windows.sample(3).frames.tolist() == windows.frames_of(3).tolist() == [1, 2, 3, 4, 5]


def test_one_box_grown_to_the_aspect_and_enlarged_serves_all_frames(pair):
    clip, _ = pair
    for alignment in ("centre", "udp", "msra"):
        window = Windows([pair], config(alignment=alignment)).sample(3)
        box = geometry.enlarge(clip.tracks[0].boxes_xyxy[3], 1.25, 96 / 128)
        np.testing.assert_allclose(window.affine, geometry.frame_to_crop(box, SIZE, alignment))
        assert np.ptp(box[[0, 2]]) / np.ptp(box[[1, 3]]) == pytest.approx(0.75)
        xy_frame = clip.tracks[0].xy_frame[window.frames]
        np.testing.assert_allclose(
            window.xy_crop, geometry.apply(window.affine, xy_frame), atol=1e-4
        )


@pytest.mark.parametrize("alignment", ["centre", "udp", "msra"])
def test_joints_stay_on_their_pixels_under_every_augmentation(pair, alignment):
    windows = Windows([pair], config(alignment=alignment, augment=Augment(half_body=0.5)))
    track, kinds = pair[0].tracks[0], set()
    for seed in range(11):
        window = windows.sample(3, np.random.default_rng(seed))
        kinds.add(mirrored(window))
        names = COCO.flip_index if mirrored(window) else np.arange(17)
        px = (
            0.5 * np.abs(geometry.invert(window.affine)[:, :2]).sum(1) + 1
        )  # half a crop pixel in the frame, and rounding
        for i, frame in enumerate(window.frames):
            seen = np.flatnonzero(window.visibility[i])
            x, y = window.xy_crop[i, seen].round().astype(int).clip(0, (95, 127)).T
            found = window.crops[i, y, x].astype(float)
            assert len(seen) >= 3 and (found[:, 2] == 10 * frame).all()
            assert (np.abs(found[:, :2] - track.xy_frame[frame, names[seen]]) <= px).all()
    assert kinds == {True, False}


def test_the_augmentation_is_that_of_the_configuration(pair):
    windows = Windows([pair], config(augment=Augment()))
    base = windows.sample(3).affine
    unit = np.sqrt(np.linalg.det(base[:, :2]))
    scales, angles, flips = [], [], []
    for seed in range(200):
        window = windows.sample(3, np.random.default_rng(seed))
        linear = window.affine[:, :2] / unit
        scales.append(np.sqrt(abs(np.linalg.det(linear))))
        flips.append(np.linalg.det(linear) < 0)
        turn = linear * (-1 if mirrored(window) else 1, 1)
        angles.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    assert 40 < np.max(np.abs(angles)) <= 45 and abs(np.mean(angles)) < 6
    assert 0.4 < np.mean(flips) < 0.6
    assert max(scales) > 1 / 0.65 + 1e-6  # only a half body comes closer than the nearest scale
    whole = Windows([pair], config(augment=Augment(half_body=0.0)))
    scales = [
        abs(np.linalg.det(whole.sample(3, np.random.default_rng(s)).affine[:, :2])) ** 0.5
        for s in range(99)
    ]
    assert unit / 1.35 - 1e-6 <= min(scales) and max(scales) <= unit / 0.65 + 1e-6


def test_a_half_body_is_the_upper_or_the_lower_one(pair):
    windows = Windows([pair], config(augment=replace(STILL, half_body=1.0)))
    xy = pair[0].tracks[0].xy_frame[3]
    expected = []
    for joints in (slice(0, 11), slice(11, 17)):
        box = geometry.enlarge(geometry.box_of_points(xy[joints]), 1.5, 96 / 128)
        expected.append(geometry.frame_to_crop(box, SIZE, "udp"))
    found = {
        int(
            np.argmin(
                [
                    np.abs(windows.sample(3, np.random.default_rng(s)).affine - e).max()
                    for e in expected
                ]
            )
        )
        for s in range(12)
    }
    assert found == {0, 1}
    assert (
        min(np.abs(windows.sample(3, np.random.default_rng(0)).affine - e).max() for e in expected)
        < 1e-5
    )


def test_a_hand_has_no_lower_half_to_cut():
    xy, frames, boxes = ramps(t=1, k=21)
    clip = Clip(Video("made", 1), [Track("hand21", 0, xy, np.full((1, 21), 2), [True], boxes)])
    windows = Windows([(clip, frames)], config(offsets=(0,), augment=replace(STILL, half_body=1.0)))
    assert all(
        (windows.sample(0, np.random.default_rng(s)).affine == windows.sample(0).affine).all()
        for s in range(7)
    )


def test_joints_outside_the_crop_weigh_nothing_and_unlabelled_ones_have_no_place(pair):
    clip, frames = pair
    track = clip.tracks[0]
    xy, flags = track.xy_frame.copy(), track.visibility.copy()
    xy[3, 5] = 208, 5
    flags[3, 6], xy[3, 6] = 0, 0
    flags[:, 7] = 1
    clip = Clip(clip.video, [replace(track, xy_frame=xy, visibility=flags)], name="made")
    window = Windows([(clip, frames)], config()).sample(3)
    assert (
        window.visibility[2, 5] == 0
        and window.visibility[1, 5] == 2
        and window.visibility[2, 7] == 1
    )
    assert (window.xy_crop[2, 5] != 0).all() and (window.xy_crop[2, 6] == 0).all()
    batch = Windows([(clip, frames)], config()).batch([3])
    assert batch["weights"][0, 2].tolist() == [1, 1, 1, 1, 1, 0, 0] + [1] * 10


def test_a_window_at_an_interval_holds_the_labelled_neighbours():
    xy, frames, boxes = ramps(t=23)
    clip = clip_of(xy, boxes, labelled=np.arange(23) >= 2)
    # labels at 2, 9, 16 stay; 23 would lie outside
    windows = Windows([(clip, frames)], config(interval=7))
    assert windows.items[:, 2].tolist() == [*range(3, 9), *range(10, 16), *range(17, 23)]
    window = windows.sample(0)
    assert window.frames.tolist() == [2, 3, 9] and windows.config.key == 1
    assert windows.sample(len(windows) - 1).frames.tolist() == [16, 22, 16]
    sparse = clip_of(xy, boxes, labelled=np.arange(23) % 4 == 1)
    windows = Windows([(sparse, frames)], config(interval=4, keys="all"))
    assert windows.items[:, 2].tolist() == [i for i in range(2, 21) if i % 4 != 1]
    window = windows.sample(1)  # key 3, halfway from 1 to 5
    assert window.frames.tolist() == [1, 3, 5] and window.visibility.any(1).tolist() == [
        True,
        False,
        True,
    ]
    between = (sparse.tracks[0].boxes_xyxy[1] + sparse.tracks[0].boxes_xyxy[5].astype(float)) / 2
    np.testing.assert_allclose(
        window.affine,
        geometry.frame_to_crop(geometry.enlarge(between, 1.25, 0.75), SIZE, "udp"),
        rtol=1e-6,
    )


def test_labelled_frames_can_be_those_of_the_video():
    """Somebody who comes late is labelled in the frames in which the others are."""
    xy, frames, boxes = ramps(t=23)
    early, late = clip_of(xy, boxes), clip_of(xy, boxes, labelled=np.arange(23) >= 3)
    both = replace(early, tracks=[*early.tracks, replace(late.tracks[0], track_id=1)])
    own, common = (
        Windows([(both, frames)], config(interval=7, keys="between", common=c))
        for c in (False, True)
    )
    keys = [windows.items[windows.items[:, 1] == 1, 2].tolist() for windows in (own, common)]
    assert keys == [[*range(4, 10), *range(11, 17)], [*range(8, 14), *range(15, 21)]]
    assert (
        own.items[own.items[:, 1] == 0].tolist() == common.items[common.items[:, 1] == 0].tolist()
    )


def test_keys_between_labels_know_only_the_boxes_of_these():
    xy, frames, boxes = ramps(t=16)
    # which nobody is to know
    boxes = boxes + np.where(np.arange(16)[:, None] == 3, [20, 0, 20, 0], 0)
    dense = Windows([(clip_of(xy, boxes), frames)], config(interval=7, keys="between"))
    assert dense.items[:, 2].tolist() == [*range(1, 7), *range(8, 14)], (
        "nothing after the last label"
    )
    sparse = clip_of(xy, boxes, labelled=np.isin(np.arange(16), (0, 7, 14)))
    every = Windows([(sparse, frames)], config(interval=1, keys="between"))  # 1: as labels come
    assert (every.items == dense.items).all()
    for index in (2, 7):
        one, other = dense.sample(index), every.sample(index)
        assert (one.affine == other.affine).all() and one.frames.tolist() == other.frames.tolist()
    assert one.frames.tolist() == [7, 9, 14]
    plain = Windows([(clip_of(xy, boxes), frames)], config(interval=7)).sample(2)
    assert (plain.affine != dense.sample(2).affine).any()
    gone = boxes * (np.arange(16) != 7)[:, None]
    assert Windows([(clip_of(xy, gone), frames)], config(interval=7, keys="between")).sample(
        0
    ).frames.tolist() == [
        0,
        1,
        14,
    ]
    assert not len(Windows([(clip_of(xy, 0 * boxes), frames)], config(interval=7, keys="between")))


def test_the_same_seed_gives_the_same_batch_whatever_the_workers(pair):
    windows = Windows([pair], config(augment=Augment()))
    one, two, three = (list(loader(windows, 3, seed=11, workers=n)) for n in (0, 1, 2))
    assert [len(b["index"]) for b in one] == [3, 3, 1]
    assert sorted(torch.cat([b["index"] for b in one]).tolist()) == list(range(7))
    for a, b, c in zip(one, two, three, strict=True):
        for name in a:
            assert torch.equal(a[name], b[name]) and torch.equal(a[name], c[name]), name
    other = next(loader(windows, 3, seed=12))
    assert not torch.equal(one[0]["images"], other["images"])
    plain = list(loader(windows, 3, shuffle=False, augment=False))
    assert plain[0]["index"].tolist() == [0, 1, 2]


def test_a_batch_holds_tensors_of_every_window(pair):
    windows = Windows([pair], config(augment=Augment()))
    whole = windows.batch([1, 5], np.random.default_rng(0))
    shapes = {name: tuple(value.shape) for name, value in whole.items()}
    assert shapes == {
        "images": (2, 5, 3, 128, 96),
        "xy_crop": (2, 5, 17, 2),
        "visibility": (2, 5, 17),
        "weights": (2, 5, 17),
        "affine": (2, 2, 3),
        "frames": (2, 5),
        "index": (2,),
    }
    again = windows.batch(np.array([1, 5]), np.random.default_rng(0))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    with pytest.raises(BadParameter, match="no windows"):
        windows.batch([])


def test_pixels_are_normalised_channel_by_channel():
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalised(pixels).flatten(), torch.tensor(expected))


@pytest.fixture
def folder(tmp_path):
    """Five pictures, the third cut, the fourth missing, as a reading of single pictures."""
    for i in range(5):
        if i != 3:
            Image.fromarray(np.full((37, 31, 3), 50 * i, np.uint8)).save(tmp_path / f"{i}.jpg")
    (tmp_path / "2.jpg").write_bytes((tmp_path / "2.jpg").read_bytes()[:-90])
    names = tuple(f"{i}.jpg" for i in (0, 1, 1, 2, 3, 4, 4))
    n = len(names)
    poses = Pose(
        "coco17",
        np.full((n, 17, 2), 13.0),
        np.full((n, 17), 2),
        np.tile([5.0, 5, 25, 30], (n, 1)),
        ids=tuple(f"a{i}" for i in range(n)),
        images=names,
        groups=names,
        crowd=np.arange(n) == 6,
    )
    pictures = tuple(Picture(f"{i}.jpg", size_wh=(31, 37)) for i in range(5))
    return tmp_path, Reading("coco", str(tmp_path), poses=poses, pictures=pictures)


def test_every_picture_with_people_is_a_clip_of_one_frame(folder):
    root, reading = folder
    clips = clips_of(reading)
    assert [(c.pictures[0].name, len(c.tracks), c.video.n_frames) for c in clips] == [
        ("0.jpg", 1, 1),
        ("1.jpg", 2, 1),
        ("2.jpg", 1, 1),
        ("3.jpg", 1, 1),
        ("4.jpg", 1, 1),
    ]
    # rows of the poses, without the crowd
    assert [t.track_id for c in clips for t in c.tracks] == [0, 1, 2, 3, 4, 5]
    assert (clips[1].video.width, clips[1].name) == (31, "1.jpg")
    pixels = open_frames(clips[1], root)[0]
    assert pixels.shape == (37, 31, 3) and abs(int(pixels[5, 5, 0]) - 50) < 3
    assert clips_of(replace(reading, poses=None, clips=tuple(clips))) == clips
    both, names = replace(reading, clips=tuple(clips[:1])), [c.pictures for c in clips]
    for first in range(len(clips) + 2):
        found = [c.pictures for c in clips_of(both, first=first)]
        assert found == [names[0], *names][:first]
    with pytest.raises(BadParameter, match="which pictures"):
        clips_of(replace(reading, poses=replace(reading.poses, images=())))


def test_a_detector_s_boxes_are_cut_where_somebody_is_labelled():
    """Boxes by id or by file name, frame by frame; a frame that nobody labelled has none,
    another clip's none at all.
    """
    people = Track(
        "coco17",
        0,
        np.ones((4, 17, 2)),
        np.ones((4, 17)),
        [True, False, True, False],
        np.ones((4, 4)),
    )
    pictures = tuple(Picture(f"{t}.jpg", id=str(70 + t)) for t in range(4))
    clip, frames = (
        Clip(Video("", 4), (people,), pictures, "c"),
        np.stack([np.full((60, 80, 3), t, "u1") for t in range(4)]),
    )
    corners = np.array([[i, 2, 20 + i, 40] for i in range(6)], np.float32)
    boxes = PersonBoxes(corners, np.arange(6) / 10, ("72", "70", "0.jpg", "71", "72", "99"))
    windows, scores = detected_windows(
        [(clip, frames)], boxes, "posetrack15", config(offsets=(-1, 0, 1))
    )
    row = np.argsort(scores)
    np.testing.assert_allclose(scores[row], [0, 0.1, 0.2, 0.4])
    np.testing.assert_array_equal(windows.boxes()[row], corners[[0, 1, 2, 4]])
    assert [windows.poses().images[i] for i in row] == ["2.jpg", "0.jpg", "0.jpg", "2.jpg"]
    assert windows.poses().skeleton == "posetrack15" and windows.frames_of(
        int(row[0])
    ).tolist() == [1, 2, 3]
    alone = replace(clip, tracks=())
    assert len(detected_windows([(alone, frames)], boxes, "coco17")[0]) == 5, (
        "a false alarm is one in an empty picture, too"
    )
    with pytest.raises(BadRecord, match="none of 1 boxes") as told:
        detected_windows([(clip, frames)], boxes.select([5]), "coco17", file="boxes.json")
    assert "boxes.json" in str(told.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_record_is_named(folder, workers):
    root, reading = folder
    windows = Windows([(clip, root) for clip in clips_of(reading)], config(offsets=(0,)))
    with pytest.raises(BadFile, match=r"2\.jpg.*truncated") as caught:
        list(loader(windows, 2, shuffle=False, workers=workers))
    assert caught.value.file.endswith("2.jpg") and "track 3 frame 0" in caught.value.record
    whole = windows.select([0, 1, 2, 5])
    batches = list(loader(whole, 3, shuffle=False, workers=workers))
    assert [len(batch["index"]) for batch in batches] == [3, 1]


def test_frames_that_a_clip_only_claims_are_named(pair):
    clip, frames = pair
    with pytest.raises(BadRecord, match=r"made track 3 frame 4.*frame 6 of 5"):
        Windows([(clip, frames[:5])], config()).sample(4)


def test_few_sources_stay_open(folder):
    root, reading = folder
    pairs = [(clip, root) for clip in clips_of(reading)]
    windows = Windows(pairs, config(offsets=(0,)), open_clips=2).select([0, 1, 5])
    list(loader(windows, 3, workers=0))
    assert len(windows._open) == 2


def test_sets_that_make_no_sense_are_refused(pair):
    clip, frames = pair
    hand = Track(
        "hand21", 1, np.zeros((7, 21, 2)), np.zeros((7, 21)), np.zeros(7, bool), np.zeros((7, 4))
    )
    with pytest.raises(BadParameter, match="several skeletons: coco17, hand21"):
        Windows([(clip, frames), (Clip(Video("x", 7), [hand]), frames)])
    assert len(Windows([(Clip(Video("x", 7), [hand]), frames)])) == 0
    for bad in (
        {"keys": "some"},
        {"keys": "between"},
        {"offsets": (1, 2)},
        {"interval": 0},
        {"size": (1, 9)},
    ):
        with pytest.raises(BadParameter):
            WindowConfig(**bad)


def test_prefetching_stays_a_bounded_way_ahead_and_stops_when_left():
    made = []
    steps = prefetched(
        lambda step: made.append(step) or {"step": torch.tensor(step)}, iter(range(1000)), 2
    )
    assert [next(steps)["step"].item() for _ in range(3)] == [0, 1, 2]
    assert len(made) <= 8
    steps.close()
    assert len(made) <= 8


def test_an_error_in_a_worker_reaches_the_caller():
    def make(step):
        if step == 3:
            raise BadFile("cut")
        return {}

    with pytest.raises(WorkbenchError, match="cut"):
        list(prefetched(make, range(9), 2))


@pytest.mark.realdata
def test_real_pictures_and_video_make_windows(data_root):
    from workbench.data.coco import read_coco

    root = data_root / "coco_mini"
    reading = read_coco(root / "annotations" / "person_keypoints_val2017.json")
    windows = Windows(
        [(c, root / "val2017") for c in clips_of(reading)],
        WindowConfig(offsets=(0,)),
    )
    assert len(windows) == 68
    batch = next(loader(windows, 5, seed=1))
    assert batch["images"].shape == (5, 1, 3, 384, 288) and torch.isfinite(batch["images"]).all()


def long_track(n):
    """Windows of a video of n frames; nothing of it is read."""
    box = np.tile([10.0, 10, 50, 90], (n, 1)) + np.arange(n)[:, None] % 7
    xy = np.tile(box[:, None, :2] + 15, (1, 17, 1))
    track = Track("coco17", 0, xy, np.full((n, 17), 2), np.ones(n, bool), box)
    return Windows([(Clip(Video("long", n, 120, 100), [track]), "nowhere")], config())


def test_a_window_of_a_long_video_costs_what_one_of_a_short_video_does():
    short, long = long_track(300), long_track(19_200)
    rows = np.arange(20, 270)

    def seconds(windows):
        windows.select(rows[:1]).affines()
        start = time.process_time()
        windows.select(rows).affines()
        return time.process_time() - start

    pairs = [(seconds(short), seconds(long)) for _ in range(7)]
    fastest_short, fastest_long = np.min(pairs, axis=0)
    assert fastest_long < 3 * fastest_short
