"""Users' results in every format: read, written back with nothing else changed, and damaged."""

from __future__ import annotations

import copy
import io
import json
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.growth import LINEAR, growth
from workbench.data.describe import describe
from workbench.data.results import (
    read_detections,
    write_coco_results,
    write_like,
    write_table,
)
from workbench.data.results.tables import BLAZEPOSE
from workbench.errors import (
    BadFile,
    BadParameter,
    BadRecord,
    EmptyFile,
    MissingFile,
    Taken,
    UnknownName,
    WorkbenchError,
)
from workbench.outputs import free_name
from workbench.records import Detections, Prediction
from workbench.skeletons import skeleton

SIZE = (200, 100)
# OpenPose's own lists of body parts, in the words of its documentation.
PARTS_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar"
)
PARTS_25 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee "
    "LAnkle REye LEye REar LEar "
    "LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)


def _triples(n: int) -> list[float]:
    return [v for j in range(n) for v in (10 + j, 20 + 2 * j, round(0.1 + j / 100, 2))]


def coco(path):
    result = {
        "image_id": 3,
        "category_id": 1,
        "keypoints": _triples(17),
        "score": 0.5,
        "mine": {"kept": [1]},
    }
    path.write_text(
        json.dumps([result, {**result, "image_id": 5, "bbox": [1, 2, 30, 40], "score": 0.25}])
    )
    return path


def _instance(n: int) -> dict:
    flat = _triples(n)
    points = [[x, y] for x, y in zip(flat[::3], flat[1::3])]
    return {
        "keypoints": points,
        "keypoint_scores": flat[2::3],
        "bbox": [[1, 2, 30, 40]],
        "bbox_score": 0.75,
    }


def mmpose(path, n=17, wrapped=False):
    frames = [{"frame_id": i + wrapped, "instances": [_instance(n)] * (i != 1)} for i in range(3)]
    content = (
        {"meta_info": {"dataset_name": "coco"}, "instance_info": frames} if wrapped else frames
    )
    path.write_text(json.dumps(content))
    return path


def openpose(path, n=25):
    path.mkdir()
    for frame in (0, 1, 12):
        person = {"person_id": [-1], "pose_keypoints_2d": _triples(n), "face_keypoints_2d": []}
        person["pose_keypoints_2d"][3 * 4 : 3 * 4 + 3] = [0, 0, 0]  # the right wrist was not found
        people = [] if frame == 1 else [person]
        name = f"my_video_{frame:012d}_keypoints.json"
        (path / name).write_text(json.dumps({"version": 1.3, "people": people}))
    return path


def landmarks(path, px=False, person=True):
    lines = ["frame,person,landmark,x,y,z,visibility".replace("x,y", "x_px,y_px" if px else "x,y")]
    for frame, who in ((4, 0), (4, 1), (6, 0)):
        for i, name in enumerate(BLAZEPOSE):
            label = str(i) if frame == 6 else name.upper()
            xy = (
                ","
                if (frame, name) == (6, "nose")
                else f"{i + 1},{2 * i}"
                if px
                else f"{(i + 1) / 200},{2 * i / 100}"
            )
            lines.append(f"{frame},{who},{label},{xy},0.1,0.{10 + i}")
    path.write_text("\n".join(lines) + "\n")
    return path


def deeplabcut(path):
    """Two animals that have our joints; one is lost in the last frame, a nose in the first."""
    joints, lines = skeleton("coco17").joints, [["scorer"], ["individuals"], ["bodyparts"]]
    lines.append(["coords"])
    for who in ("one", "two"):
        for joint in joints:
            for kind in ("x", "y", "likelihood"):
                for line, cell in zip(lines, ("net", who, joint, kind)):
                    line.append(cell)
    for frame in (0, 1, 5):
        cells = [str(v) for v in _triples(17)] * 2
        if frame == 0:
            cells[:3] = ["", "", ""]
        if frame == 5:
            cells[51:] = [""] * 51
        lines.append([str(frame), *cells])
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    return path


