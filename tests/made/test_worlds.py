"""Rendered people: labels against the buffers they come from, splits that share nothing, a cache
that is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pooch
import pytest
from scipy.spatial.transform import Rotation

from workbench.errors import BadFile, BadParameter, MissingData, UnknownName
from workbench.made import render, worlds
from workbench.made.render import BOX, OCCLUDER, View
from workbench.made.worlds import (
    SPLITS,
    WORLDS,
    World,
    cached_clips,
    film,
    sample_clip,
    scene,
    stream,
)
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


def whole_person():
    """A scene of ALONE in which nothing of the one person is cut off, and its film."""
    for index in itertools.count():
        s = scene(ALONE, "val", index)
        made = shot(s, ALONE)
        if (made.clip.tracks[0].visibility > 0).all():
            return s, made


def sha(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[
        :16
    ]


def labels(clip):
    """Coordinates to a thousandth of a px, flags and boxes to a hundredth, as integers."""
    rows = [
        (t.xy_frame * 1000, t.visibility, t.boxes_xyxy * 100, t.head_boxes_xyxy * 100)
        for t in clip.tracks
    ]
    return [np.round(v).astype(np.int64) for row in rows for v in row]


# --- labels ---------------------------------------------------------------------------------------


def test_a_board_hides_the_joints_behind_it_and_no_others():
    s, before = whole_person()
    track, view, at = before.clip.tracks[0], s.view, 1
    edge = int(np.median(track.xy_frame[at, :, 0]))
    focal, middle = view.focal, view.middle
    z = 400.0  # mm before the camera: from far left of the picture to the left edge of that pixel
    right, left = ((x - middle[0]) / focal * z for x in (edge - 0.5, -200.0))
    centre = np.array([[(left + right) / 2, 0, z + 1]]) @ view.rotation[0] + view.position
    board = worlds._Group(OCCLUDER)
    board.add(
        BOX, centre, np.array([(right - left) / 2, 900.0, 1.0])[:, None] * view.rotation[0], 0
    )
    after = shot(
        replace(s, actors=render.join([s.actors, board.solids(len(s.actors.centre))])), ALONE
    )
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
    after = shot(replace(s, actors=render.join([s.actors, a]), joints=(*s.joints, nearer)), ALONE)
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


@pytest.mark.parametrize("name", sorted(worlds.BODY_SKELETONS))
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


def test_curves_pass_through_the_frames(rng):
    xyz = rng.normal(0, 1, (7, 3))
    np.testing.assert_array_equal(worlds._between(xyz, np.arange(6.0)), xyz[:6])
    np.testing.assert_allclose(worlds._between(xyz, np.array([6.0])), xyz[6:])
    line = np.arange(7.0)[:, None] * [1.0, 2, 3]
    np.testing.assert_allclose(
        worlds._between(line, np.array([2.25, 3.5])), [[2.25, 4.5, 6.75], [3.5, 7, 10.5]]
    )


# --- the same everywhere, and nothing in common ---------------------------------------------------


def test_another_process_on_an_older_processor_gives_the_same_pixels():
    code = (
        "import hashlib; from workbench.made.worlds import sample_clip; r = "
        "sample_clip('synthetic_tiny', 'test', 2);"
        "print(hashlib.sha256(r.frames.tobytes() + r.owner.tobytes()).hexdigest()[:16])"
    )
    # Other code paths of numpy, OpenBLAS and OpenCV; a machine that has none of these features just
    # ignores them.
    features = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512_SKX"
    older = {
        "NPY_DISABLE_CPU_FEATURES": features,
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENCV_CPU_DISABLE": "AVX2,AVX512-SKX,FP16,FMA3",
    }
    root, env = Path(worlds.__file__).parents[2], {**os.environ, **older}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=env
    )
    here = sample_clip("synthetic_tiny", "test", 2)
    assert there.stdout.strip() == sha(here.frames, here.owner)


# A benchmark world is frozen: whoever changes its recipe, a motion or the renderer gives it a new
# name, or raises `RENDERER` as long as no method was trained on it, and takes these numbers anew.
DIGESTS = {
    "synthetic": "78868ec9ea5d048e",
    "synthetic_mocap": "c80dab7bcb2669d0",
    "synthetic_tiny": "fb4c1b56b4799b17",
    "occluded_people": "af45f58b54d0a528",
    "crossing_people": "5277a08f60b4f063",
    "fast_people": "3ec4711c855d42d2",
}
TINY = ("cfefd20f73a5a4dd", "d9e244da2f36f615")  # pixels and owners; labels


def test_recipes_and_pixels_are_frozen():
    assert {name: w.digest() for name, w in WORLDS.items()} == DIGESTS
    made = sample_clip("synthetic_tiny", "train", 0)
    assert (sha(made.frames, made.owner), sha(*labels(made.clip))) == TINY


def test_a_digest_says_every_part_of_the_recipe():
    changes = {
        "name": "b",
        "n_frames": 5,
        "fps": 9.0,
        "people": (1, 9),
        "seed": 1,
        "sub_frames": 5,
        "label_stride": 2,
        "label_first": 1,
        "gaits": ("kick",),
    }
    digests = [
        World("a").digest(),
        *(replace(World("a"), **{k: v}).digest() for k, v in changes.items()),
    ]
    assert len(set(digests)) == len(digests) and World("a").digest() == World("a").digest()


def test_labels_begin_where_the_recipe_says():
    recipe = replace(WORLDS["synthetic_tiny"], n_frames=7, label_stride=3, label_first=2)
    for track in sample_clip(recipe, "train", 0).clip.tracks:
        assert track.labelled.nonzero()[0].tolist() == [2, 5]
    with pytest.raises(BadParameter, match="label_first"):
        replace(recipe, label_first=7)


def test_people_do_what_the_recipe_says():
    asked = []
    for recipe in (
        replace(WORLDS["synthetic_tiny"], gaits=("kick", "turn")),
        WORLDS["synthetic_tiny"],
    ):
        with patch.object(worlds, "gait_joints_mm", wraps=worlds.gait_joints_mm) as made:
            for i in range(4):
                scene(recipe, "train", i)
        asked.append({call.args[3] for call in made.call_args_list})
    assert asked == [{"kick", "turn"}, {None}]
    for wrong in (
        {"gaits": ("fly",)},
        {"gaits": ("kick",), "motion": "mocap", "data": "bandai_namco"},
    ):
        with pytest.raises(BadParameter, match="gaits"):
            replace(WORLDS["synthetic_tiny"], **wrong)


def test_splits_share_no_person_motion_or_room():
    recipe = WORLDS["synthetic_tiny"]
    roles = ("scene", "room", "count", "sensor", "person 0", "person 1", "motion 0", "motion 1")
    drawn = [
        stream(recipe, split, i, role).bytes(16)
        for split in SPLITS
        for i in range(29)
        for role in roles
    ]
    assert len(set(drawn)) == len(drawn)
    scenes = [scene(recipe, split, i) for split in SPLITS for i in range(2)]
    for a, b in itertools.combinations(scenes, 2):
        assert not np.array_equal(a.room.texture, b.room.texture)
        assert not np.isin(a.surfaces.colours[..., 2:].ravel(), b.surfaces.colours).all()
        for one, two in itertools.product(a.joints, b.joints):
            bones = [np.linalg.norm(j["left_hip"][0] - j["left_knee"][0]) for j in (one, two)]
            assert abs(bones[0] - bones[1]) > 1e-6


def made_motions(folder, n=23):
    for i in range(n):
        for take in (1, 2):
            (folder / f"dataset-1_walk{i}_normal_{take:03d}.bvh").write_text("not read here")


def test_motion_capture_is_dealt_out_by_what_is_done_and_how(tmp_path, monkeypatch):
    made_motions(tmp_path)
    monkeypatch.setattr(
        worlds.manifest, "locate", lambda spec: (worlds.manifest.manifest("synthetic"), tmp_path)
    )
    dealt = {
        split: [f.stem.rsplit("_", 1)[0] for f in worlds.motion_files("x", split)]
        for split in SPLITS
    }
    assert [len(set(v)) for v in dealt.values()] == [14, 4, 5] and sum(
        map(len, dealt.values())
    ) == 46
    assert not set(dealt["train"]) & set(dealt["val"]) and not set(dealt["val"]) & set(
        dealt["test"]
    )
    for path in list(tmp_path.iterdir())[2:]:
        path.unlink()
    with pytest.raises(MissingData, match="too few"):
        [worlds.motion_files("x", split) for split in SPLITS]


def test_motion_capture_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    with pytest.raises(MissingData, match="bandai_namco"):
        sample_clip("synthetic_mocap", "train", 0)


@pytest.mark.realdata
def test_people_who_move_as_captured(data_root):
    recipe = replace(ALONE, name="captured", motion="mocap", data="bandai_namco", fps=30.0)
    files = [set(worlds.motion_files("bandai_namco", split)) for split in SPLITS]
    assert sum(map(len, files)) == 40 == len(set.union(*files))
    track = sample_clip(recipe, "test", 0).clip.tracks[0]
    assert (track.visibility == 2).sum() > 5
    thigh = np.linalg.norm(track.xyz_camera_mm[:, 11] - track.xyz_camera_mm[:, 13], axis=-1)
    assert 300 < thigh.min() and np.ptp(thigh) < 0.05
    with pytest.raises(MissingData, match="no motion of"):
        sample_clip(replace(recipe, n_frames=4000), "test", 0)


# --- wrong questions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_frames": 0}, "n_frames=0"),
        ({"fps": -1.0}, "fps"),
        ({"people": (0, 2)}, "people"),
        ({"occluders": (3, 1)}, "occluders"),
        ({"sub_frames": 2}, "sub_frames"),
        ({"size_wh": (9, 99)}, "size_wh"),
        ({"motion": "mocap"}, "motion"),
        ({"data": "bandai_namco"}, "motion"),
        ({"motion": "films"}, "motion"),
    ],
)
def test_worlds_that_cannot_be(change, match):
    with pytest.raises(BadParameter, match=match):
        replace(ALONE, **change)


def test_unknown_names():
    with pytest.raises(UnknownName, match="synthetic_tiny"):
        sample_clip("synthetic_tny", "train", 0)
    with pytest.raises(UnknownName, match="train"):
        sample_clip("synthetic_tiny", "trian", 0)
    for name in ("coco", "hand21"):
        with pytest.raises(UnknownName, match="skeleton"):
            replace(ALONE, skeleton=name)


# --- cache ----------------------------------------------------------------------------------------


def test_the_cache_renders_once_and_gives_back_what_was_rendered(tmp_path, monkeypatch):
    clips = cached_clips("synthetic_tiny", "val", 2, folder=tmp_path, progress=False)
    fresh = sample_clip("synthetic_tiny", "val", 1)
    clip, frames = clips[1]
    assert len(clips) == 2 and len(frames) == 3 and len(pickle.dumps(frames)) < 1000
    np.testing.assert_array_equal(np.stack(list(frames)), fresh.frames)
    np.testing.assert_array_equal(frames[[2, 0]], fresh.frames[[2, 0]])
    assert clip.name == fresh.clip.name and vars(clip.video) == vars(fresh.clip.video)
    for stored, made in zip(clip.tracks, fresh.clip.tracks, strict=True):
        for name in worlds._STORED:
            np.testing.assert_array_equal(getattr(stored, name), getattr(made, name))
    monkeypatch.setattr(worlds, "sample_clip", lambda *a: pytest.fail("rendered again"))
    assert len(cached_clips("synthetic_tiny", "val", 2, folder=tmp_path, progress=False)) == 2
    with pytest.raises(IndexError):
        clips[2]
    with pytest.raises(UnknownName):
        cached_clips("synthetic_tiny", "vall", 1, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_render_that_was_killed_leaves_nothing_that_is_read_as_a_clip(tmp_path, monkeypatch):
    savez, saved = np.savez, []

    def dies(path, **arrays):
        saved.extend(path.parent.glob("*.npy"))
        raise KeyboardInterrupt

    monkeypatch.setattr(worlds.np, "savez", dies)
    with pytest.raises(KeyboardInterrupt):
        cached_clips("synthetic_tiny", "val", 1, folder=tmp_path, progress=False)
    assert (
        saved
        and not [p for p in tmp_path.rglob("0*") if p.is_dir()]
        and not list(tmp_path.rglob("*.npy"))
    )
    monkeypatch.setattr(worlds.np, "savez", savez)
    assert cached_clips("synthetic_tiny", "val", 1, folder=tmp_path, progress=False)[0][1][
        0
    ].shape == (80, 96, 3)


def test_a_damaged_clip_is_named(tmp_path):
    clips = cached_clips("synthetic_tiny", "val", 1, folder=tmp_path, progress=False)
    for name in ("frames.npy", "tracks.npz"):
        (clips.folders[0] / name).write_bytes(b"PK\x03\x04 half")
        with pytest.raises(BadFile, match=r"000000.*: a cached clip is damaged.*remove"):
            clips[0][1][2]
