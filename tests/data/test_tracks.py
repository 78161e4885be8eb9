"""Frames of results, and tracks through crossings and gaps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.growth import LINEAR, growth
from workbench.data.frames import open_frames, picture_names
from workbench.data.tracks import last_number, link, on_frames, poses_of, track_of
from workbench.errors import BadParameter, BadRecord
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


def rows(frames, images=()):
    return replace(walkers(np.zeros((len(frames), 1, 2)), frames=np.array(frames)), images=images)


def test_results_that_count_from_1_are_shifted():
    assert on_frames(rows([0, 3]), 5).frames.tolist() == [0, 3]
    assert on_frames(rows([1, 5]), 5).frames.tolist() == [0, 4]
    with pytest.raises(BadRecord, match=r"result 1: frame 5, the video has 5"):
        on_frames(rows([0, 5]), 5)
    with pytest.raises(BadRecord, match=r"result 0: frame -1, the video has 5"):
        on_frames(rows([-1, 3]), 5)
    with pytest.raises(BadRecord, match="do not say which frame"):
        on_frames(replace(rows([0]), frames=None), 5)


def test_numbers_in_names_end_where_a_time_in_ns_does():
    assert last_number("a1/t7_1403636579763555584.png") == 1403636579763555584
    assert last_number("t.png") == last_number("t" + "1" * 5000 + ".png") == -1


def test_results_of_a_folder_are_matched_by_name_or_number():
    names = ["shot_8.jpg", "shot_9.jpg", "shot_10.jpg"]
    assert on_frames(rows([8, 10]), 3, names).frames.tolist() == [0, 2]
    assert on_frames(rows([0, 1], ("shot_9", "shot_10.jpg")), 3, names).frames.tolist() == [1, 2]
    assert on_frames(rows([0, 2]), 3, names).frames.tolist() == [0, 2]


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


def test_names_of_a_folder_are_its_frames(tmp_path):
    for name in ("10.png", "9.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((7, 5, 3), np.uint8))
    (tmp_path / "1.png").mkdir()  # a folder called like a picture is no frame
    names = picture_names(tmp_path)
    assert names == ["9.png", "10.png"] and len(open_frames(tmp_path)) == 2
    assert (
        on_frames(rows([9, 10]), 2, names).frames.tolist() == [0, 1]
        and picture_names(tmp_path / "9.png") == []
    )


def test_tracks_need_no_torch():
    code = "import sys, workbench.data.tracks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_linking_and_finding_frames_cost_in_proportion_to_the_video():
    def linking(n):
        found = walkers(paths(((0, 50), (n, 50)), ((0, 300), (n, 300)), n=n))
        return lambda: link(found)

    def strangers(n):
        """Nobody is seen twice, so that there are as many tracks as people."""
        found = walkers(np.full((n, 1, 2), 50.0), frames=np.arange(n) * 99)
        assert len(set(link(found).tracks.tolist())) == n
        return lambda: link(found)

    def naming(n):
        names = [f"{i}.jpg" for i in range(n)]
        found = walkers(np.full((n, 1, 2), 50.0), images=tuple(names))
        return lambda: on_frames(found, n, names)

    assert growth(linking, 30) < LINEAR
    assert growth(strangers, 30) < LINEAR
    assert growth(naming, 500) < LINEAR


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
