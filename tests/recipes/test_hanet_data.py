"""Files here are made, in the published layout; nobody moved like this."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from workbench.errors import MissingData, UnknownName
from workbench.made.bodies import skeleton_joints
from workbench.made.gaits import gait_joints_mm
from workbench.models import build
from workbench.recipes import hanet
from workbench.recipes import hanet_data as recipe
from workbench.train import TrainConfig

LENGTHS = (5, 13, 61)
SETTINGS = TrainConfig(steps=2, batch_size=4, weight_decay=1e-4)


def columns(*rows: np.ndarray) -> np.ndarray:
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def write(folder, found: str, estimator: str, key: str, truth: list, detected: list, **own) -> None:
    for split in ("train", "test"):
        images = columns(
            *(np.array([f"{split}/{i}/{n:05}" for n in range(len(x))]) for i, x in enumerate(truth))
        )
        pairs = {
            f"groundtruth_poses/{found}/{found}_gt_{split}.npz": truth,
            f"detected_poses/{found}/{estimator}/{found}_{estimator}_{split}.npz": detected,
        }
        for name, values in pairs.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            own_part = own if name.startswith("ground") else {}
            np.savez(folder / name, **({"imgname": images, key: columns(*values)} | own_part))


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(hanet, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(hanet, "TRAIN", replace(SETTINGS, steps=3))
    monkeypatch.setattr(hanet, "FILTERS", {"linear": (hanet._lines, [(3,), (5,)])})
    monkeypatch.setattr(
        hanet,
        "VARIANTS",
        hanet.VARIANTS | {"hanet": replace(hanet.SMALL, dim=8, levels=1, decoder_levels=1)},
    )
    return tmp_path


def evaluate(data: str) -> dict:
    return hanet.evaluate(data, variants=("hanet",), steps=2, device="cpu", progress=False)


@pytest.fixture(scope="module")
def gaits():
    rng = np.random.default_rng(5)
    bodies = [gait_joints_mm(t, 30.0, rng) for t in (31, 29, 23, 37, 41, 43)]
    return [(f"gait{i}", skeleton_joints(body, "jhmdb15")) for i, body in enumerate(bodies)]


@pytest.fixture
def few(gaits, monkeypatch):
    """Six gaits instead of hundreds."""
    monkeypatch.setattr(hanet, "motions", lambda *args, **kw: gaits)


@pytest.fixture
def jhmdb(small, rng):
    truth = [rng.uniform(20, 100, (t, 15, 2)) for t in LENGTHS[:2]]
    detected = [truth[0] + (4, 0), truth[1] + (8, 0)]
    detected[1][:, 13] += (0, 30)  # the right ankle
    boxes = columns(*(np.tile([10.0, 10, 60, 110], (t, 1)) for t in LENGTHS[:2]))
    own = {"bbox": boxes, "imgshape": np.array([[240, 320, 3]] * 2)}
    write(small, "jhmdb", "simplepose", "joints_2d", truth, detected, **own)
    return small


def test_table_1_on_files_as_published(jhmdb):
    result = evaluate(f"jhmdb:{jhmdb}")
    rows = {r["method"]: r for r in result["rows"] if r["kind"] == "measured"}
    assert list(rows) == ["input", "linear", "hanet"] and rows["hanet"]["T"] == 11
    # boxes of 100 px: 4 px hit at 0.05, 8 px at 0.1, the ankle's 31 px nowhere
    found = rows["input"]["metrics"]
    assert found["pck_0.05"] == 50 and found["pck_0.1"] == pytest.approx(50 + 50 * 14 / 15)
    assert (found["ankle"], found["knee"], found["head"]) == (75, 100, 100), "by their own names"
    assert (
        found["accel"] == pytest.approx(0, abs=1e-4) and found["pck_0.2_torso"] < found["pck_0.2"]
    )
    paper = [r for r in result["rows"] if r["kind"] == "paper"]
    assert paper[-1]["metrics"]["pck_0.05"] == 91.9 and paper[-1]["metrics"]["elbow"] == 99.7
    assert "simplepose" in result["protocol"] and len(hanet.flat(result)) == 3 + len(paper)


def test_table_2_is_relative_to_the_root_and_over_frames(small, rng):
    truth = [rng.normal(size=(t, 17, 3)) for t in LENGTHS]
    off = np.where(np.arange(17) == 0, 0, 1.0)[:, None] * (0, 0.003, 0.004)
    detected = [x + off * (1 + i) + 7 for i, x in enumerate(truth)]  # 7 m aside: not seen
    write(small, "h36m", "fcn", "joints_3d", [x.reshape(len(x), -1) for x in truth], detected)
    result = evaluate(f"h36m:{small}")
    found = result["rows"][0]["metrics"]
    mean = 5 * np.average([1, 2, 3], weights=LENGTHS) * 16 / 17
    assert found["mpjpe"] == pytest.approx(mean, rel=1e-6) and found["accel"] == pytest.approx(
        0, abs=1e-6
    )
    assert found["pa_mpjpe"] < found["mpjpe"]
    windows = [r["T"] for r in result["rows"] if r["method"] == "hanet"]
    paper = [
        (r["T"], r["metrics"]["mpjpe"])
        for r in result["rows"]
        if r["kind"] == "paper" and "FCN + HANet" in r["method"]
    ]
    assert windows == [51, 101] and paper == [(51, 51.8), (101, 52.8)]


def test_without_a_root_joint_the_hips_are_the_root(small, rng):
    truth = [rng.normal(size=(t, 14, 3)) for t in LENGTHS[:2]]
    write(small, "aist", "spin", "joints_3d", truth, [x + np.arange(3) for x in truth])
    task = recipe.SETS["aist"](f"aist:{small}")
    values, clips = task.measure([s.detected for s in task.test], task.test)
    assert values["mpjpe"].max() < 1e-6 and len(clips) == sum(LENGTHS[:2])
    assert all(r["subset"] == "AIST++" for r in task.paper) and "body model" in task.protocol


def test_smpl_parameters_are_measured_by_angle(small, rng):
    turns = [Rotation.random(t * 24, rng=rng) for t in LENGTHS]
    ten = Rotation.from_rotvec([0, np.radians(10), 0])
    pose = [r.as_rotvec().reshape(-1, 72) for r in turns]
    write(
        small, "pw3d", "pare", "pose", pose, [(r * ten).as_rotvec().reshape(-1, 72) for r in turns]
    )
    result = evaluate(f"threedpw_smpl:{small}")
    assert result["rows"][0]["metrics"] == {
        "angle_deg": pytest.approx(10),
        "body_angle_deg": pytest.approx(10),
    }
    assert "mpjpe" not in result["rows"][0]["metrics"] and "not measured" in result["protocol"]
    six = np.concatenate([3 * np.eye(3)[0], np.eye(3)[1] + 5 * np.eye(3)[0]]).reshape(1, 1, 6)
    np.testing.assert_allclose(recipe._matrices(six)[0, 0], np.eye(3))


def test_what_is_not_there_is_named(jhmdb):
    with pytest.raises(MissingData, match="DeciWatch"):
        evaluate("h36m")
    with pytest.raises(UnknownName, match="h36m_gt_train"):
        evaluate(f"h36m:{jhmdb}")
    with pytest.raises(UnknownName, match="'hanet'"):
        hanet.evaluate(f"jhmdb:{jhmdb}", variants=("hanett",), steps=2)
    for file in (jhmdb / "detected_poses/jhmdb/simplepose").iterdir():
        file.unlink()
    with pytest.raises(UnknownName, match=r"detected_poses/jhmdb.*simplepose"):
        evaluate(f"jhmdb:{jhmdb}")


def test_windows_of_known_sequences_stop_where_the_sequence_does(rng):
    truth = np.cumsum(np.ones((7, 15, 2)), 0) + rng.normal(size=(15, 2))
    labelled = np.zeros((7, 15), bool)
    labelled[::4] = True
    pool = [recipe.Known("a/0", truth, truth + 1, labelled)]
    batch = recipe.known_batches(pool, 11, 3)(0, rng)
    assert batch["valid"].sum(1).tolist() == [7, 7, 7] and batch["xy"].shape == (3, 11, 30)
    np.testing.assert_array_equal(batch["weight"][0, :7, 0], [1, 0, 0, 0, 1, 0, 0])
    short = recipe.known_batches(pool, 5, 64)(0, rng)
    assert short["valid"].all() and short["weight"].sum((1, 2)).unique().tolist() == [15, 30]


def test_frames_without_labels_do_not_teach(few, rng):
    pool = recipe.scenes("synthetic", "train")[:2]
    batch = recipe.known_batches(pool, 5, 7)(0, rng)
    model = build("hanet", replace(hanet.SMALL, interval=1))
    changed = batch | {
        "truth": batch["truth"] + 9 * (batch["weight"] == 0).repeat_interleave(2, -1)
    }
    with torch.no_grad():
        one, two = model(**batch), model(**changed)
    for name in ("loss.refined", "loss.final"):
        torch.testing.assert_close(one[name], two[name])


def test_scenes_have_people_who_are_labelled_every_fourth_frame(few):
    found = recipe.scenes("synthetic", "test")
    assert (
        len(found) % recipe.SCENE_PEOPLE == 0
        and len({s.name.partition("/")[0] for s in found}) == 2
    )
    s = found[0]
    assert (
        s.labelled[::4].mean() > 0.8
        and not s.labelled[1::4].any()
        and not (s.labelled & s.hidden).any()
    )
    values, _ = recipe.measure_people([s.truth for s in found], found)
    assert values["map"] > 90, (
        "nearly all: a hidden joint has no label, so that a score on it counts against it"
    )
    worse, _ = recipe.measure_people([s.detected for s in found], found)
    assert worse["map"] < 80


def test_space_is_before_the_camera_and_not_its_mirror_image(gaits, rng):
    xyz = gaits[0][1]
    seen = recipe.camera_space(xyz, rng)
    assert not seen[:, hanet.JOINTS.root].any()

    def side(x):  # of belly, neck, left and right shoulder: a mirror would turn its sign
        a = [hanet.JOINTS.index(j) for j in ("belly", "neck", "left_shoulder", "head")]
        return np.linalg.det(x[:, a[1:]] - x[:, a[:1]])

    np.testing.assert_allclose(side(seen), side(xyz), rtol=1e-6)
    head, ankle = (hanet.JOINTS.index(j) for j in ("head", "right_ankle"))
    assert (seen[:, head, 1] < seen[:, ankle, 1]).mean() > 0.95


def test_the_3d_world_is_frozen():
    assert recipe.WORLD_3D.digest() == "3e0ff95ebb0d88dc", (
        "a change makes a new world: new name, all rows anew"
    )


@pytest.mark.realdata
def test_the_3d_input_is_as_good_as_estimators_are(data_root):
    """Table 2: FCN 54.6 / 19.2, PARE 78.9 / 25.7; calibrated on training clips alone."""
    train = recipe.space_sequences("mocap", "train", cameras=1, seed=1)
    values, _ = recipe.measure_space([s.detected for s in train], train)
    assert 55 < np.nanmean(values["mpjpe"]) < 79 and 19 < np.nanmean(values["accel"]) < 26
    assert np.nanmean(values["mpjpe_inside"]) > 1.4 * np.nanmean(values["mpjpe_outside"])


@pytest.mark.realdata
def test_rows_in_space(data_root, small, monkeypatch):
    whole = hanet.motions
    monkeypatch.setattr(
        hanet, "motions", lambda *args, **kw: whole(*args, **kw | {"copies": 1})[:3]
    )
    result = evaluate("mocap3d")
    assert [r["method"] for r in result["rows"]] == ["input", "linear", "hanet"]
    for r in result["rows"]:
        low, high = r["intervals"]["mpjpe"]
        assert low <= r["metrics"]["mpjpe"] <= high and r["metrics"]["mpjpe_inside"] > 0
    assert recipe.WORLD_3D.digest() in result["protocol"]


def test_rows_of_sparse_labels(small, few):
    result = evaluate("sparse")
    rows = {r["method"]: r for r in result["rows"] if r["kind"] == "measured"}
    assert rows["hanet"]["T"] == 5 and 0 < rows["input"]["metrics"]["map"] < 100
    assert any(r["metrics"].get("map") == 84.2 for r in result["rows"] if r["kind"] == "paper")