def _of_yolo(size=(1, 1)):
    flat = np.reshape(_triples(17), (17, 3)) / (*size, 1)
    return {
        "name": "person",
        "class": 0,
        "confidence": 0.75,
        "box": {"x1": 2 / size[0], "y1": 3 / size[1], "x2": 32 / size[0], "y2": 63 / size[1]},
        "track_id": 4,
        "keypoints": dict(zip(("x", "y", "visible"), flat.T.tolist())),
    }


def ultralytics(path, size=(1, 1)):
    path.mkdir()
    for frame in (1, 2, 12):
        people = [] if frame == 2 else [_of_yolo(size)]
        (path / f"walk_{frame}.json").write_text(json.dumps(people))
    return path


def yolo_frames(path):
    path.write_text(json.dumps([[], [_of_yolo()], [], [_of_yolo(), _of_yolo() | {"track_id": 5}]]))
    return path


def yolo(path):
    path.mkdir()
    flat = np.reshape(_triples(17), (17, 3)) / (*SIZE, 1)
    for frame in (1, 3):
        line = [0, 0.085, 0.33, 0.15, 0.6, *flat.ravel().tolist(), 0.75, 4]
        (path / f"walk_{frame}.txt").write_text(" ".join(f"{v:g}" for v in line) + "\n")
    return path


def dataset(path):
    names = [*skeleton("coco17").joints]
    person = {"category_id": 1, "keypoints": _triples(17), "score": 0.5, "track_id": 2}
    content = {
        "images": [{"id": i, "file_name": f"walk/{i:06d}.jpg"} for i in range(4)],
        "annotations": [{"id": 7 + i, "image_id": i, **person} for i in (0, 2)],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    path.write_text(json.dumps(content))
    return path


FORMATS = {
    "coco": lambda folder: coco(folder / "r.json"),
    "mmpose": lambda folder: mmpose(folder / "r.json"),
    "mmpose demo": lambda folder: mmpose(folder / "r.json", wrapped=True),
    "wholebody": lambda folder: mmpose(folder / "r.json", n=133),
    "openpose 25": lambda folder: openpose(folder / "r"),
    "openpose 18": lambda folder: openpose(folder / "r", n=18),
    "csv": lambda folder: landmarks(folder / "r.csv"),
    "csv px": lambda folder: landmarks(folder / "r.csv", px=True),
    "deeplabcut": lambda folder: deeplabcut(folder / "r.csv"),
    "ultralytics": lambda folder: ultralytics(folder / "r"),
    "ultralytics fractions": lambda folder: ultralytics(folder / "r", SIZE),
    "ultralytics frames": lambda folder: yolo_frames(folder / "r.json"),
    "yolo": lambda folder: yolo(folder / "r"),
    "dataset": lambda folder: dataset(folder / "r.json"),
}
every_format = pytest.mark.parametrize("name", FORMATS)


@every_format
def test_whatever_is_read_is_recognised(name, tmp_path):
    path = FORMATS[name](tmp_path)
    found = describe(path)
    assert found["kind"] == "detections"
    assert found["detections"]["people"] == len(read(path))


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_of_a_file_a_frame_is_known_by_any_names(empty, tmp_path):
    """MMPose's of a picture each; [] is of one without people."""
    instances = [] if empty else [_instance(17)]
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(instances if name > "a.json" else []))
    assert describe(tmp_path)["detections"]["people"] == 1 - empty
    (tmp_path / "c.json").write_text(json.dumps({"people": []}))
    if not empty:
        with pytest.raises(BadFile, match=r"c\.json: a folder of one"):
            describe(tmp_path)


def test_a_folder_of_other_json_is_listed(tmp_path):
    for i, content in enumerate([{"name": "package"}, [{"image_id": 1, "keypoints": []}]]):
        (tmp_path / f"{1 - i}.json").write_text(json.dumps(content))
        assert describe(tmp_path)["reader"] == "folder"


def test_labels_with_scores_are_no_predictions(tmp_path):
    """What `propagate` writes states scores and flags."""
    path = dataset(tmp_path / "a.json")
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"][2::3] = [2] * 17
        annotation["bbox"] = [1, 2, 30, 40]
    path.write_text(json.dumps(content))
    assert describe(path)["reader"] == "coco"


