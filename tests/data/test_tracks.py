"""Frames of results, and tracks through crossings and gaps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.growth import LINEAR, growth
from workbench.data.tracks import link, poses_of, track_of
from workbench.errors import BadParameter
from workbench.records import Clip, Detections, Track, Video

POSE = np.stack((np.arange(17) % 5 * 4.0, np.arange(17) * 6.0), 1)  # 16 x 96 px


def walkers(centres, frames=None, skeleton="coco17", **fields) -> Detections:
    """One row a (frame, person): centres [t p 2] px; NaN where the person is not seen."""
    t, p = centres.shape[:2]
    seen = ~np.isnan(centres[..., 0])
    xy = (POSE + centres[..., None, :])[seen]
    index = np.broadcast_to(np.arange(t)[:, None] if frames is None else frames[:, None], (t, p))[
        seen
    ]
    boxes = np.concatenate((xy.min(1) - 3, xy.max(1) + 3), 1)
    return Detections(skeleton, xy, np.full((len(xy), 17), 0.9), boxes, frames=index, **fields)


def paths(*ends, n=41):
    step = np.linspace(0, 1, n)[:, None]
    return np.stack([np.array(a) * (1 - step) + np.array(b) * step for a, b in ends], 1)


def test_people_who_cross_keep_their_numbers():
    centres = paths(((0, 50), (200, 56)), ((200, 50), (0, 44)), ((90, 300), (110, 300)))
    found = link(walkers(centres))
    assert found.tracks.reshape(41, 3).tolist() == [[0, 1, 2]] * 41


def test_a_velocity_that_is_believed_at_once_takes_few_labels_past_each_other():
    sparse = walkers(paths(((0, 50), (40, 50)), ((40, 50), (0, 50)), n=6))
    assert link(sparse, smoothing=1.0).tracks.reshape(6, 2).tolist() == [[0, 1]] * 6
    assert link(sparse).tracks.reshape(6, 2)[-1].tolist() == [1, 0]


def test_a_person_hidden_for_a_while_goes_on_and_one_away_for_long_is_new():
    centres = paths(((0, 50), (200, 50)), ((90, 300), (110, 300)))
    centres[20:30, 0] = np.nan
    assert link(walkers(centres)).tracks[-2:].tolist() == [0, 1]
    assert set(link(walkers(centres), max_gap=9).tracks.tolist()) == {0, 1, 2}
    assert set(link(walkers(centres), max_gap=10).tracks.tolist()) == {0, 1}


def test_the_order_of_rows_and_numbers_of_frames_do_not_matter(rng):
    found = walkers(paths(((0, 50), (200, 56)), ((200, 50), (0, 44))), frames=np.arange(41) + 1000)
    shuffled = rng.permutation(len(found))
    tracks = link(found.select(shuffled)).tracks
    who = np.arange(len(found))[shuffled] % 2
    assert len(set(zip(who.tolist(), tracks.tolist()))) == 2


def test_joints_of_confidence_0_do_not_count():
    found = walkers(paths(((0, 50), (2, 50)), n=3))
    lost = np.zeros((3, 17), bool)
    lost[1, 5:] = True
    xy, confidence = (
        np.where(lost[..., None], 0, found.xy_frame),
        np.where(lost, 0, found.confidence),
    )
    assert link(
        replace(found, xy_frame=xy, confidence=confidence), min_similarity=0.5
    ).tracks.tolist() == [0, 0, 0]


def test_skeletons_without_sigmas_are_linked_by_boxes_and_empty_results_stay_empty():
    centres = paths(((0, 50), (40, 50)), ((300, 50), (260, 44)))
    assert link(walkers(centres, skeleton="h36m17")).tracks.reshape(41, 2).tolist() == [[0, 1]] * 41
    assert len(link(walkers(centres).select([])).tracks) == 0
    # boxes without area overlap nothing
    one_joint = replace(walkers(centres), boxes_xyxy=np.zeros((82, 4)))
    assert link(one_joint).tracks[:2].tolist() == [0, 1]
    with pytest.raises(BadParameter, match="without frames"):
        link(replace(walkers(centres), frames=None))


def test_labelled_poses_of_a_clip_come_frame_by_frame():
    flags = np.array([[2] * 17, [0] * 17, [1] * 17])
    tracks = [
        Track(
            "coco17",
            who,
            np.full((3, 17, 2), 10 * who) * (f > 0)[..., None],
            f,
            f.any(1),
            np.zeros((3, 4)),
            who == 0,
        )
        for who, f in enumerate((flags, flags[::-1]))
    ]
    truth, frame = poses_of(Clip(Video("v", 3), tracks))
    assert frame.tolist() == [0, 0, 2, 2] and truth.xy_frame[:, 0, 0].tolist() == [0, 10, 0, 10]
    assert truth.visibility[:, 0].tolist() == [2, 1, 1, 2] and not truth.occlusion_known


def test_tracks_need_no_torch():
    code = "import sys, workbench.data.tracks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_linking_costs_in_proportion_to_the_video():
    def linking(n):
        found = walkers(paths(((0, 50), (n, 50)), ((0, 300), (n, 300)), n=n))
        return lambda: link(found)

    def strangers(n):
        """Nobody is seen twice, so that there are as many tracks as people."""
        found = walkers(np.full((n, 1, 2), 50.0), frames=np.arange(n) * 99)
        assert len(set(link(found).tracks.tolist())) == n
        return lambda: link(found)

    assert growth(linking, 30) < LINEAR
    assert growth(strangers, 30) < LINEAR


def test_poses_of_a_clip_and_tracks_of_poses_cost_in_proportion_to_the_frames():
    def track(n):
        xy = np.tile(POSE, (n, 1, 1))
        boxes = np.tile([0.0, 0, 20, 100], (n, 1))
        return Track("coco17", 0, xy, np.full((n, 17), 2), np.ones(n, bool), boxes)

    def poses(n):
        clip = Clip(Video("long", n), [track(n)])
        return lambda: poses_of(clip)

    def tracks(n):
        found, _ = poses_of(Clip(Video("long", n), [track(n)]))
        return lambda: track_of(found, 0, dict(enumerate(range(n))), n)

    assert growth(poses, 1000) < LINEAR
    assert growth(tracks, 3000) < LINEAR
