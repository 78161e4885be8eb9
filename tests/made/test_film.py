"""Rendered people: labels against the buffers they come from."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from workbench.errors import BadParameter
from workbench.made import render
from workbench.made.bodies import BODY_SKELETONS
from workbench.made.film import defocus, develop, film, scene
from workbench.made.people import box, solids
from workbench.made.render import OCCLUDER, Solids, View
from workbench.made.world import World
from workbench.made.worlds import WORLDS, sample_clip
from workbench.skeletons import skeleton

SIZE = (127, 97)
ALONE = World(
    "alone",
    size_wh=SIZE,
    n_frames=2,
    people=(1, 1),
    occluders=(0, 0),
    moving_camera=0.0,
    sub_frames=1,
)
CROWD = World(
    "crowd",
    size_wh=SIZE,
    n_frames=3,
    people=(3, 3),
    occluders=(2, 2),
    moving_camera=1.0,
    sub_frames=3,
)


def shot(s, recipe):
    return film(s, recipe, np.random.default_rng(3))


def join(a, b):
    """All solids of two groups with the same instants, in order."""
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(Solids))
    return Solids(*(np.concatenate(pair, int(pair[0].ndim > 2)) for pair in pairs))


def whole_person():
    """A scene of ALONE in which nothing of the one person is cut off, and its film."""
    for index in itertools.count():
        s = scene(ALONE, "val", index)
        made = shot(s, ALONE)
        if (made.clip.tracks[0].visibility > 0).all():
            return s, made


def test_a_board_hides_the_joints_behind_it_and_no_others():
    s, before = whole_person()
    track, view, at = before.clip.tracks[0], s.view, 1
    edge = int(np.median(track.xy_frame[at, :, 0]))
    focal, middle = view.focal, view.middle
    z = 400.0  # mm before the camera: from far left of the picture to the left edge of that pixel
    right, left = ((x - middle[0]) / focal * z for x in (edge - 0.5, -200.0))
    centre = np.array([[(left + right) / 2, 0, z + 1]]) @ view.rotation[0] + view.position
    half = np.array([(right - left) / 2, 900.0, 1.0])
    board = solids([box(centre, view.rotation[0], half, 0)], len(s.actors.centre))
    after = shot(replace(s, actors=join(s.actors, board)), ALONE)
    column = np.round(track.xy_frame[at, :, 0])
    behind = column < edge
    assert 3 < behind.sum() < 15
    flags = after.clip.tracks[0].visibility[at]
    assert (flags[behind] == 1).all()
    np.testing.assert_array_equal(flags[~behind], track.visibility[at][~behind])
    np.testing.assert_array_equal(after.clip.tracks[0].xy_frame, track.xy_frame)
    np.testing.assert_array_equal(after.clip.tracks[0].boxes_xyxy, track.boxes_xyxy)
    assert (after.owner[at][:, :edge] == OCCLUDER).all() and (
        after.owner[at][:, edge:] != OCCLUDER
    ).any()


def test_a_person_in_front_hides_the_same_person_behind():
    s, before = whole_person()
    eye = s.view.position[0]
    a = s.actors
    a = replace(
        a,
        owner=np.where(a.owner == 0, 1, a.owner),
        centre=(a.centre + eye) / 2,
        axes=a.axes / 2,
        reach=a.reach / 2,
    )
    nearer = {name: (xyz + eye) / 2 for name, xyz in s.joints[0].items()}
    after = shot(replace(s, actors=join(s.actors, a), joints=(*s.joints, nearer)), ALONE)
    hidden, front = after.clip.tracks
    was = before.clip.tracks[0].visibility
    assert (was == 2).sum() > 12 and (hidden.visibility == 1).mean() > 0.95
    assert (front.visibility == was).mean() > 0.95
    np.testing.assert_allclose(front.xy_frame, hidden.xy_frame, atol=1e-3)
    np.testing.assert_allclose(front.xyz_camera_mm * 2, hidden.xyz_camera_mm, rtol=1e-5)
    assert (after.owner == 0).sum() < 0.03 * (after.owner == 1).sum()


def test_half_out_of_the_picture():
    s, before = whole_person()
    track = before.clip.tracks[0]
    # the camera turns until the person's middle is on its left edge
    shift = np.median(track.xyz_camera_mm[0, :, 0])
    depth = np.median(track.xyz_camera_mm[0, :, 2])
    angle = np.arctan2(shift, depth) + np.arctan2(SIZE[0] / 2, s.view.focal)
    c, n = np.cos(angle), np.sin(angle)
    turned = np.array([[[c, 0, -n], [0, 1, 0], [n, 0, c]]]) @ s.view.rotation
    after = shot(
        replace(s, view=View(turned, s.view.position, s.view.focal, s.view.size_wh)), ALONE
    ).clip.tracks[0]
    xyz = after.xyz_camera_mm
    xy = s.view.focal * xyz[..., :2] / xyz[..., 2:] + s.view.middle
    outside = xy[..., 0] < -0.5
    assert 3 < outside[0].sum() < 14
    assert (after.visibility[outside] == 0).all() and (after.xy_frame[outside] == 0).all()
    assert (after.visibility[~outside] > 0).all()
    assert (after.boxes_xyxy[:, 0] == 0).all() and (after.boxes_xyxy[:, 2] < 60).all()


def test_somebody_out_of_sight_is_not_labelled():
    s, _ = whole_person()
    back = s.view.rotation * np.array([-1.0, 1.0, -1.0])[:, None]
    track = shot(replace(s, view=replace(s.view, rotation=back)), ALONE).clip.tracks[0]
    assert not track.labelled.any() and not track.visibility.any() and not track.boxes_xyxy.any()


@pytest.mark.parametrize("index", [0, 1])
def test_joints_flags_boxes_and_owners_agree(index):
    made = sample_clip(CROWD, "train", index)
    s = scene(CROWD, "train", index)
    assert (
        made.frames.shape == (3, 97, 127, 3)
        and made.frames.dtype == np.uint8
        and made.owner.dtype == np.int16
    )
    assert (
        len(made.clip.tracks) == 3
        and made.clip.video.fps == 15
        and made.clip.name == f"crowd/train/{index}"
    )
    for track in made.clip.tracks:
        xyz, flags, xy = track.xyz_camera_mm, track.visibility, track.xy_frame
        inside = flags > 0
        want = s.view.focal * xyz[..., :2] / xyz[..., 2:] + s.view.middle
        np.testing.assert_allclose(xy[inside], want[inside], atol=1e-3)
        assert (xy[~inside] == 0).all()
        out = (
            (want < -0.5).any(-1)
            | (want >= np.array(SIZE) - 0.5).any(-1)
            | (xyz[..., 2] < render.NEAR_MM)
        )
        np.testing.assert_array_equal(inside, ~out & track.labelled[:, None])
        for t in np.flatnonzero(track.labelled):
            x0, y0, x1, y1 = track.boxes_xyxy[t]
            assert 0 <= x0 < x1 <= SIZE[0] - 1 and 0 <= y0 < y1 <= SIZE[1] - 1
            y, x = np.nonzero(made.owner[t] == track.track_id)
            if len(x):  # the silhouette that one sees lies in the box
                assert (
                    x.min() >= x0 - 1e-3
                    and x.max() <= x1 + 1e-3
                    and y.min() >= y0 - 1e-3
                    and y.max() <= y1 + 1e-3
                )
            px = np.round(xy[t]).astype(int)
            owner = made.owner[t][px[:, 1], px[:, 0]]
            assert np.isin(owner[flags[t] == 2], [track.track_id, render.BACKGROUND]).mean() > 0.9
            assert (flags[t][inside[t] & (owner == OCCLUDER)] <= 2).all()
    np.testing.assert_array_equal(sample_clip(CROWD, "train", index).frames, made.frames)


def test_the_box_is_tight_around_somebody_whom_nothing_hides():
    _, made = whole_person()
    for t, (x0, y0, x1, y1) in enumerate(made.clip.tracks[0].boxes_xyxy):
        y, x = np.nonzero(made.owner[t] == 0)
        assert (
            x.min() - x0 < 1.5 and y.min() - y0 < 1.5 and x1 - x.max() < 1.5 and y1 - y.max() < 1.5
        )


def test_a_face_is_seen_from_the_front_only():
    seen = {True: [], False: []}
    for index in range(9):
        track = shot(
            scene(replace(ALONE, n_frames=1), "test", index), replace(ALONE, n_frames=1)
        ).clip.tracks[0]
        xyz, flags = track.xyz_camera_mm[0], track.visibility[0]
        forward = xyz[0] - xyz[3:5].mean(0)  # from between the ears to the nose
        turned = forward @ xyz[0] / np.linalg.norm(forward) / np.linalg.norm(xyz[0])
        if flags[0] and abs(turned) > 0.5:
            seen[bool(turned < 0)].append(flags[0])
    assert set(seen[False]) == {1} and np.mean(seen[True]) > 1.6


def test_what_lies_behind_a_joint_does_not_hide_it():
    s, before = whole_person()
    eye = s.view.position[0]
    # joints before their flesh
    nearer = {name: eye + 0.8 * (xyz - eye) for name, xyz in s.joints[0].items()}
    track = shot(replace(s, joints=(nearer,)), ALONE).clip.tracks[0]
    assert (before.clip.tracks[0].visibility[:, 5:] == 1).any() and (
        track.visibility[:, 5:] == 2
    ).all()
    np.testing.assert_allclose(track.xy_frame, before.clip.tracks[0].xy_frame, atol=1e-3)


def in_profile(s):
    """The scene with its one person turned about the vertical until the hips are in line with
    the camera.
    """
    middle = s.joints[0]["pelvis"][0]
    ray, hips = (
        middle - s.view.position[0],
        s.joints[0]["left_hip"][0] - s.joints[0]["right_hip"][0],
    )
    turn = (
        Rotation.from_euler("y", np.arctan2(ray[0], ray[2]) - np.arctan2(hips[0], hips[2]))
        .as_matrix()
        .T
    )
    a = s.actors
    joints = {name: (xyz - middle) @ turn + middle for name, xyz in s.joints[0].items()}
    return replace(
        s,
        joints=(joints,),
        actors=replace(a, centre=(a.centre - middle) @ turn + middle, axes=a.axes @ turn),
    )


def test_the_far_hip_of_a_profile_is_hidden_by_the_trunk():
    hip, found = 11, 0  # the left hip is the far one
    recipe = replace(ALONE, n_frames=1)
    for index in range(12):
        s = in_profile(scene(recipe, "train", index))
        anywhere = replace(s, actors=replace(s.actors, reach=np.full(len(s.actors.reach), np.inf)))
        loose, strict = (shot(v, recipe).clip.tracks[0].visibility[0] for v in (anywhere, s))
        # no arm before it: the surface of the trunk, which meets this hip, but far from it
        if loose[hip] == 2:
            assert strict[hip] == 1
            found += 1
    assert found


@pytest.mark.parametrize("name", sorted(BODY_SKELETONS))
def test_every_skeleton(name):
    recipe = replace(ALONE, n_frames=1, skeleton=name)
    track = sample_clip(recipe, "val", 0).clip.tracks[0]
    assert track.xy_frame.shape == (1, len(skeleton(name)), 2) and (track.visibility == 2).any()


def test_motion_blur_changes_pixels_and_no_label():
    sharp, soft = (
        sample_clip(replace(CROWD, sub_frames=n, shutter=(0.9, 0.9)), "val", 5) for n in (1, 5)
    )
    for a, b in zip(sharp.clip.tracks, soft.clip.tracks):
        np.testing.assert_allclose(a.xy_frame, b.xy_frame, atol=1e-3)
        np.testing.assert_array_equal(a.visibility, b.visibility)
        np.testing.assert_allclose(a.boxes_xyxy, b.boxes_xyxy, atol=1e-3)
    np.testing.assert_array_equal(sharp.owner, soft.owner)
    assert np.abs(sharp.frames.astype(int) - soft.frames).mean() > 1


def test_sparse_labels():
    dense, sparse = (
        sample_clip(replace(ALONE, n_frames=4, label_stride=n), "val", 1).clip.tracks[0]
        for n in (1, 3)
    )
    assert dense.labelled.all() and sparse.labelled.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(sparse.xy_frame[[0, 3]], dense.xy_frame[[0, 3]])
    assert (
        not sparse.xy_frame[1:3].any()
        and not sparse.visibility[1:3].any()
        and not sparse.boxes_xyxy[1:3].any()
    )


def test_labels_begin_where_the_recipe_says():
    recipe = replace(WORLDS["synthetic_tiny"], n_frames=7, label_stride=3, label_first=2)
    for track in sample_clip(recipe, "train", 0).clip.tracks:
        assert track.labelled.nonzero()[0].tolist() == [2, 5]
    with pytest.raises(BadParameter, match="label_first"):
        replace(recipe, label_first=7)


# --- sensor ---------------------------------------------------------------------------------------


def test_the_sensor_keeps_the_mean_adds_its_noise_and_repeats(rng):
    linear = np.full((47, 61, 3), 0.25, np.float32)
    frame = develop(linear, 0.0, 4.0, np.random.default_rng(5))
    np.testing.assert_array_equal(frame, develop(linear, 0.0, 4.0, np.random.default_rng(5)))
    assert (
        frame.dtype == np.uint8 and abs(frame.mean() - 127.5) < 0.5 and abs(frame.std() - 4) < 0.3
    )
    assert (develop(linear, 0.7, 0.0, rng) == 128).all()
    linear[:, 30:] = 0.8
    sharp, soft = (develop(linear, lens, 0.0, rng)[20, :, 0].astype(int) for lens in (0.0, 0.9))
    assert np.abs(np.diff(soft)).max() < np.abs(np.diff(sharp)).max()
    assert defocus(linear, 0.0) is linear and np.ptp(defocus(linear, 2.0)[20, 25:35, 0]) < np.ptp(
        linear
    )