def test_joints_that_the_file_does_not_name_are_named(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps(
            [json.loads(coco(tmp_path / "b.json").read_text())[0] | {"keypoints": _triples(15)}]
        )
    )
    with pytest.raises(BadRecord, match="15 joints and no skeleton named"):
        describe(tmp_path / "a.json")
    assert describe(tmp_path / "a.json", skeleton="jhmdb15")["skeletons"] == ["jhmdb15"]


def read(path, **options):
    return read_detections(path, size_wh=SIZE, **options)


def same(a: Detections, b: Detections, exactly=True):
    for field in ("xy_frame", "confidence", "boxes_xyxy", "scores", "frames", "tracks"):
        x, y = getattr(a, field), getattr(b, field)
        assert (x is None) == (y is None), field
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=0 if exactly else 1e-6, err_msg=field)


def moved(found: Detections) -> Prediction:
    """A third of the joints replaced by other places, and one that the file calls missing."""
    replaced = (np.arange(17) % 3 == 0) ^ (found.confidence < 0)
    xy = np.where(replaced[..., None], found.xy_frame + np.float32(1.7), found.xy_frame)
    return Prediction("coco17", xy, found.confidence, replaced, "test", found)


@every_format
def test_written_and_read_again_it_is_the_same(name, tmp_path):
    path = FORMATS[name](tmp_path)
    found = read(path)
    untouched = replace(
        moved(found), xy_frame=found.xy_frame, replaced=np.zeros_like(found.confidence, bool)
    )
    copied = write_like(tmp_path / f"out{path.suffix}", untouched, path, lambda frame: SIZE)
    same(read(copied), found)
    if path.suffix == ".json":
        assert json.loads(copied.read_text()) == json.loads(path.read_text())

    prediction = moved(found)
    written = read(write_like(tmp_path / f"new{path.suffix}", prediction, path, lambda frame: SIZE))
    np.testing.assert_array_equal(written.xy_frame, prediction.xy_frame)
    np.testing.assert_array_equal(written.confidence, found.confidence)
    same(read(path), found)  # the user's own file stays as it was


def test_coco_frames_and_fields(tmp_path):
    path = coco(tmp_path / "r.json")
    found = read(path)
    assert (
        found.frames.tolist() == [3, 5]
        and found.tracks is None
        and found.scores.tolist() == [0.5, 0.25]
    )
    np.testing.assert_array_equal(found.boxes_xyxy, [[10, 20, 26, 52], [1, 2, 31, 42]])
    new = json.loads(write_like(tmp_path / "n.json", moved(found), path).read_text())
    assert new[0]["mine"] == {"kept": [1]} and new[0]["keypoints"][:6] == [
        11.7,
        21.7,
        0.1,
        11,
        22,
        0.11,
    ]
    path.write_text(
        json.dumps([{**new[0], "track_id": 4, "image_id": "clip_07/frame_000000000012.jpg"}])
    )
    found = read(path)
    assert (found.frames.tolist(), found.tracks.tolist()) == ([12], [4])


@pytest.mark.parametrize("wrapped", [False, True])
def test_mmpose_counts_frames_from_0_whatever_the_file_does(tmp_path, wrapped):
    found = read(mmpose(tmp_path / "r.json", wrapped=wrapped))
    assert found.frames.tolist() == [0, 2] and found.ids == ("0.0", "2.0")
    np.testing.assert_array_equal(found.boxes_xyxy, [[1, 2, 30, 40]] * 2)
    np.testing.assert_array_equal(found.scores, [0.75] * 2)
    np.testing.assert_array_equal(found.xy_frame[0, 16], [26, 52])


def test_mmpose_pictures_are_frames_in_the_order_of_their_names(tmp_path):
    for name, n in (("b", 2), ("a", 1), ("c", 0)):
        (tmp_path / f"{name}.json").write_text(json.dumps([_instance(17)] * n))
    found = read(tmp_path)
    assert found.images == ("a", "b", "b") and found.frames.tolist() == [0, 1, 1]
    assert len(read(tmp_path / "a.json")) == 1


