"""Frozen worlds: the same pixels everywhere, splits that share nothing, a cache that is whole."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import workbench
from workbench.errors import BadFile, CannotWrite, MissingFile, UnknownName
from workbench.made.film import person_joints, scene
from workbench.made.gaits import gait_joints_mm
from workbench.made.world import SPLITS
from workbench.made.worlds import STORED, WORLDS, cached_clips, sample_clip, store_clip


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


# --- the same everywhere, and nothing in common ---------------------------------------------------


def test_another_process_on_an_older_processor_gives_the_same_pixels():
    code = (
        "import hashlib; from workbench.made.worlds import sample_clip; r = "
        "sample_clip('synthetic_tiny', 'test', 2);"
        "print(hashlib.sha256(r.frames.tobytes() + r.owner.tobytes()).hexdigest()[:16])"
    )
    # Other code paths of numpy, OpenBLAS and OpenCV; a machine that has none of these features just
    # ignores them.
    older = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F "
        "AVX512_SKX"
    }
    older |= {"OPENBLAS_CORETYPE": "Nehalem", "OPENCV_CPU_DISABLE": "AVX2,AVX512-SKX,FP16,FMA3"}
    root, env = Path(workbench.__file__).parents[1], {**os.environ, **older}
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=env
    )
    here = sample_clip("synthetic_tiny", "test", 2)
    assert there.stdout.strip() == sha(here.frames, here.owner)


# A benchmark world is frozen: whoever changes its recipe, a motion or the renderer gives it a new
# name, or raises `world.RENDERER` as long as no method was trained on it, and takes these numbers
# anew.
DIGESTS = {
    "synthetic": "78868ec9ea5d048e",
    "synthetic_mocap": "c80dab7bcb2669d0",
    "synthetic_tiny": "fb4c1b56b4799b17",
    "occluded_people": "af45f58b54d0a528",
    "crossing_people": "5277a08f60b4f063",
    "passing_people": "0dc778e0ff28331b",
    "fast_people": "3ec4711c855d42d2",
}
TINY = ("cfefd20f73a5a4dd", "d9e244da2f36f615")  # pixels and owners; labels


def test_recipes_and_pixels_are_frozen():
    assert {name: w.digest() for name, w in WORLDS.items()} == DIGESTS
    made = sample_clip("synthetic_tiny", "train", 0)
    assert (sha(made.frames, made.owner), sha(*labels(made.clip))) == TINY


@pytest.mark.parametrize(("gaits", "kind"), [(("kick",), "kick"), ((), None)])
def test_people_do_what_the_recipe_says(gaits, kind):
    recipe = replace(WORLDS["synthetic_tiny"], gaits=gaits)
    person = person_joints(recipe, "train", np.random.default_rng(3))
    rng = np.random.default_rng(3)
    if gaits:
        rng.integers(1)  # which of the recipe's
    expected = gait_joints_mm(recipe.n_frames + 2, recipe.fps, rng, kind)
    for name, xyz in expected.items():
        np.testing.assert_array_equal(person[name], xyz)


def test_splits_share_no_person_motion_or_room():
    recipe = WORLDS["synthetic_tiny"]
    scenes = [scene(recipe, split, i) for split in SPLITS for i in range(2)]
    for a, b in itertools.combinations(scenes, 2):
        assert not np.array_equal(a.room.texture.level(0, 0), b.room.texture.level(0, 0))
        assert not np.isin(a.surfaces.colours[..., 2:].ravel(), b.surfaces.colours).all()
        for one, two in itertools.product(a.joints, b.joints):
            bones = [np.linalg.norm(j["left_hip"][0] - j["left_knee"][0]) for j in (one, two)]
            assert abs(bones[0] - bones[1]) > 1e-6


def hidden_by_who_sees_them(name: str, n: int) -> np.ndarray:
    """Share of joints hidden in the middle frame of a split's clips that 0, 1-2 and 3-4 of the
    other four frames show.
    """
    recipe = replace(WORLDS[name], sub_frames=1, label_stride=1, label_first=0)
    shown = []
    for i in range(n):
        for track in sample_clip(recipe, "test", i).clip.tracks:
            flags = track.visibility
            shown += (np.delete(flags, 2, 0) == 2).sum(0)[flags[2] == 1].tolist()
    return np.array([np.isin(shown, group).mean() for group in ((0,), (1, 2), (3, 4))])


def test_what_hides_people_stays_in_one_world_and_passes_in_the_other():
    crossing, passing = (
        hidden_by_who_sees_them(f"{n}_people", 12) for n in ("crossing", "passing")
    )
    assert crossing[0] > 0.5 and crossing[2] < 0.2, crossing
    assert passing[0] < 0.35 and passing[2] > 0.4, passing


def test_unknown_names():
    with pytest.raises(UnknownName, match="synthetic_tiny"):
        sample_clip("synthetic_tny", "train", 0)
    with pytest.raises(UnknownName, match="train"):
        sample_clip("synthetic_tiny", "trian", 0)


# --- cache ----------------------------------------------------------------------------------------


def test_the_cache_renders_once_and_gives_back_what_was_rendered(tmp_path):
    clips = cached_clips("synthetic_tiny", "val", 2, folder=tmp_path, progress=False)
    fresh = sample_clip("synthetic_tiny", "val", 1)
    clip, frames = clips[1]
    assert len(clips) == 2 and len(frames) == 3 and len(pickle.dumps(frames)) < 1000
    np.testing.assert_array_equal(np.stack(list(frames)), fresh.frames)
    np.testing.assert_array_equal(frames[[2, 0]], fresh.frames[[2, 0]])
    assert clip.name == fresh.clip.name and vars(clip.video) == vars(fresh.clip.video)
    for stored, made in zip(clip.tracks, fresh.clip.tracks, strict=True):
        for name in STORED:
            np.testing.assert_array_equal(getattr(stored, name), getattr(made, name))
    written = [place.stat().st_mtime_ns for place in clips.folders]
    again = cached_clips("synthetic_tiny", "val", 2, folder=tmp_path, progress=False)
    assert again == clips and [place.stat().st_mtime_ns for place in again.folders] == written
    with pytest.raises(IndexError):
        clips[2]
    with pytest.raises(UnknownName):
        cached_clips("synthetic_tiny", "vall", 1, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_processes_render_what_one_does_and_their_errors_are_seen(tmp_path, capfd):
    one, many = (
        cached_clips("synthetic_tiny", "test", 5, folder=tmp_path / str(n), workers=n)
        for n in (1, 3)
    )
    assert "5/5" in capfd.readouterr().err
    for (a, frames), (b, same) in zip(one, many, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(frames[:], same[:])
    captured = replace(WORLDS["synthetic_tiny"], motion="mocap", data="bandai_namco:/nowhere")
    with pytest.raises(MissingFile):
        cached_clips(captured, "test", 4, folder=tmp_path, workers=2, progress=False)
    (tmp_path / "full").write_text("")
    with pytest.raises(CannotWrite, match="a part of its path"):  # by no process
        cached_clips("synthetic_tiny", "test", 4, folder=tmp_path / "full", workers=2)


def test_a_render_that_was_killed_leaves_nothing_that_is_read_as_a_clip(tmp_path):
    rendered, target = sample_clip("synthetic_tiny", "val", 0), tmp_path / "000000"
    broken = replace(rendered, clip=replace(rendered.clip, tracks=()))
    with pytest.raises(ValueError, match="at least one array"):
        store_clip(broken, target)  # dies after its frames, before its tracks
    assert not list(tmp_path.rglob("*"))
    store_clip(rendered, target)
    store_clip(rendered, target)  # another process was faster
    assert sorted(path.name for path in target.iterdir()) == [
        "frames.npy",
        "sums.json",
        "tracks.npz",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["000000"]


def test_a_damaged_clip_is_named(tmp_path):
    clips = cached_clips("synthetic_tiny", "val", 1, folder=tmp_path, progress=False)
    for name in ("frames.npy", "tracks.npz"):
        (clips.folders[0] / name).write_bytes(b"PK\x03\x04 half")
        with pytest.raises(BadFile, match=r"000000.*: damaged in the cache.*remove"):
            clips[0][1][2]
