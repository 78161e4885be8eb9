"""Joint masks and occluders, against hand-checkable cases."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from workbench.errors import BadParameter
from workbench.occlusion import (
    colour_patches,
    cover,
    cover_clip,
    crossing,
    cut_frames,
    cut_out,
    cut_window,
    frame_blur,
    mask_joints,
    mask_runs,
    motion_blur,
    paste,
    polygon_mask,
)
from workbench.records import Clip, Picture, Track, Video
from workbench.skeletons import skeleton


def test_masks_have_the_exact_count(rng):
    exact = mask_joints(101, 21, 0.4, rng)
    assert (exact.sum(1) == 8).all() and (exact.any(0)).all()
    assert not mask_joints(3, 21, 0.0, rng).any() and mask_joints(3, 21, 1.0, rng).all()
    with pytest.raises(BadParameter, match=r"1\.5"):
        mask_joints(3, 21, 1.5, rng)


def pieces(mask, joints):
    """Number of connected pieces of each mask along the bones."""
    edges = np.array(joints.edges)
    # a tree: vertices less edges
    return mask.sum(1) - (mask[:, edges[:, 0]] & mask[:, edges[:, 1]]).sum(1)


def test_runs_hang_together_along_bones(rng):
    hand = skeleton("hand21")
    mask = mask_runs(101, hand, 0.25, rng)
    assert (mask.sum(1) == 5).all() and (pieces(mask, hand) == 1).all() and mask.any(0).all()
    assert (pieces(mask_joints(101, 21, 0.25, rng), hand) > 1).mean() > 0.9
    assert not mask_runs(3, hand, 0.0, rng).any() and mask_runs(3, hand, 1.0, rng).all()


def test_cover_hides_what_is_visible_and_nothing_else():
    xy = np.array(
        [[2.4, 1.0], [2.6, 1.0], [2.0, 1.0], [2.0, 1.0], [-1.0, 1.0], [5.0, 1.0], [1e9, 1.0]],
        np.float32,
    )
    flags = np.array([2, 2, 1, 0, 2, 2, 2], np.int8)
    covered = np.zeros((3, 5), bool)
    covered[1, [2, 4]] = True  # column 4 is where x = -1 would wrap to
    before = flags.copy()
    after = cover(flags, xy, covered)
    assert after.tolist() == [1, 2, 1, 0, 2, 2, 2] and after.dtype == np.int8
    np.testing.assert_array_equal(flags, before)


def test_cover_broadcasts_persons_over_frames():
    xy = np.zeros((2, 3, 5, 2), np.float32)
    xy[1] += 1
    covered = np.zeros((3, 4, 4), bool)
    covered[2, 1, 1] = True  # frame 2, where the second person stands
    after = cover(np.full((2, 3, 5), 2), xy, covered)
    assert (after == 1).sum() == 5 and (after[1, 2] == 1).all()


def make_clip(xy, visibility, boxes, **kw):
    t = len(visibility)
    track = Track("jhmdb15", 3, xy, visibility, np.ones(t, bool), boxes, **kw)
    pictures = tuple(
        Picture(f"{i}.png", size_wh=(40, 30), ignore=(np.array([[5.0, 6.0]]),)) for i in range(t)
    )
    return Clip(Video("made", t, 40, 30, 5.0), (track,), pictures)


def test_patches_stand_on_joints_in_the_protocol_s_size_and_rate(rng):
    frames = np.full((101, 60, 80, 3), 7, np.uint8)
    xy = np.tile(np.array([40, 30], np.float32), (2, 101, 17, 1))
    labelled = np.ones(xy.shape[:-1], bool)
    labelled[1] = False
    out, covered = colour_patches(frames, xy, rng, labelled=labelled)
    hit = covered.any((1, 2))
    assert abs(hit.mean() - (1 - 0.98**17)) < 0.1 and (covered[hit].sum((1, 2)) == 900).all()
    assert (out[~covered] == 7).all() and (frames == 7).all()
    assert covered[hit][0, 15:45, 25:55].all(), "rows 15 to 44 are 30 px about y = 30"
    assert len(np.unique(out[hit][:, 30, 40], axis=0)) > 10, "each in a colour of its own"
    assert all((out[t][covered[t]] == out[t, 30, 40]).all() for t in np.flatnonzero(hit))
    _, covered = colour_patches(
        frames[:1], np.zeros((1, 1, 2), np.float32), rng, size_px=11, probability=1.0
    )
    assert covered.sum() == 36 and covered[0, :6, :6].all(), "cut by the picture's border"
    outside = colour_patches(frames[:1], np.full((1, 1, 2), -99, np.float32), rng, probability=1.0)
    assert not outside[1].any() and (outside[0] == 7).all()
    again = [colour_patches(frames, xy, np.random.default_rng(s))[0] for s in (5, 5, 6)]
    assert (again[0] == again[1]).all() and (again[0] != again[2]).any()
    with pytest.raises(BadParameter, match=r"-0\.1"):
        colour_patches(frames, xy, rng, probability=-0.1)


def test_a_cutout_lands_where_it_is_pasted_and_only_its_own_pixels():
    frames = np.zeros((3, 20, 30, 3), np.uint8)
    source = np.full((1, 9, 9, 3), 200, np.uint8)
    mask = polygon_mask(np.array([[2.0, 3.0], [6.0, 3.0], [6.0, 5.0], [2.0, 5.0]]), (9, 9))[
        None
    ].copy()
    assert mask.sum() == 15
    mask[0, 4, 4] = False  # a hole in the middle
    cutout = cut_out(source, mask)
    assert cutout.shape == (1, 3, 5, 4)
    out, covered = paste(frames, cutout, np.array([[10.0, 7.0], [0.0, 0.0], [99.0, 7.0]]))
    expected = np.zeros((20, 30), bool)
    expected[6:9, 8:13] = True
    expected[7, 10] = False
    np.testing.assert_array_equal(covered[0], expected)
    assert (
        (out[0][expected] == 200).all() and (out[0][~expected] == 0).all() and (frames == 0).all()
    )
    assert covered[1].sum() == 2 * 3 - 1 and not covered[2].any()
    _, covered = paste(frames[:1], cutout, np.array([[10.0, 7.0]]), scale=2.0)
    assert 45 <= covered.sum() <= 77
    half, covered = paste(frames[:1], cutout, np.array([[10.5, 7.0]]))
    assert half[0, 6, 8, 0] == 100 and half[0, 6, 9, 0] == 200, (
        "between pixels the rim is a mixture"
    )
    with pytest.raises(BadParameter, match="no pixel"):
        cut_out(source, np.zeros((1, 9, 9), bool))
    with pytest.raises(BadParameter, match="scale"):
        paste(frames, cutout, np.zeros((3, 2)), scale=0.0)
    with pytest.raises(ValueError, match="shorter"):
        # outside of the tests nobody checks the shapes
        inspect.unwrap(paste)(frames, cutout, np.zeros((2, 2)))


def test_a_pasted_person_moves_its_own_limbs():
    person = np.zeros((2, 3, 3, 4), np.uint8)
    person[0, 0], person[1, 2] = 255, 255
    _, covered = paste(np.zeros((3, 9, 9, 3), np.uint8), person, np.full((3, 2), 4.0))
    assert [np.flatnonzero(c.any(1)).tolist() for c in covered] == [[3], [5], [3]]


def test_a_crossing_is_straight_and_passes_through_the_window(rng):
    for _ in range(23):
        way = crossing(11, (64, 48), rng, speed_px=(2.0, 5.0))
        steps = np.diff(way, axis=0)
        np.testing.assert_allclose(steps, steps[[0] * 10])
        assert 2 <= np.hypot(*steps[0]) <= 5 and (way[5] >= 0).all() and (way[5] < (64, 48)).all()


def test_what_is_cut_off_is_not_labelled(rng):
    xy = np.tile(np.array([11.0, 12.0], np.float32), (2, 15, 1))
    xy[0, 1], xy[0, 2], xy[1, 3] = (9.4, 12), (9.6, 12), (31, 12)
    flags = np.full((2, 15), 2)
    flags[0, 4], flags[0, 5], xy[0, 5] = 1, 0, 0
    boxes = np.array([[4, 2, 39, 20], [0, 0, 8, 8]], np.float32)
    clip = make_clip(
        xy, flags, boxes, head_boxes_xyxy=np.array([[12, 7, 16, 9], [0, 0, 0, 0]], np.float32)
    )
    frames = np.arange(2 * 30 * 40 * 3).reshape(2, 30, 40, 3).astype(np.uint8)
    cut, cut_pixels = cut_frames(clip, frames, (10, 5, 31, 25))
    track = cut.tracks[0]
    assert (cut.video.width, cut.video.height) == (21, 20) == cut.pictures[0].size_wh
    np.testing.assert_array_equal(cut_pixels, frames[:, 5:25, 10:31])
    assert track.visibility[0, :6].tolist() == [2, 0, 2, 2, 1, 0] and track.visibility[1, 3] == 0
    assert track.xy_frame[0, 0].tolist() == [1, 7] and track.xy_frame[0, 1].tolist() == [0, 0]
    assert track.boxes_xyxy.tolist() == [[0, 0, 20, 15], [0, 0, 0, 0]]
    assert track.head_boxes_xyxy.tolist() == [[2, 2, 6, 4], [0, 0, 0, 0]]
    assert cut.pictures[0].ignore[0].tolist() == [[-5, 1]]
    assert (
        clip.tracks[0].visibility[0, 1] == 2
        and cut_frames(clip, frames, (0, 0, 40, 30))[1].shape == frames.shape
    )
    for bad in ((0, 0, 41, 30), (5, 5, 5, 9), (-1, 0, 9, 9)):
        with pytest.raises(BadParameter, match="does not lie"):
            cut_frames(clip, frames, bad)
    for gone in (np.zeros(4), np.array([41.0, 5.0, 60.0, 25.0])):
        with pytest.raises(BadParameter, match="no part of the box"):
            cut_window(gone, (40, 30), rng)
    box = np.array([10.0, 5.0, 30.0, 25.0])
    for _ in range(31):
        x0, y0, x1, y1 = cut_window(box, (40, 30), rng, keep=(0.5, 0.5))
        assert sorted([x0, y0, x1 - 40, y1 - 30])[1:3] == [0, 0], "one side alone moves"
        assert (x0, x1) in ((0, 20), (20, 40), (0, 40)) and (y0, y1) in ((0, 15), (15, 30), (0, 30))


def test_cover_clip_changes_every_track_and_no_coordinate(rng):
    xy = np.zeros((2, 15, 2), np.float32) + 3
    clip = make_clip(xy, np.full((2, 15), 2), np.zeros((2, 4), np.float32))
    covered = np.zeros((2, 30, 40), bool)
    covered[1] = True
    after = cover_clip(clip, covered)
    assert (after.tracks[0].visibility == [[2], [1]]).all() and (
        after.tracks[0].xy_frame == 3
    ).all()


def test_blur_smears_along_its_line_and_keeps_the_light():
    frames = np.zeros((1, 21, 21, 3), np.uint8)
    frames[0, 10, 10] = 252
    assert (motion_blur(frames, 90.0, 1.0) == frames).all()
    for angle, along in ((0.0, np.s_[0, 10, 7:14]), (90.0, np.s_[0, 7:14, 10])):
        out = motion_blur(frames, angle, 7.0)
        assert (out[along] == 36).all() and out[..., 0].sum() == 252
    falling = motion_blur(frames, 45.0, 7.0)[0, ..., 0]
    assert falling[12, 12] > 10 > falling[12, 8], "from x towards y goes down and right"
    flat = np.full((2, 7, 7, 3), 99, np.uint8)
    assert (motion_blur(flat, 20.0, 5.0) == 99).all(), "no dark border"
    with pytest.raises(BadParameter, match=r"0\.5 px"):
        motion_blur(frames, 0.0, 0.5)


def test_mean_of_frames_repeats_the_border():
    frames = np.zeros((4, 1, 1, 3), np.uint8)
    frames[:, 0, 0, 0] = 0, 30, 60, 90
    assert frame_blur(frames, 3)[:, 0, 0, 0].tolist() == [10, 30, 60, 80]
    assert (frame_blur(frames, 1) == frames).all()
    with pytest.raises(BadParameter, match="odd"):
        frame_blur(frames, 4)
