"""HANet around its model: windows, streams and tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.errors import BadParameter, BadRecord
from workbench.made.bodies import sample_bodies
from workbench.models import build
from workbench.models.hanet import HANetConfig
from workbench.predict import SequenceRefiner, refine_tracks
from workbench.records import Detections
from workbench.skeletons import skeleton


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


def test_streams_that_cannot_be_are_refused(sequences):
    for delay, stride in ((-1, 1), (13, 1), (4, 0), (4, 6)):
        with pytest.raises(BadParameter, match=f"delay {delay}, stride {stride}, window 13"):
            sequences.stream(delay, stride=stride)
    with pytest.raises(BadParameter, match="17 x 2 numbers, the model knows 30"):
        sequences.stream(0).push(np.zeros((17, 2)))


def test_the_future_behind_the_delay_does_not_matter(sequences, rng):
    xy, stream = walk(rng, 40), sequences.stream(3)
    other = np.concatenate((xy[:24], 5 * xy[24:]))
    one, two = ([stream.push(pose) for pose in poses] + [stream.close()] for poses in (xy, other))
    one, two = np.concatenate(one), np.concatenate(two)
    np.testing.assert_array_equal(one[:21], two[:21])
    assert np.abs(one[21] - two[21]).max() > 0.01


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


BOTH = ("jhmdb15", "coco17")


def bodies_of_both(n):
    """The same made bodies in both skeletons, px."""
    of = {name: sample_bodies(n, np.random.default_rng(5), skeleton=name) for name in BOTH}
    return [of[name].xy_frame.astype(float) for name in BOTH]


def test_what_coco_lacks_is_made_of_what_it_has(sequences):
    theirs, ours = bodies_of_both(101)
    people = tracked(theirs, np.arange(101), np.arange(101))
    np.testing.assert_array_equal(sequences.means_of(people), np.eye(15))
    confidence = np.full(ours.shape[:2], 0.7)
    people = replace(people, skeleton="coco17", xy_frame=ours, confidence=confidence)
    made = sequences.means_of(people) @ ours
    size = np.ptp(theirs, axis=1).max(-1)[:, None]
    off = np.linalg.norm(made - theirs, axis=-1) / size
    assert off.mean(0).max() < 0.03, "of a person's size; a bone of the trunk is 0.15"
    known = np.array([joint in skeleton("coco17").joints for joint in skeleton("jhmdb15").joints])
    np.testing.assert_allclose(off[:, known], 0, atol=1e-6)


def test_of_coco_the_joints_that_the_model_knows_are_refined(sequences, rng):
    theirs, ours = bodies_of_both(7)
    people = tracked(theirs, np.arange(7), np.zeros(7, int))
    people = replace(people, skeleton="coco17", xy_frame=ours, confidence=np.full((7, 17), 0.7))
    refined = refine_tracks(sequences, people)
    expected = sequences.refine(sequences.means_of(people) @ ours)
    for i, joint in enumerate(skeleton("coco17").joints):
        own = skeleton("jhmdb15").joints
        at = ours[:, i] if joint not in own else expected[:, own.index(joint)]
        np.testing.assert_allclose(refined.xy_frame[:, i], at, rtol=1e-5)
        assert (refined.replaced[:, i] == (joint in own)).all()


def test_tracks_that_are_no_sequences_are_refused(sequences, rng):
    people = tracked(walk(rng, 3), np.array([5, 7, 7]), np.array([0, 3, 3]))
    with pytest.raises(BadRecord, match="frame 7: two poses of track 3"):
        refine_tracks(sequences, people)
    with pytest.raises(BadParameter, match=r"data\.tracks\.link"):
        refine_tracks(sequences, replace(people, tracks=None))
    words = "detections are posetrack15, the model knows jhmdb15: they have no neck, belly, head"
    with pytest.raises(BadParameter, match=f"{words}.*results of jhmdb15 or coco17"):
        refine_tracks(sequences, replace(people, skeleton="posetrack15"))