@pytest.mark.parametrize("parts", [PARTS_18, PARTS_25], ids=["COCO-18", "BODY_25"])
def test_openpose_joints_are_those_of_the_same_name(tmp_path, parts):
    parts = parts.split()
    found = read(openpose(tmp_path / "r", n=len(parts)))
    assert found.frames.tolist() == [0, 12] and found.tracks is None
    for j, joint in enumerate(skeleton("coco17").joints):
        side, _, part = joint.partition("_")
        i = parts.index((side[0].upper() + part.title()) if part else joint.title())
        expected = (0, 0, 0) if i == 4 else (10 + i, 20 + 2 * i, round(0.1 + i / 100, 2))
        np.testing.assert_allclose(
            [*found.xy_frame[0, j], found.confidence[0, j]], expected, rtol=1e-6
        )
    # the missing wrist at (0, 0) does not stretch the box
    assert (found.boxes_xyxy[:, 0] == 10).all()


def test_openpose_tracks(tmp_path):
    path = openpose(tmp_path / "r")
    for file in path.iterdir():
        file.write_text(file.read_text().replace("[-1]", "[8]"))
    assert read(path).tracks.tolist() == [8, 8]


def test_landmarks_become_px(tmp_path):
    found, px = (
        read(landmarks(tmp_path / "a.csv")),
        read_detections(landmarks(tmp_path / "b.csv", px=True)),
    )
    assert found.frames.tolist() == [4, 4, 6] and found.tracks is None
    shoulder = BLAZEPOSE.index("left_shoulder")
    np.testing.assert_allclose(
        found.xy_frame[0, 5], [shoulder + 1 - 0.5, 2 * shoulder - 0.5], rtol=1e-6
    )
    np.testing.assert_allclose(px.xy_frame[2, 5], [shoulder + 1, 2 * shoulder])
    np.testing.assert_allclose(found.confidence[0, :2], [0.10, 0.12])
    assert (*found.xy_frame[2, 0], found.confidence[2, 0]) == (0, 0, 0)  # empty cells: missing
    with pytest.raises(BadParameter, match="size is not known"):
        read_detections(tmp_path / "a.csv")


def test_own_table_and_results_are_read_back(tmp_path):
    found = replace(read(coco(tmp_path / "r.json")), tracks=[2, 0])
    prediction = moved(found)
    table = write_table(tmp_path / "t.csv", prediction)
    assert table.read_text().splitlines()[:2] == [
        "frame,person,joint,x_px,y_px,confidence,replaced",
        "3,2,nose,11.7,21.7,0.1,1",
    ]
    again = read_detections(table)
    np.testing.assert_array_equal(again.xy_frame, prediction.xy_frame)
    again = read_detections(write_coco_results(tmp_path / "c.json", found))
    same(again, found, exactly=False)


def test_the_users_own_file_is_not_written_over(tmp_path):
    path = coco(tmp_path / "r.json")
    with pytest.raises(Taken):
        write_like(path, moved(read(path)), path)


def _edit(change):
    def made(folder):
        path = mmpose(folder / "r.json")
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path

    return made


def _lines(change):
    def made(folder):
        path = landmarks(folder / "r.csv")
        path.write_text("\n".join(change(path.read_text().splitlines())))
        return path

    return made


def _pose(change, name="my_video_000000000012_keypoints.json"):
    def made(folder):
        path = openpose(folder / "r")
        content = json.loads((path / name).read_text())
        change(content["people"][0], content)
        (path / name).write_text(json.dumps(content))
        return path

    return made


