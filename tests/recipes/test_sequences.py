"""Files here are made, in the published layout; nobody moved like this."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.recipes.small import ASKED, measured, trained
from workbench import checkpoint
from workbench.errors import MissingData, UnknownName
from workbench.made.bodies import skeleton_joints
from workbench.made.gaits import gait_joints_mm
from workbench.made.motion import JOINTS
from workbench.models import build, config_of
from workbench.recipes import hanet
from workbench.recipes import sequences as known
from workbench.recipes.base import Options

LENGTHS = (5, 13, 61)


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
def evaluate(small):
    """(data) -> the evaluation of a small network."""
    return partial(small("hanet").evaluate, variants=("hanet",), **ASKED)


@pytest.fixture(scope="module")
def gaits():
    rng = np.random.default_rng(5)
    bodies = [gait_joints_mm(t, 30.0, rng) for t in (31, 29, 23, 37, 41, 43)]
    return [(f"gait{i}", skeleton_joints(body, "jhmdb15")) for i, body in enumerate(bodies)]


@pytest.fixture
def jhmdb(tmp_path, rng):
    truth = [rng.uniform(20, 100, (t, 15, 2)) for t in LENGTHS[:2]]
    detected = [truth[0] + (4, 0), truth[1] + (8, 0)]
    detected[1][:, 13] += (0, 30)  # the right ankle
    boxes = columns(*(np.tile([10.0, 10, 60, 110], (t, 1)) for t in LENGTHS[:2]))
    own = {"bbox": boxes, "imgshape": np.array([[240, 320, 3]] * 2)}
    write(tmp_path, "jhmdb", "simplepose", "joints_2d", truth, detected, **own)
    return tmp_path


def test_table_1_on_files_as_published(jhmdb, evaluate):
    result = evaluate(f"jhmdb:{jhmdb}")
    rows = {r["method"]: r for r in measured(result)}
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
    assert "simplepose" in result["protocol"] and len(hanet.RECIPE.flat(result)) == 3 + len(paper)


def test_the_paper_s_and_the_released_network_learn_from_the_user_s_files(jhmdb, small):
    """Of their own size in the recipe; here as small as the others, with their own switches."""
    chosen = small("hanet")
    chosen.evaluate(f"jhmdb:{jhmdb}", variants=("paper", "released"), **ASKED)
    configs = [checkpoint.read_card(file)["config"] for file in trained(chosen)]
    assert sorted((c["dense_neighbours"], c["shared_offset"]) for c in configs) == [
        (False, False),
        (True, True),
    ]
    for name in ("paper", "released"):
        assert replace(hanet.VARIANTS[name].config, interval=5) == config_of("hanet", name)


def test_table_2_is_relative_to_the_root_and_over_frames(tmp_path, evaluate, rng):
    truth = [rng.normal(size=(t, 17, 3)) for t in LENGTHS]
    off = np.where(np.arange(17) == 0, 0, 1.0)[:, None] * (0, 0.003, 0.004)
    detected = [x + off * (1 + i) + 7 for i, x in enumerate(truth)]  # 7 m aside: not seen
    write(tmp_path, "h36m", "fcn", "joints_3d", [x.reshape(len(x), -1) for x in truth], detected)
    result = evaluate(f"h36m:{tmp_path}")
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


def test_without_a_root_joint_the_hips_are_the_root(tmp_path, rng):
    truth = [rng.normal(size=(t, 14, 3)) for t in LENGTHS[:2]]
    write(tmp_path, "aist", "spin", "joints_3d", truth, [x + np.arange(3) for x in truth])
    chosen = hanet.SETS["aist"](Options(f"aist:{tmp_path}"))
    values, clips = chosen.measure([s.detected for s in chosen.test], chosen.test)
    assert values["mpjpe"].max() < 1e-6 and len(clips) == sum(LENGTHS[:2])
    assert all(r["data"] == "AIST++" for r in chosen.paper) and "body model" in chosen.protocol


def test_smpl_parameters_are_measured_by_angle(tmp_path, evaluate, rng):
    turns = [Rotation.random(t * 24, rng=rng) for t in LENGTHS]
    ten = Rotation.from_rotvec([0, np.radians(10), 0])
    pose = [r.as_rotvec().reshape(-1, 72) for r in turns]
    turned = [(r * ten).as_rotvec().reshape(-1, 72) for r in turns]
    write(tmp_path, "pw3d", "pare", "pose", pose, turned)
    result = evaluate(f"threedpw_smpl:{tmp_path}")
    assert result["rows"][0]["metrics"] == {
        "angle_deg": pytest.approx(10),
        "body_angle_deg": pytest.approx(10),
    }
    assert "mpjpe" not in result["rows"][0]["metrics"] and "not measured" in result["protocol"]
    six = np.concatenate([3 * np.eye(3)[0], np.eye(3)[1] + 5 * np.eye(3)[0]]).reshape(1, 1, 6)
    np.testing.assert_allclose(known._matrices(six)[0, 0], np.eye(3))


def test_what_is_not_there_is_named(jhmdb, evaluate, small):
    with pytest.raises(MissingData, match="DeciWatch"):
        evaluate("h36m")
    with pytest.raises(UnknownName, match="h36m_gt_train"):
        evaluate(f"h36m:{jhmdb}")
    with pytest.raises(UnknownName, match="'hanet'"):
        small("hanet").evaluate(f"jhmdb:{jhmdb}", variants=("hanett",), steps=2)
    for file in (jhmdb / "detected_poses/jhmdb/simplepose").iterdir():
        file.unlink()
    with pytest.raises(UnknownName, match=r"detected_poses/jhmdb.*simplepose"):
        evaluate(f"jhmdb:{jhmdb}")


def test_windows_of_known_sequences_stop_where_the_sequence_does(rng):
    truth = np.cumsum(np.ones((7, 15, 2)), 0) + rng.normal(size=(15, 2))
    labelled = np.zeros((7, 15), bool)
    labelled[::4] = True
    pool = [known.Known("a/0", truth, truth + 1, labelled)]
    batch = known.known_batches(pool, 11, 3)(0, rng)
    assert batch["valid"].sum(1).tolist() == [7, 7, 7] and batch["xy"].shape == (3, 11, 30)
    np.testing.assert_array_equal(batch["weight"][0, :7, 0], [1, 0, 0, 0, 1, 0, 0])
    short = known.known_batches(pool, 5, 64)(0, rng)
    assert short["valid"].all() and short["weight"].sum((1, 2)).unique().tolist() == [15, 30]


def test_frames_without_labels_do_not_teach(rng):
    pool = known.scenes("synthetic", "train", limit=3)[:2]
    batch = known.known_batches(pool, 5, 7)(0, rng)
    model = build("hanet", replace(hanet.SMALL, interval=1))
    changed = batch | {
        "truth": batch["truth"] + 9 * (batch["weight"] == 0).repeat_interleave(2, -1)
    }
    with torch.no_grad():
        one, two = model(**batch), model(**changed)
    for name in ("loss.refined", "loss.final"):
        torch.testing.assert_close(one[name], two[name])


def test_scenes_have_people_who_are_labelled_every_fourth_frame():
    found = known.scenes("synthetic", "test", limit=7)
    clips = {s.name.partition("/")[0] for s in found}
    assert len(found) == 6 == known.SCENE_PEOPLE * len(clips), "the seventh is left over"
    s = found[0]
    assert s.labelled[::4].mean() > 0.8 and not s.labelled[1::4].any()
    assert not (s.labelled & s.hidden).any()
    values, _ = known.measure_people([s.truth for s in found], found)
    assert values["map"] > 90, (
        "nearly all: a hidden joint has no label, so that a score on it counts against it"
    )
    worse, _ = known.measure_people([s.detected for s in found], found)
    assert worse["map"] < 80


def test_space_is_before_the_camera_and_not_its_mirror_image(gaits, rng):
    xyz = gaits[0][1]
    seen = known.camera_space(xyz, rng)
    assert not seen[:, JOINTS.root].any()

    def side(x):  # of belly, neck, left and right shoulder: a mirror would turn its sign
        a = [JOINTS.index(j) for j in ("belly", "neck", "left_shoulder", "head")]
        return np.linalg.det(x[:, a[1:]] - x[:, a[:1]])

    np.testing.assert_allclose(side(seen), side(xyz), rtol=1e-6)
    head, ankle = (JOINTS.index(j) for j in ("head", "right_ankle"))
    assert (seen[:, head, 1] < seen[:, ankle, 1]).mean() > 0.95


def test_the_3d_world_is_frozen():
    assert known.WORLD_3D.digest() == "3e0ff95ebb0d88dc", (
        "a change makes a new world: new name, all rows anew"
    )


@pytest.mark.realdata
def test_the_3d_input_is_as_good_as_estimators_are(data_root):
    """Table 2: FCN 54.6 / 19.2, PARE 78.9 / 25.7; calibrated on training clips alone."""
    train = known.space_sequences("mocap", "train", cameras=1, seed=1)
    values, _ = known.measure_space([s.detected for s in train], train)
    assert 55 < np.nanmean(values["mpjpe"]) < 79 and 19 < np.nanmean(values["accel"]) < 26
    assert np.nanmean(values["mpjpe_inside"]) > 1.4 * np.nanmean(values["mpjpe_outside"])


@pytest.mark.realdata
def test_rows_in_space(data_root, tmp_path, evaluate):
    """Five clips of the motion capture: two teach, three test."""
    (source,) = data_root.glob("bandai_namco/*-1")
    folder = tmp_path / "few" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "few" / "cfg").symlink_to(source / "cfg")
    for name in ("kick_normal", "punch_normal", "run_feminine", "walk_happy", "dash_active"):
        for file in source.glob(f"data/dataset-1_{name}_001.*"):
            (folder / file.name).symlink_to(file)
    result = evaluate(f"mocap3d:{tmp_path}")
    assert [r["method"] for r in result["rows"]] == ["input", "linear", "hanet"]
    for r in result["rows"]:
        low, high = r["intervals"]["mpjpe"]
        assert low <= r["metrics"]["mpjpe"] <= high and r["metrics"]["mpjpe_inside"] > 0
        assert set(r["metrics"]) == set(result["rows"][0]["metrics"])
    assert known.WORLD_3D.digest() in result["protocol"] and "9 sequences" in result["protocol"]


def test_rows_of_sparse_labels(evaluate):
    result = evaluate("sparse")
    rows = {r["method"]: r for r in measured(result)}
    assert rows["hanet"]["T"] == 5 and 0 < rows["input"]["metrics"]["map"] < 100
    assert any(r["metrics"].get("map") == 84.2 for r in result["rows"] if r["kind"] == "paper")
