"""Joint masks, occluders and the detector's noise model, against hand-checkable cases and a real
detector.
"""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from workbench.data.synthetic import sample_bodies, sample_hands
from workbench.errors import BadParameter, BadRecord
from workbench.occlusion import (
    DetectorNoise,
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
from workbench.records import Clip, Detections, Picture, Pose, Track, Video
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


def test_the_same_seed_gives_the_same_detections_and_the_pose_is_left_alone(rng):
    pose = sample_hands(13, rng)
    before = pose.xy_frame.copy()
    a, b, c = (DetectorNoise().apply(pose, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.xy_frame, b.xy_frame)
    np.testing.assert_array_equal(a.confidence, b.confidence)
    assert np.abs(a.xy_frame - c.xy_frame).max() > 1
    np.testing.assert_array_equal(pose.xy_frame, before)
    assert (
        a.ids == pose.ids
        and a.skeleton == "hand21"
        and (0 <= a.confidence).all()
        and (a.confidence <= 1).all()
    )


def error_of(pose, detections):
    """Errors as a fraction of each pose's long side."""
    size = np.ptp(pose.xy_frame, axis=1).max(1)
    return np.linalg.norm(detections.xy_frame - pose.xy_frame, axis=-1) / size[:, None]


@pytest.mark.parametrize("sample", [sample_hands, sample_bodies])
def test_confidence_falls_with_error_and_with_occlusion_but_noisily(sample, rng):
    pose = sample(1009, rng)
    found = DetectorNoise().apply(pose, rng)
    error = error_of(pose, found)
    assert -0.85 < spearmanr(found.confidence.ravel(), error.ravel())[0] < -0.4
    hidden = pose.visibility == 1
    assert found.confidence[hidden].mean() < found.confidence[~hidden].mean() - 0.1
    assert np.median(error[hidden]) > 1.3 * np.median(error[~hidden])
    blind = Pose(
        pose.skeleton, pose.xy_frame, np.full_like(pose.visibility, 2), pose.boxes_xyxy, False
    )
    same = DetectorNoise().apply(blind, rng)
    assert abs(same.confidence[hidden].mean() - same.confidence[~hidden].mean()) < 0.05


def test_errors_scale_with_the_object_and_go_along_the_bones(rng):
    pose = sample_hands(2003, rng)
    double = Pose("hand21", 2 * pose.xy_frame, pose.visibility, 2 * pose.boxes_xyxy)
    a, b = (DetectorNoise().apply(p, np.random.default_rng(5)) for p in (pose, double))
    np.testing.assert_allclose(b.xy_frame, 2 * a.xy_frame, atol=0.01)
    log = np.log(error_of(pose, a) + 0.005)
    neighbours, strangers = (np.corrcoef(log[:, i], log[:, j])[0, 1] for i, j in ((7, 8), (4, 20)))
    assert neighbours > strangers + 0.1 > 0.2


def test_without_jitter_every_error_is_a_miss_onto_another_joint(rng):
    pose = sample_hands(101, rng)
    noise = DetectorNoise(miss=9.0, miss_slope=0.0, miss_blur=1e-4)
    found = noise.apply(pose, rng).xy_frame
    gap = np.linalg.norm(found[:, :, None] - pose.xy_frame[:, None], axis=-1)
    assert gap.min(-1).max() < 1.0
    assert (gap.argmin(-1) != np.arange(21)).mean() > 0.98
    always = DetectorNoise(miss=9.0, miss_slope=0.0, miss_blur=1e-4, swap=1e6)
    body = sample_bodies(101, rng)
    swapped = always.apply(body, rng).xy_frame[:, 5:]
    np.testing.assert_allclose(
        swapped, body.xy_frame[:, skeleton("coco17").flip_index][:, 5:], atol=1.0
    )


def test_structured_errors_keep_a_limb_together(rng):
    pose = sample_hands(1009, rng)
    quiet = {"scale": 1e-6, "miss": -9.0, "miss_slope": 0.0}
    alone = DetectorNoise(**quiet).apply(pose, rng).xy_frame - pose.xy_frame
    assert np.abs(alone).max() < 0.1
    turned = DetectorNoise(**quiet, limb=0.5).apply(pose, rng)
    error = turned.xy_frame - pose.xy_frame
    assert np.abs(error[:, [0, 1, 5, 9, 13, 17]]).max() < 0.1, (
        "the wrist and the base of each finger stay"
    )
    tip, before = error[:, 8].ravel(), error[:, 7].ravel()
    assert np.corrcoef(tip, before)[0, 1] > 0.9 and tip.std() > before.std()
    swapped = DetectorNoise(**quiet, limb_swap=1e6).apply(pose, rng)
    hard = swapped.confidence[:, 5:9].mean(1) < 0.3
    there = np.linalg.norm(
        swapped.xy_frame[hard][:, 6, None] - pose.xy_frame[hard][:, [2, 10, 14, 18]], axis=-1
    )
    assert np.median(there.min(1)) < 0.1, "the whole finger is answered at another one"
    moved = DetectorNoise(**quiet, shift=0.2).apply(pose, rng).xy_frame - pose.xy_frame
    assert np.ptp(moved, axis=1).max() < 0.1 < np.abs(moved).mean()


def test_an_unlabelled_joint_is_answered_in_the_box_with_low_confidence(rng):
    pose = sample_hands(211, rng)
    flags, xy = pose.visibility.copy(), pose.xy_frame.copy()
    flags[:, 3], xy[:, 3] = 0, 0
    found = DetectorNoise().apply(Pose("hand21", xy, flags, pose.boxes_xyxy), rng)
    assert found.confidence[:, 3].mean() < 0.1 < found.confidence[:, 2].mean() - 0.2
    size = np.ptp(pose.boxes_xyxy.reshape(-1, 2, 2), axis=1).max(1)
    middle = (pose.boxes_xyxy[:, :2] + pose.boxes_xyxy[:, 2:]) / 2
    assert np.median(np.linalg.norm(found.xy_frame[:, 3] - middle, axis=-1) / size) < 0.6


def test_fit_finds_the_parameters_that_made_the_detections(rng):
    made = DetectorNoise(
        scale=0.03, slope=0.7, miss=-1.2, miss_slope=0.6, root_scale=2.0, occlusion=0.8, dof=8.0
    )
    pose = sample_hands(3001, rng)
    found = DetectorNoise.fit(pose, made.apply(pose, rng))
    tolerance = {
        "scale": 0.004,
        "slope": 0.06,
        "root_scale": 0.2,
        "occlusion": 0.1,
        "miss": 0.15,
        "miss_slope": 0.12,
    }
    tolerance |= {
        "outward": 0.05,
        "confidence_mean": 0.02,
        "confidence_std": 0.02,
        "miss_blur": 0.03,
        "reach": 0.1,
    }
    tolerance |= {"shared": 0.15, "chain": 0.2}
    for name, within in tolerance.items():
        assert abs(getattr(found, name) - getattr(made, name)) < within, (
            name,
            getattr(found, name),
        )


def test_numbers_go_to_json_and_back_and_bad_ones_are_refused():
    noise = DetectorNoise(scale=0.031)
    assert DetectorNoise(**json.loads(json.dumps(noise.to_dict()))) == noise
    for bad in ({"scale": 0.0}, {"shared": 1.0}, {"miss": float("nan")}, {"confidence_std": 0.6}):
        with pytest.raises(BadParameter, match=next(iter(bad))):
            DetectorNoise(**bad)


def test_fit_refuses_rows_that_do_not_match(rng):
    pose = sample_hands(13, rng)
    found = DetectorNoise().apply(pose, rng)
    with pytest.raises(BadRecord, match="match the rows"):
        DetectorNoise.fit(pose, found.select(slice(0, 11)))
    with pytest.raises(BadRecord, match="too few"):
        DetectorNoise.fit(pose.select(slice(0, 3)), found.select(slice(0, 3)))


@pytest.mark.realdata
def test_the_model_makes_the_errors_of_a_real_detector(data_root):
    """Quantiles of the error in each tenth of confidence, real against simulated on the same 846
    hands.
    """
    root = data_root / "port_panoptic"
    hands = json.loads((root / "annotations/panoptic_test.json").read_text())["annotations"]
    xy = np.array([np.reshape(a["keypoints"], (21, 3))[:, :2] for a in hands])
    boxes = np.concatenate([xy.min(1), xy.max(1)], -1)
    with np.load(root / "mobilenetv2_panoptic_256x256_test.npz", allow_pickle=False) as file:
        real = Detections("hand21", file["preds"][..., :2], file["preds"][..., 2], boxes)
    pose = Pose("hand21", xy, np.full(xy.shape[:2], 2), boxes, occlusion_known=False)

    fitted = DetectorNoise.fit(pose, real)
    assert fitted.occlusion == DetectorNoise().occlusion  # these labels say nothing about occlusion
    for noise, rms, worst in ((fitted, 0.11, 0.35), (DetectorNoise(), 0.08, 0.25)):
        said = noise.diagnose(pose, real, np.random.default_rng(0))
        # measured: rms 0.08, worst 0.28 fitted; 0.05, 0.10
        gap = np.log(said["error_simulated"] / said["error_real"])
        assert np.sqrt((gap**2).mean()) < rms and np.abs(gap).max() < worst
        assert np.abs(said["share_real"] - said["share_simulated"]).sum() / 2 < 0.15
    wrong = DetectorNoise(scale=0.07).diagnose(pose, real, np.random.default_rng(0))
    assert (
        np.sqrt((np.log(wrong["error_simulated"] / wrong["error_real"]) ** 2).mean()) > 0.11
    )  # the tolerance can fail


def test_a_diagnosis_counts_every_labelled_joint_once(rng):
    pose = sample_hands(53, rng)
    flags = pose.visibility.copy()
    flags[:, 3] = 0
    pose = Pose("hand21", pose.xy_frame, flags, pose.boxes_xyxy)
    confidence = np.tile(np.linspace(0.05, 0.95, 21), (53, 1))
    real = Detections("hand21", pose.xy_frame + np.array([3, 4]), confidence, pose.boxes_xyxy)
    said = DetectorNoise().diagnose(pose, real, rng, draws=2, bins=10)
    assert said["share_real"].sum() == pytest.approx(1) == said["share_simulated"].sum()
    assert said["share_real"][1] == pytest.approx(1 / 20), (
        "joints 2 and 3 are here, and 3 is not labelled"
    )
    tenths = said["confidence_tenths"]
    assert (
        tenths.shape == (2, 10)
        and (np.diff(tenths[0]) > 0).all()
        and said["error_real"].shape == (10, 5)
    )
    size = np.ptp(pose.xy_frame[:, np.arange(21) != 3], axis=1).max(1)
    assert said["error_real"].min() >= 5 / size.max() and said["error_real"].max() <= 5 / size.min()
    assert (np.diff(said["error_simulated"], axis=1) > 0).all()