@pytest.mark.parametrize(
    ("made", "record", "text"),
    [
        (_edit(lambda c: c[1].update(frame_id=0)), "entry 1", "frame_id 0 stands twice"),
        (_edit(lambda c: c[1].pop("frame_id")), "entry 1", "frame_id is None"),
        (_edit(lambda c: c[2].update(instances=3)), "entry 2", "not a list"),
        (
            _edit(lambda c: c[2]["instances"][0]["keypoints"].pop()),
            "frame_id 2, instance 0",
            r"length 17 \(16 expected\)",
        ),
        (
            _edit(lambda c: c[2]["instances"][0]["keypoints"][3].append(1)),
            "frame_id 2, instance 0",
            r"list of \[x, y\]",
        ),
        (
            _edit(lambda c: c[2]["instances"][0].update(bbox=[[9, 2, 3, 4]])),
            "frame_id 2, instance 0",
            "has no area",
        ),
        (
            _edit(lambda c: c[2]["instances"][0].update(bbox_score="x")),
            "frame_id 2, instance 0",
            "number expected",
        ),
        (
            _edit(lambda c: c[2]["instances"][0].update(track_id=1)),
            "0.0",
            "no track_id, others have one",
        ),
        (
            _edit(lambda c: c[2]["instances"][0].update(track_id=-1)),
            "frame_id 2, instance 0",
            "track_id is -1",
        ),
        (
            _pose(lambda p, c: p["pose_keypoints_2d"].pop()),
            "person 0",
            r"24 joints, 25 or 18 expected|length 74",
        ),
        (
            _pose(lambda p, c: p.update(pose_keypoints_2d=_triples(15))),
            "person 0",
            "15 joints, 25 or 18 expected",
        ),
        (
            _pose(lambda p, c: p.update(pose_keypoints_2d=[0.5] * 75)),
            "person 0",
            "keypoint_scale 0",
        ),
        (_pose(lambda p, c: c.update(people=None)), "top level", "people is not a list"),
        (
            _lines(lambda s: [*s, s[-1]]),
            "line 101",
            "right_foot_index of frame 6, person 0 stands twice",
        ),
        (_lines(lambda s: [s[0], *s[2:]]), "frame 4, person 0", "no nose"),
        (
            _lines(lambda s: [*s[:4], s[4].replace("LEFT", "LEFF"), *s[5:]]),
            "line 5",
            "landmark is 'LEFF_EYE_OUTER'",
        ),
        (_lines(lambda s: [*s[:7], s[7] + ",9", *s[8:]]), "line 8", "cells"),
        (_lines(lambda s: [*s[:3], s[3].replace("0.1", "a"), *s[4:]]), "line 4", "number expected"),
        (_lines(lambda s: [*s[:7], s[7].replace("4,", "-4,", 1), *s[8:]]), "line 8", "frame is -4"),
    ],
)
def test_bad_records_are_named(tmp_path, made, record, text):
    with pytest.raises(BadRecord, match=text) as caught:
        read(made(tmp_path))
    assert caught.value.record == record and str(tmp_path) in caught.value.file


def test_bad_files_are_named(tmp_path):
    with pytest.raises(MissingFile, match=r"no \.json or \.txt files"):
        read(tmp_path)
    path = openpose(tmp_path / "r")
    (path / "notes.json").write_text(json.dumps({"people": []}))
    with pytest.raises(BadFile, match="which frame it is"):
        read(path)
    (path / "notes.json").write_text("[1]")
    with pytest.raises(BadFile, match="file a frame expected"):
        read(path)
    (tmp_path / "videos").mkdir()
    mmpose(tmp_path / "videos" / "a.json")
    with pytest.raises(BadFile, match="the one file that holds the whole video"):
        read(tmp_path / "videos")
    table = landmarks(tmp_path / "r.csv")
    table.write_text(table.read_text().replace("landmark", "point"))
    with pytest.raises(BadFile, match="no column landmark or joint"):
        read(table)
    table.write_bytes(b"frame,\xff")
    with pytest.raises(BadFile, match="not UTF-8: byte 0xff at offset 6"):
        read(table)


@every_format
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_values_end_as_named_errors(tmp_path_factory, name, data):
    """A value anywhere in the file becomes another, or bytes are cut in or out."""
    folder = tmp_path_factory.mktemp("f")
    path = FORMATS[name](folder)
    file = sorted(path.iterdir())[-1] if path.is_dir() else path
    odd = st.sampled_from(
        [None, [], {}, "x", "", -1, 1e39, 10**400, True, [[1]], [None], {"a": 1}, float("nan"), "7"]
    )
    if file.suffix == ".json" and data.draw(st.booleans()):
        content = json.loads(file.read_text())
        target, key = [content], 0
        while type(target[key]) in (list, dict) and target[key] and data.draw(st.integers(0, 5)):
            target = target[key]
            key = data.draw(
                st.sampled_from(list(target) if type(target) is dict else range(len(target)))
            )
        target[key] = copy.deepcopy(data.draw(odd))
        file.write_text(
            json.dumps(content[0] if type(content) is list and target is content else content)
        )
    else:
        raw = file.read_bytes()
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(raw)))
            raw = (
                raw[:at]
                + data.draw(st.binary(max_size=4))
                + raw[at + data.draw(st.integers(0, 5)) :]
            )
        file.write_bytes(raw or b" ")
    try:
        found = read(path)
    except WorkbenchError:
        return
    assert np.isfinite(found.xy_frame).all()
    if found.skeleton == "coco17":
        write_like(folder / f"out{path.suffix}", moved(found), path, lambda frame: SIZE)


