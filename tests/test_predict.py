from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import checkpoint, load
from workbench.errors import BadParameter, BadRecord, CheckpointMismatch, MissingFile
from workbench.geometry import rotation
from workbench.models import build
from workbench.models.hanet import HANetConfig
from workbench.predict import (
    OF_PICTURES,
    ClipEstimator,
    PortRefiner,
    PoseEstimator,
    RefineRule,
    SequenceRefiner,
    _with_neighbours,
    estimate_people,
    place_missing,
    pose_frame,
    pose_weights,
    refine_people,
    refine_tracks,
)
from workbench.recipes import port as recipe
from workbench.records import Detections
from workbench.skeletons import skeleton


def detections(rng, n=5, skeleton="hand21", k=21):
    return Detections(
        skeleton,
        rng.normal(300, 40, (n, k, 2)),
        rng.random((n, k)),
        np.tile([0.0, 0, 9, 9], (n, 1)),
    )


def test_the_frame_follows_visible_joints_only():
    xy = np.array([[[0.0, 0], [2, 0], [0, 2], [2, 2], [99, 99]]])
    hidden = np.array([[False, False, False, False, True]])
    centre, size = pose_frame(xy, pose_weights(hidden, np.ones((1, 5)), "visible"))
    np.testing.assert_allclose(centre[0, 0], [1, 1])
    assert size.item() == pytest.approx(np.sqrt(2))
    few = np.array([[False, False, True, True, True]])
    assert pose_weights(few, np.ones((1, 5)), "visible").tolist() == [[1.0] * 5], (
        "two joints make no frame"
    )
    weights = pose_weights(hidden, np.array([[1.0, 1, 1, 1, 0]]), "confidence")
    np.testing.assert_allclose(pose_frame(xy, weights)[0][0, 0], [1, 1], atol=1e-3)


