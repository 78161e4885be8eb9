"""DeciWatch's files: made ones in the published layout."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.files import check_damaged, ragged, save
from workbench.data.deciwatch import read_deciwatch, read_smpl
from workbench.errors import BadFile, BadRecord, UnknownName
from workbench.skeletons import skeleton


def sequence_names(name, t):
    return np.array([f"{name}/{i:05}" for i in range(t)])


@pytest.fixture
def deciwatch(tmp_path, rng):
    lengths, names = (3, 5, 4), ("downtown_bus_00", "downtown_bus_00", "flat_guitar_01")
    images = ragged(*(sequence_names(*pair) for pair in zip(names, lengths)))
    truth = [rng.normal(size=(t, 51)) for t in lengths]
    pose, shape = (
        [rng.normal(size=(t, 72)) for t in lengths],
        [rng.normal(size=(t, 10)) for t in lengths],
    )
    smpl = {"pose": ragged(*pose), "shape": ragged(*shape)}
    save(
        tmp_path / "groundtruth_poses/pw3d/pw3d_gt_test.npz",
        imgname=images,
        joints_3d=ragged(*truth),
        **smpl,
    )
    for estimator, shift in (("pare", 0.1), ("spin", 0.2)):
        guess = ragged(*((x + shift).reshape(-1, 17, 3) for x in truth))
        path = tmp_path / f"detected_poses/pw3d/{estimator}/pw3d_{estimator}_test.npz"
        save(
            path,
            imgname=images,
            joints_3d=guess,
            camera=ragged(*(np.zeros((t, 3)) for t in lengths)),
            **smpl,
        )
    clips = ragged(*(sequence_names(f"catch/{n}", t) for n, t in (("a", 3), ("b", 5))))
    joints = ragged(*(rng.uniform(0, 200, (t, 15, 2)) for t in (3, 5)))
    boxes = ragged(*(np.tile([10, 20, 60.0, 120], (t, 1)) for t in (3, 5)))
    own = {"bbox": boxes, "imgshape": np.array([[240, 320, 3]] * 2)}
    save(
        tmp_path / "groundtruth_poses/jhmdb/jhmdb_gt_train.npz",
        imgname=clips,
        joints_2d=joints,
        **own,
    )
    guess = ragged(*(x.reshape(len(x), -1) + 3 for x in joints))
    save(
        tmp_path / "detected_poses/jhmdb/simplepose/jhmdb_simplepose_train.npz",
        imgname=clips,
        joints_2d=guess,
    )
    return tmp_path


def test_deciwatch_motions_with_detections(deciwatch):
    found = read_deciwatch(deciwatch, dataset="pw3d", estimator="spin")
    assert [m.name for m in found.motions] == [
        "downtown_bus_00",
        "downtown_bus_00#2",
        "flat_guitar_01",
    ]
    motion = found.motions[1]
    assert motion.xyz_mm.shape == (5, 17, 3) and motion.fps == 30 and motion.space == "root"
    np.testing.assert_allclose(motion.detected - motion.xyz_mm, 200)
    assert not found.warnings
    chosen = read_deciwatch(deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz")
    np.testing.assert_allclose(chosen.motions[0].detected - chosen.motions[0].xyz_mm, 100)
    assert "pare, spin are there, those of pare" in str(chosen.warnings[0])
    with pytest.raises(UnknownName, match="spin"):
        read_deciwatch(deciwatch, dataset="pw3d", estimator="spn")
    with pytest.raises(UnknownName, match="pw3d_gt_test"):
        read_deciwatch(deciwatch, dataset="pw3d", split="train")


def test_deciwatch_jhmdb(deciwatch):
    found = read_deciwatch(deciwatch, dataset="jhmdb", split="train")
    assert [c.name for c in found.clips] == ["catch/a", "catch/b"] and len(found.detections) == 8
    track = found.clips[1].tracks[0]
    np.testing.assert_allclose(found.detections.xy_frame[3:], track.xy_frame + 3, rtol=1e-6)
    np.testing.assert_array_equal(track.boxes_xyxy[4], [10, 20, 60, 120])
    assert found.detections.frames.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert (
        found.detections.images[3] == "catch/b/00000" and (found.detections.confidence == 1).all()
    )
    assert (found.clips[0].video.width, found.clips[0].video.height) == (320, 240)


def test_deciwatch_everything_at_once_and_smpl(deciwatch):
    found = read_deciwatch(deciwatch)
    assert (len(found.clips), len(found.motions)) == (2, 3)
    smpl = read_smpl(deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz", estimator="pare")
    assert [name for name, _ in smpl] == ["downtown_bus_00", "downtown_bus_00", "flat_guitar_01"]
    own = smpl[1][1]
    assert {k: v.shape for k, v in own.items()} == {
        "pose_rad": (5, 24, 3),
        "shape": (5, 10),
        "detected_pose_rad": (5, 24, 3),
        "detected_shape": (5, 10),
    }
    np.testing.assert_array_equal(own["pose_rad"], own["detected_pose_rad"])


def test_deciwatch_equal_lengths_need_no_objects(tmp_path, rng):
    joints = rng.normal(size=(2, 3, 42))
    images = np.stack([sequence_names(name, 3) for name in "ab"])
    joints[1, 1] = np.nan
    found = read_deciwatch(
        save(tmp_path / "aist_gt_validate.npz", imgname=images, joints_3d=joints)
    )
    assert [m.name for m in found.motions] == ["a", "b[0:1]", "b[2:3]"]
    assert (
        found.motions[0].detected is None and found.motions[0].joints == skeleton("3dpw14").joints
    )
    assert "1 of 3 frames have a NaN" in str(found.warnings[0])
    images = ragged(*images)
    images[:] = [list(row) for row in images]  # a list of text in each
    again = read_deciwatch(
        save(tmp_path / "aist_gt_validate.npz", imgname=images, joints_3d=joints)
    )
    assert len(again.motions) == 3


def test_deciwatch_refusals(deciwatch):
    path = deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz"
    with np.load(path, allow_pickle=True) as archive:  # our own file
        held = dict(archive)
    broken = held["joints_3d"].copy()
    broken[1] = broken[1][:, :48]
    save(path, **held | {"joints_3d": broken})
    with pytest.raises(
        BadRecord, match=r"sequence 1 \(downtown_bus_00\): joints_3d has shape \(5, 48\).*1 of 3"
    ):
        read_deciwatch(path)
    assert len(read_deciwatch(path, on_bad="report").motions) == 2
    other = held["imgname"].copy()
    other[0] = sequence_names("elsewhere", 3)
    save(path, **held | {"imgname": other})
    with pytest.raises(BadRecord, match="not those of the ground truth"):
        read_deciwatch(path)
    save(path, **held | {"joints_3d": held["joints_3d"][:2]})
    with pytest.raises(BadFile, match="sequences by column"):
        read_deciwatch(path)
    save(path, **held | {"imgname": ragged(*[{"a": 1}] * 3)})
    with pytest.raises(BadRecord, match="imgname is no list of text"):
        read_deciwatch(path)
    with pytest.raises(UnknownName, match="ground truth"):
        read_deciwatch(deciwatch / "detected_poses/pw3d/spin/pw3d_spin_test.npz")


@pytest.mark.parametrize(
    "file",
    [
        "groundtruth_poses/pw3d/pw3d_gt_test.npz",
        "detected_poses/jhmdb/simplepose/jhmdb_simplepose_train.npz",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_named_errors(deciwatch, file):
    check_damaged(deciwatch, file, read_deciwatch)