# --- batches of MMPose 0.x, COCO results, and what all have in common ----------------------------

K = 21


def batch(rng, ids):
    n = len(ids)
    return {
        "preds": (rng.uniform(0, 100, (n, K, 3)) / [1, 1, 100]).astype(np.float32),
        "boxes": np.tile(np.array([50, 60, 0.5, 0.25, 5000, 0.5], np.float32), (n, 1)),
        "image_paths": [f"set/{i}.jpg" for i in ids],
        "bbox_ids": list(ids),
        "output_heatmap": None,
    }


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.fixture
def batches(rng):
    return [batch(rng, [3, 1, 4]), batch(rng, [0, 2])]


def npz_of(path, batches):
    columns = {
        key: np.concatenate([b[key] for b in batches])
        for key in ("preds", "boxes", "image_paths", "bbox_ids")
    }
    np.savez_compressed(path, **columns)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_rows_come_in_the_order_of_bbox_ids(batches, tmp_path, protocol):
    found = read_detections(write(tmp_path / "d.pkl", batches, protocol))
    assert found.ids == ("0", "1", "2", "3", "4")
    assert found.images[3] == "set/3.jpg"
    assert found.skeleton == "hand21"
    np.testing.assert_array_equal(found.xy_frame[3], batches[0]["preds"][0, :, :2])
    np.testing.assert_array_equal(found.confidence[0], batches[1]["preds"][0, :, 2])
    # 50 -+ 200 * 0.5 / 2, 60 -+ 200 * 0.25 / 2
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 35, 100, 85])
    np.testing.assert_allclose(found.scores, found.confidence.mean(1) / 2, rtol=1e-6)


@pytest.mark.parametrize("old", [True, False])
def test_both_numpy_spellings(batches, tmp_path, old):
    raw = pickle.dumps([*batches, batch(np.random.default_rng(1), [9])], 2)
    assert b"numpy._core.multiarray" in raw or b"numpy.core.multiarray" in raw
    raw = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path = tmp_path / "d.pickle"
    path.write_bytes(
        raw if old else raw.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    )
    assert len(read_detections(path)) == 6


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda b: b[1].pop("boxes"), BadRecord, "batch 1: boxes is missing"),
        (
            lambda b: b[1].update(preds=b[1]["preds"][:, :19]),
            BadRecord,
            r"batch 1: preds has shape \(2, 19, 3\)",
        ),
        (lambda b: b[0].update(preds=b[0]["preds"][0]), BadRecord, "batch 0: preds has shape"),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 0), np.nan),
            BadRecord,
            r"preds .* not finite at \(1, 2, 0\)",
        ),
        (lambda b: b[0]["boxes"].__setitem__((1, 2), np.inf), BadRecord, "boxes .* not finite"),
        (
            lambda b: b[0]["boxes"].__setitem__((1, 2), 0),
            BadRecord,
            "box of bbox_id 1 has size <= 0",
        ),
        (
            lambda b: b[0]["boxes"].__setitem__((1, 2), 3e38),
            BadRecord,
            "batch 0: box of bbox_id 1 is beyond",
        ),
        (
            lambda b: b[0]["boxes"].__setitem__((1, slice(0, 3)), [1e9, 0, 1e-3]),
            BadRecord,
            "box of bbox_id 1 is beyond",
        ),
        (
            lambda b: (b[0]["boxes"][1:, 5:].fill(3e38), b[0]["preds"][..., 2].fill(2)),
            BadRecord,
            "score of bbox_id 1",
        ),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 2), -0.02),
            BadRecord,
            "bbox_id 1: confidence -0.02 of joint 2",
        ),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 2), 10.1),
            BadRecord,
            "bbox_id 1: confidence 10.1 of joint 2",
        ),
        (
            lambda b: b[0]["bbox_ids"].__setitem__(0, 2),
            BadRecord,
            "bbox_id 2: 1 bbox_ids stand more than once",
        ),
        (
            lambda b: b[0]["bbox_ids"].__setitem__(0, 2**70),
            BadRecord,
            "bbox_ids is not a list of 64-bit integers",
        ),
        (lambda b: b[0]["image_paths"].pop(), BadRecord, "image_paths has 2 entries, 3 expected"),
        (lambda b: b[0].update(image_paths=[1, 2, 3]), BadRecord, "image_paths is no list of text"),
        (lambda b: b.__setitem__(0, "x"), BadRecord, "batch 0: str"),
        (lambda b: b.clear(), BadFile, "no batches"),
    ],
)
def test_bad_batches_are_named(batches, tmp_path, change, kind, text):
    change(batches)
    path = write(tmp_path / "d.pkl", batches)
    with pytest.raises(kind, match=text) as caught:
        read_detections(path)
    assert caught.value.file == str(path)