@pytest.mark.parametrize("config", ["paper", "denoise"])
def test_refinement_moves_and_scales_with_the_picture(rng, config):
    """Coordinates are normalised and back: a shifted, enlarged picture gives the shifted,
    enlarged answer.
    """
    torch.manual_seed(1)
    refiner = PortRefiner(build("port", config), RefineRule((0.4,) * 21))
    one = detections(rng)
    other = Detections("hand21", 3 * one.xy_frame + (50, -20), one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame, refiner.refine(other).xy_frame
    np.testing.assert_allclose(b, 3 * a + (50, -20), atol=0.05)


def test_the_mirror_makes_the_answer_symmetric(rng):
    torch.manual_seed(1)
    refiner = PortRefiner(build("port"), RefineRule((0.4,) * 21, mirror=True))
    one = detections(rng)
    flipped = Detections("hand21", one.xy_frame * (-1, 1), one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame, refiner.refine(flipped).xy_frame
    np.testing.assert_allclose(b, a * (-1, 1), atol=0.01)
    plain = PortRefiner(refiner.model, RefineRule((0.4,) * 21))
    assert np.abs(plain.refine(flipped).xy_frame - plain.refine(one).xy_frame * (-1, 1)).max() > 0.1


def test_blend_stops_on_the_way(rng):
    torch.manual_seed(1)
    model, one = build("port"), detections(rng)
    whole, half = (
        PortRefiner(model, RefineRule((0.4,) * 21, blend=b)).refine(one).xy_frame
        for b in (1.0, 0.5)
    )
    np.testing.assert_allclose(half, (one.xy_frame + whole) / 2, atol=1e-3)


def test_batches_do_not_matter(rng):
    refiner, one = load("port"), detections(rng, 11)
    mask = refiner.mask(one)
    np.testing.assert_allclose(
        refiner.reconstruct(one, mask, batch=3), refiner.reconstruct(one, mask), atol=1e-2
    )
    nobody = one.select([])
    assert refiner.refine(nobody).xy_frame.shape == (0, 21, 2)


def test_delta_given_by_hand_wins(rng):
    refiner, one = load("port"), detections(rng)
    assert (
        not refiner.refine(one, delta=0.0).replaced.any()
        and refiner.refine(one, delta=1.0).replaced.all()
    )
    chosen = np.zeros((5, 21), bool)
    chosen[2, 7] = True
    np.testing.assert_array_equal(refiner.refine(one, mask=chosen).replaced, chosen)


def test_another_skeleton_is_refused_by_name(rng):
    with pytest.raises(BadParameter, match="detections are coco17, the model knows hand21"):
        load("port").refine(detections(rng, skeleton="coco17", k=17))
    with pytest.raises(BadParameter, match="3 deltas"):
        PortRefiner(build("port"), RefineRule((0.1,) * 3))


def test_a_mirrored_body_exchanges_left_and_right(rng):
    refiner, other = load("port", skeleton="coco17"), skeleton("coco17").flip_index
    assert refiner.rule.mirror
    one = detections(rng, skeleton="coco17", k=17)
    flipped = (one.xy_frame * [-1, 1])[:, other]
    mirrored = Detections("coco17", flipped, one.confidence[:, other], one.boxes_xyxy)
    mask = refiner.mask(one)
    answer = refiner.reconstruct(mirrored, mask[:, other])
    np.testing.assert_allclose(
        answer[:, other] * [-1, 1], refiner.reconstruct(one, mask), atol=2e-2
    )


def test_a_joint_without_confidence_has_no_say(rng):
    refiner, one = load("port"), detections(rng)
    confidence, far = one.confidence.copy(), one.xy_frame.copy()
    confidence[:, 4], far[:, 4] = 0, -9999
    lost = [Detections("hand21", xy, confidence, one.boxes_xyxy) for xy in (one.xy_frame, far)]
    near, away = (refiner.reconstruct(d, refiner.mask(d)) for d in lost)
    np.testing.assert_allclose(near, away, atol=0.5)


def test_looking_gives_what_refining_gives(rng):
    refiner, one = load("port"), detections(rng)
    mask = refiner.mask(one)
    xy, taps = refiner.look(one, mask, ["recon"])
    assert taps["recon"].shape == (5, 21, 2)
    single = PortRefiner(refiner.model, RefineRule(refiner.rule.delta))
    np.testing.assert_allclose(xy, single.reconstruct(one, mask), atol=1e-3)
    moved, _ = refiner.look(one, mask, [], {"encoder.0.attention.map": torch.zeros_like})
    assert np.abs(moved - xy).max() > 0.1


def test_files_that_are_no_refiner_are_named(tmp_path):
    with pytest.raises(MissingFile, match="prot"):
        load("prot")
    bare = checkpoint.save(tmp_path / "bare.safetensors", build("port"))
    with pytest.raises(CheckpointMismatch, match=r"bare\.safetensors.*does not describe"):
        load(str(bare))


def test_rotation_is_learned_not_built_in(rng):
    """A turned picture gives a nearly turned answer: the recipe turns its training hands."""
    refiner, one = load("port"), detections(rng)
    turn = rotation(0.7).T
    turned = Detections("hand21", one.xy_frame @ turn, one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame @ turn, refiner.refine(turned).xy_frame
    assert (
        np.linalg.norm(a - b, axis=-1).mean()
        < 0.2 * np.linalg.norm(one.xy_frame @ turn - a, axis=-1).max()
    )


def _hands_with_a_lost_finger(rng):
    hands = load("port")
    found = recipe.pairs("synthetic", n=3, seed=1)[1]
    xy, confidence = found.xy_frame.copy(), found.confidence.clip(0.01)
    finger = [5, 6, 7, 8]  # forefinger, from the palm out
    xy[0, finger], confidence[0, finger] = 0, 0
    confidence[2, 2:] = 0
    return hands, replace(found, xy_frame=xy, confidence=confidence), finger


def test_missing_joints_start_from_their_neighbours(rng):
    _, found, finger = _hands_with_a_lost_finger(rng)
    placed = place_missing(found)
    np.testing.assert_allclose(
        placed.xy_frame[0, finger], np.tile(found.xy_frame[0, 0], (4, 1)), rtol=1e-6
    )  # the wrist's
    np.testing.assert_array_equal(placed.xy_frame[1], found.xy_frame[1])
    middle = found.select([1])
    gap = np.where(np.arange(21) == 6, 0, middle.confidence)
    between = (middle.xy_frame[0, 5] + middle.xy_frame[0, 7]) / 2
    np.testing.assert_allclose(
        place_missing(replace(middle, confidence=gap)).xy_frame[0, 6], between, rtol=1e-6
    )
    nothing = replace(middle, confidence=np.zeros((1, 21)))
    np.testing.assert_array_equal(place_missing(nothing).xy_frame, middle.xy_frame)


def test_missing_joints_are_refined_and_their_old_place_does_not_matter(rng):
    hands, found, finger = _hands_with_a_lost_finger(rng)
    refined = refine_people(hands, found)
    assert refined.replaced[0, finger].all() and refined.detections is found
    assert not refined.replaced[2].any()  # two known joints are too few
    np.testing.assert_array_equal(
        refined.xy_frame[~refined.replaced], found.xy_frame[~refined.replaced]
    )
    np.testing.assert_array_equal(refined.xy_frame[1], hands.refine(found).xy_frame[1])
    elsewhere = found.xy_frame.copy()
    elsewhere[0, finger] = 5000
    again = refine_people(hands, replace(found, xy_frame=elsewhere))
    np.testing.assert_array_equal(again.xy_frame[0], refined.xy_frame[0])
    assert len(refine_people(hands, found.select([]))) == 0


# --- sequences ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sequences():
    """An untrained HANet over windows of 13 frames: what is checked here does not depend on what
    it learned.
    """
    torch.manual_seed(1)
    return SequenceRefiner(
        build("hanet", HANetConfig(interval=3, dim=8, levels=2, decoder_levels=2, heads=2)), 13
    )


def walk(rng, t, k=15):
    return (
        100
        + np.cumsum(rng.normal(0, 3, (t, 1, 2)), 0)
        + rng.normal(0, 30, (1, k, 2))
        + rng.normal(0, 2, (t, k, 2))
    )


def streamed(stream, xy):
    """All that comes out, in order, and how many poses had come out after each one that went in."""
    parts = [stream.push(pose) for pose in xy]
    return np.concatenate([*parts, stream.close()]), np.cumsum([len(p) for p in parts])


@pytest.mark.parametrize(
    ("t", "delay", "stride"),
    [(1, 0, 1), (2, 5, 1), (11, 12, 7), (23, 5, 1), (31, 5, 6), (31, 12, 4)],
)
def test_a_stream_gives_every_pose_once_after_its_delay(rng, t, delay, stride):
    model = build("hanet", HANetConfig(interval=1, dim=8, levels=1, decoder_levels=1, heads=2))
    for weight in model.parameters():
        weight.data.zero_()  # which gives back what it gets
    stream = SequenceRefiner(model, 13).stream(delay, stride=stride)
    for _ in range(2):  # a closed stream takes another sequence
        xy = walk(rng, t)
        out, count = streamed(stream, xy)
        np.testing.assert_allclose(out, xy, atol=1e-3)
        assert count.tolist() == [max(i + 1 - delay, 0) for i in range(t)]
    assert stream.close().shape == (0, 15, 2)


@pytest.mark.parametrize("t", [1, 7, 13, 14, 29])
def test_a_stream_of_a_window_s_delay_is_the_whole_sequence(sequences, rng, t):
    xy = walk(rng, t)
    np.testing.assert_allclose(
        streamed(sequences.stream(12), xy)[0], sequences.refine(xy, stride=1), atol=1e-3
    )


def test_a_stream_averages_the_windows_that_it_has_read(sequences, rng):
    xy = walk(rng, 20)
    out, _ = streamed(sequences.stream(2), xy)
    # fewer than a window: all there are
    first, second, third = (sequences.refine(xy[:n]) for n in (3, 4, 5))
    np.testing.assert_allclose(out[0], first[0], atol=1e-3)
    np.testing.assert_allclose(out[2], (first[2] + second[2] + third[2]) / 3, atol=1e-3)
    newest = [sequences.refine(xy[n - 13 : n]) for n in (16, 17, 18)]
    np.testing.assert_allclose(
        out[15], np.mean([w[-1 - i] for i, w in enumerate(newest)], axis=0), atol=1e-3
    )
    np.testing.assert_allclose(out[19], sequences.refine(xy[7:])[12], atol=1e-3)


def test_the_future_behind_the_delay_does_not_matter(sequences, rng):
    xy, stream = walk(rng, 40), sequences.stream(3)
    other = np.concatenate((xy[:24], 5 * xy[24:]))
    one, two = ([stream.push(pose) for pose in poses] + [stream.close()] for poses in (xy, other))
    one, two = np.concatenate(one), np.concatenate(two)
    np.testing.assert_array_equal(one[:21], two[:21])
    assert np.abs(one[21] - two[21]).max() > 0.01


def test_streams_that_cannot_be_are_refused(sequences):
    for delay, stride in ((-1, 1), (13, 1), (4, 0), (4, 6)):
        with pytest.raises(BadParameter, match=f"delay {delay}, stride {stride}, window 13"):
            sequences.stream(delay, stride=stride)
    with pytest.raises(BadParameter, match="17 x 2 numbers, the model knows 30"):
        sequences.stream(0).push(np.zeros((17, 2)))


def tracked(xy, frames, tracks, confidence=None):
    n, k = xy.shape[:2]
    confidence = np.full((n, k), 0.7) if confidence is None else confidence
    return Detections(
        "jhmdb15", xy, confidence, np.tile([0.0, 0, 9, 9], (n, 1)), frames=frames, tracks=tracks
    )


def test_each_track_is_a_sequence_and_gaps_are_lines(sequences, rng):
    a, b = walk(rng, 20), walk(rng, 5)
    kept = np.array([0, 1, 2, 6, 7, 9, 19])
    line = np.stack(
        [np.interp(np.arange(20), kept, c) for c in a[kept].reshape(7, -1).T], -1
    ).reshape(20, 15, 2)
    order = rng.permutation(12)
    people = tracked(np.concatenate((a[kept], b)), np.r_[kept + 3, 10:15], np.r_[[4] * 7, [2] * 5])
    refined = refine_tracks(sequences, people.select(order))
    expected = np.concatenate((sequences.refine(line)[kept], sequences.refine(b)))[order]
    np.testing.assert_allclose(refined.xy_frame, expected, atol=0.01)
    assert refined.replaced.all() and refined.method == "hanet" and len(refined) == 12
    np.testing.assert_array_equal(refined.confidence, people.confidence)


def test_a_long_gap_begins_another_sequence(sequences, rng):
    xy = walk(rng, 10)
    frames = np.r_[0:5, 17:22]  # 12 frames are missing: fewer than a window
    one = refine_tracks(sequences, tracked(xy, frames, np.zeros(10, int)))
    apart = np.r_[0:5, 18:23]
    two = refine_tracks(sequences, tracked(xy, apart, np.zeros(10, int)))
    np.testing.assert_allclose(
        two.xy_frame, np.concatenate([sequences.refine(p) for p in (xy[:5], xy[5:])]), atol=0.01
    )
    assert np.abs(one.xy_frame - two.xy_frame).max() > 0.01


def test_poses_of_too_few_joints_are_left_alone_and_their_place_does_not_matter(sequences, rng):
    xy, confidence = walk(rng, 9), np.full((9, 15), 0.5)
    confidence[4, 2:], confidence[6, [3, 8]] = 0, 0
    moved = xy.copy()
    moved[4, 2:], moved[6, [3, 8]] = 0, 0
    one, two = (
        refine_tracks(sequences, tracked(p, np.arange(9), np.zeros(9, int), confidence))
        for p in (xy, moved)
    )
    assert one.replaced.all(1).tolist() == [True] * 4 + [False] + [True] * 4
    np.testing.assert_array_equal(two.xy_frame[4], moved[4].astype(np.float32))
    np.testing.assert_array_equal(np.delete(one.xy_frame, 4, 0), np.delete(two.xy_frame, 4, 0))
    assert len(refine_tracks(sequences, one.detections.select([]))) == 0


def test_tracks_that_are_no_sequences_are_refused(sequences, rng):
    people = tracked(walk(rng, 3), np.array([5, 7, 7]), np.array([0, 3, 3]))
    with pytest.raises(BadRecord, match="frame 7: two poses of track 3"):
        refine_tracks(sequences, people)
    with pytest.raises(BadParameter, match=r"data\.people\.link"):
        refine_tracks(sequences, replace(people, tracks=None))
    with pytest.raises(BadParameter, match="detections are posetrack15, the model knows jhmdb15"):
        refine_tracks(sequences, replace(people, skeleton="posetrack15"))


def test_people_of_a_video_are_estimated_in_their_boxes(rng):
    estimator = PoseEstimator(build("vissimcc", tiny("vissimcc")))
    frames = rng.integers(0, 255, (3, 60, 80, 3), np.uint8)
    boxes = np.array([[10, 5, 40, 55], [20, 20, 20, 50], [30, 10, 70, 50]], float)
    found = Detections(
        "coco17", rng.uniform(0, 60, (3, 17, 2)), np.full((3, 17), 0.4), boxes, frames=[2, 0, 0]
    )
    made = estimate_people(estimator, frames, found)
    np.testing.assert_allclose(
        made.xy_frame[0], estimator.estimate(frames[2], boxes[:1]).xy_frame[0], atol=1e-3
    )
    np.testing.assert_array_equal(made.replaced.all(1), [True, False, True])
    np.testing.assert_array_equal(made.xy_frame[1], found.xy_frame[1])
    with pytest.raises(BadParameter, match="without frames"):
        estimate_people(estimator, frames, replace(found, frames=None))


@pytest.mark.parametrize("name", sorted(OF_PICTURES))
def test_half_precision_changes_little_and_only_the_answers(rng, name):
    exact, mixed = load(name), load(name, precision="bf16")
    frames = rng.integers(0, 255, (2 * exact.reach + 1, 96, 128, 3), dtype=np.uint8)
    boxes = np.array([[10.0, 5, 60, 90], [50, 10, 120, 90]])
    one, other = (e.estimate(frames, boxes) for e in (exact, mixed))
    assert (
        not np.array_equal(one.confidence, other.confidence)
        and other.xy_frame.dtype == one.xy_frame.dtype
    )
    np.testing.assert_allclose(other.confidence, one.confidence, atol=0.1)
    assert all(p.dtype == torch.float32 for p in mixed.model.parameters())
    mixed.precision = "fp32"
    np.testing.assert_array_equal(mixed.estimate(frames, boxes).xy_frame, one.xy_frame)


def test_what_reads_no_pictures_has_one_precision():
    for name, precision in (("port", "bf16"), ("hanet", "bf16"), ("otpose", "fp16")):
        with pytest.raises(BadParameter, match=precision):
            load(name, precision=precision)


def test_heatmaps_of_another_estimator_are_read_from_a_file(rng, tmp_path):
    estimator = ClipEstimator(build("otpose", tiny("otpose")))
    crops = torch.from_numpy(
        rng.normal(size=(3, 5, 3, *estimator.model.config.size[::-1])).astype(np.float32)
    )
    with torch.inference_mode():
        maps = estimator.rough(crops).numpy()
    np.save(tmp_path / "maps.npy", maps)
    own, read = estimator.read(crops), estimator.read_heatmaps(tmp_path / "maps.npy", batch=2)
    np.testing.assert_allclose(read.xy_crop, own.xy_crop, atol=1e-4)
    np.testing.assert_allclose(estimator.read_heatmaps(maps).confidence, own.confidence, atol=1e-6)
    np.save(tmp_path / "short.npy", maps[:, :4])
    with pytest.raises(BadRecord, match="heatmaps"):
        estimator.read_heatmaps(tmp_path / "short.npy")


def test_joints_of_another_set_are_found_by_name(rng):
    """OTPose's shoulders in COCO's people: eyes and ears stay; hands have nothing of it."""
    estimator = PoseEstimator(build("vissimcc", replace(tiny("vissimcc"), skeleton="posetrack15")))
    frames, boxes = (
        rng.integers(0, 255, (1, 60, 80, 3), np.uint8),
        np.array([[10, 5, 40, 55]], float),
    )
    found = Detections(
        "coco17", rng.uniform(0, 60, (1, 17, 2)), np.full((1, 17), 0.4), boxes, frames=[0]
    )
    made, own = estimate_people(estimator, frames, found), estimator.estimate(frames[0], boxes)
    names, theirs = skeleton("coco17").joints, skeleton("posetrack15").joints
    np.testing.assert_allclose(
        made.xy_frame[0, names.index("left_knee")],
        own.xy_frame[0, theirs.index("left_knee")],
        atol=1e-3,
    )
    left = [name for name, moved in zip(names, made.replaced[0]) if not moved]
    assert left == ["left_eye", "right_eye", "left_ear", "right_ear"]
    np.testing.assert_array_equal(
        made.xy_frame[0, ~made.replaced[0]], found.xy_frame[0, ~made.replaced[0]]
    )
    hands = Detections("hand21", np.zeros((1, 21, 2)), np.zeros((1, 21)), boxes, frames=[0])
    with pytest.raises(BadParameter, match="detections are hand21, the model knows posetrack15"):
        estimate_people(estimator, frames, hands)


@pytest.mark.parametrize(
    ("n", "seen"),
    [
        (1, ["00000"]),
        (2, ["00011", "00111"]),
        (3, ["00012", "00122", "01222"]),
        (6, ["00012", "00123", "01234", "12345", "23455", "34555"]),
        (0, []),
    ],
)
def test_frames_among_their_neighbours_repeat_at_the_ends(n, seen):
    frames = (np.full((1, 1, 3), i, np.uint8) for i in range(n))
    found = ["".join(str(v) for v in window[:, 0, 0, 0]) for window in _with_neighbours(frames, 2)]
    assert found == seen
    assert [f[0, 0, 0] for f in _with_neighbours([np.full((1, 1, 3), 7)], 0)] == [7]


def test_a_video_is_estimated_from_five_frames_at_a_time(rng):
    estimator = ClipEstimator(build("otpose", tiny("otpose")))
    frames = rng.integers(0, 255, (4, 60, 80, 3), np.uint8)
    boxes = np.array([[5, 5, 40, 55], [30, 2, 70, 58], [0, 0, 0, 0]], np.float32)
    found = Detections(
        "posetrack15",
        np.zeros((3, 15, 2)),
        np.full((3, 15), 0.5),
        boxes,
        frames=np.array([0, 3, 3]),
        tracks=np.arange(3),
    )
    made = estimate_people(estimator, frames, found)
    assert made.replaced.all(1).tolist() == [True, True, False] and made.method == "otpose"
    own = estimator.estimate(frames[[1, 2, 3, 3, 3]], boxes[1:2])
    np.testing.assert_allclose(made.xy_frame[1], own.xy_frame[0], atol=1e-3)
    np.testing.assert_array_equal(made.xy_frame[2], found.xy_frame[2])
    assert len(estimator.estimate(frames[[0, 0, 0, 1, 2]], boxes[:0])) == 0