def test_bad_batch_files_are_named(batches, tmp_path):
    path = write(tmp_path / "d.pkl", batches)
    with pytest.raises(BadRecord, match="21 joints, 17 expected by coco17"):
        read_detections(path, skeleton="coco17")
    with pytest.raises(UnknownName, match="hand21"):
        read_detections(path, skeleton="hand22")
    whole = path.read_bytes()
    for cut in (1, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadFile, match="truncated"):
            read_detections(path)
    path.write_bytes(b"")
    with pytest.raises(EmptyFile):
        read_detections(path)
    with pytest.raises(MissingFile):
        read_detections(tmp_path / "none.pkl")
    with pytest.raises(BadFile, match=r"\.xml"):
        read_detections(tmp_path / "d.xml")
    with pytest.raises(BadFile, match="holds a dict"):
        read_detections(write(path, {}))


def test_npz_is_the_same_as_the_pickle(batches, tmp_path):
    a = read_detections(write(tmp_path / "d.pkl", batches))
    b = read_detections(npz_of(tmp_path / "d.npz", batches))
    assert a.ids == b.ids and a.images == b.images
    for field in ("xy_frame", "confidence", "boxes_xyxy", "scores"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_npz_with_objects_or_damage_is_refused(batches, tmp_path):
    path = npz_of(tmp_path / "d.npz", batches)
    whole = path.read_bytes()
    np.savez(path, preds=np.array([{}], object))
    with pytest.raises(BadFile, match="Python objects"):
        read_detections(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match="not an npz file"):
        read_detections(path)
    np.savez(path, preds=np.zeros((1, K, 3)))
    with pytest.raises(BadRecord, match="boxes is missing"):
        read_detections(path)


RESULT = {
    "image_id": 7,
    "category_id": 1,
    "score": 0.5,
    "keypoints": [v / (1 + 99 * (v % 3 == 0)) for v in range(1, 52)],
}


def results(path, *changes):
    path.write_text(json.dumps([{**RESULT, **change} for change in changes]))
    return path


def test_coco_results(tmp_path):
    floats = read_detections(results(tmp_path / "f.json", {"image_id": 7.0}))
    assert (floats.images, floats.frames.tolist()) == (("7",), [7]), "as tables export it"
    found = read_detections(
        results(tmp_path / "r.json", {}, {"bbox": [10, 20, 30, 50], "image_id": "a"})
    )
    assert found.skeleton == "coco17" and found.images == ("7", "a")
    np.testing.assert_array_equal(found.boxes_xyxy, [[1, 2, 49, 50], [10, 20, 40, 70]])
    np.testing.assert_array_equal(found.xy_frame[0, :2], [[1, 2], [4, 5]])
    np.testing.assert_allclose(found.confidence[0, :2], [0.03, 0.06])
    np.testing.assert_array_equal(found.scores, [0.5, 0.5])
    assert len(read_detections(results(tmp_path / "e.json"), skeleton="coco17")) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keypoints": RESULT["keypoints"][:-1]}, r"length 50 \(51 expected\)"),
        ({"keypoints": [10**400, *RESULT["keypoints"][1:]]}, "not finite"),
        ({"keypoints": ["1", *RESULT["keypoints"][1:]]}, "str, number expected"),
        (
            {"keypoints": [*RESULT["keypoints"][:2], 99.5, *RESULT["keypoints"][3:]]},
            "confidence 99.5 of joint 0",
        ),
        ({"score": None}, "score"),
        ({"score": [1]}, r"score\[0\] is list, number expected"),
        ({"bbox": [3e38, 0, 3e38, 1]}, "none that float32 can hold"),
        ({"image_id": [1]}, "image_id is list"),
        ({"image_id": 7.5}, "image_id is float"),
        ({"bbox": [1, 2, -3, 4]}, "bbox width <= 0: -3"),
    ],
)
def test_bad_coco_results_are_named(tmp_path, change, text):
    path = results(tmp_path / "r.json", {}, change)
    with pytest.raises(BadRecord, match=text) as caught:
        read_detections(path)
    assert (caught.value.file, caught.value.record) == (str(path), "result 1")


def test_annotations_are_not_results(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(BadFile, match="a dict, a list of COCO results expected"):
        read_detections(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(BadFile, match="empty list"):
        read_detections(tmp_path / "r.json")


def _bases() -> dict[str, bytes]:
    rng, small = np.random.default_rng(0), io.BytesIO()
    content = [batch(rng, [0, 1])]
    np.savez(small, **{k: np.asarray(v) for k, v in content[0].items() if v is not None})
    bases = {f"{p}.pkl": pickle.dumps([{**content[0], "x": np.float32(1)}], p) for p in range(6)}
    return bases | {"d.npz": small.getvalue(), "r.json": json.dumps([RESULT, RESULT]).encode()}


BASES = _bases()
PIECE = st.binary(max_size=5)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), PIECE, st.integers(0, 5) | st.none()), min_size=1, max_size=4
)  # None: as many bytes as are written, so that what follows stays in place


@pytest.mark.parametrize("base", BASES)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=EDITS, head=st.booleans())
def test_mutated_files_end_as_named_errors(tmp_path, base, edits, head):
    raw = BASES[base]
    for where, new, removed in edits:  # near the head, where the structure is, or anywhere
        at = int(where * min(len(raw), 400 if head else len(raw)))
        raw = raw[:at] + new + raw[at + (len(new) if removed is None else removed) :]
    path = tmp_path / base
    path.write_bytes(raw or b"x")
    try:
        found = read_detections(path)
    except WorkbenchError:
        return
    assert np.isfinite(found.xy_frame).all() and np.isfinite(found.boxes_xyxy).all()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "skeleton", "n"), [("coco", "coco17", 55), ("crowdpose", "crowdpose14", 6)]
)
def test_real_coco_results(data_root, name, skeleton, n):
    found = read_detections(data_root / "eval_examples" / f"{name}_preds.json", skeleton=skeleton)
    assert len(found) == n


def people_of(n):
    """Two people a frame, n in all."""
    xy = np.random.default_rng(0).uniform(0, 200, (n, 17, 2))
    boxes = np.tile([0.0, 0, 200, 200], (n, 1))
    rows = np.arange(n)
    found = Detections("coco17", xy, np.ones((n, 17)), boxes, frames=rows // 2, tracks=rows % 2)
    return moved(found)


def test_writing_and_reading_cost_in_proportion_to_the_people(tmp_path):
    def results(path, people):
        return write_coco_results(path, people.detections)

    def writing(write, suffix):
        def make(n):
            people = people_of(n)
            return lambda: write(free_name(tmp_path / f"{n}.{suffix}"), people)

        return make

    def reading(write, suffix):
        return lambda n: partial(read_detections, writing(write, suffix)(n)())

    # few: shapes are checked inside of what reads one person
    for write, suffix in ((results, "json"), (write_table, "csv")):
        assert growth(writing(write, suffix), 60) < LINEAR
        assert growth(reading(write, suffix), 20) < LINEAR
