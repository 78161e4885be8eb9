"""What DeepLabCut, Lightning Pose, Ultralytics, MMPose's dump, COCO data sets and SLEAP say, on the
frames of a video: right, or refused by name. All files are made here.
"""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.test_on_video import COCO, H, N, W, body, folder, frames_of, save, straight
from workbench.data.frames import open_frames
from workbench.data.readers import read, recognise
from workbench.data.results import on_video, read_detections, write_like
from workbench.errors import (
    BadFile,
    BadParameter,
    BadRecord,
    MissingData,
    UnsafeFile,
    WorkbenchError,
)
from workbench.film import save_results, write_video
from workbench.predict import video
from workbench.records import Prediction
from workbench.skeletons import SKELETONS, skeleton


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight frames, called walk."""
    noise = np.random.default_rng(0).integers(0, 255, (N, H, W, 3), np.uint8)
    return write_video(tmp_path_factory.mktemp("film") / "walk.webm", noise)


def on_film(path, film, **options):
    with open_frames(film) as frames:
        return on_video(path, frames, **options)


# --- DeepLabCut and Lightning Pose ----------------------------------------------------------------


def deeplabcut(path, frames, call=str, *, names=COCO, who=None, sure=True, more=(), xy=body):
    """who: individuals, the second of whom stands 5 px to the right; more: (title, coordinate) of
    further columns.
    """
    kinds = ("x", "y", "likelihood") if sure else ("x", "y")
    index = call(frames[0]).count(",")
    columns = [(w, n, kind) for w in who or [""] for n in names for kind in kinds]
    tops = {
        "scorer": ["net"] * len(columns),
        **({"individuals": [w for w, _, _ in columns]} if who else {}),
        "bodyparts": [n for _, n, _ in columns],
        "coords": [kind for _, _, kind in columns],
    }
    lines = [[title, *[""] * index, *cells] for title, cells in tops.items()]
    for title, kind in more:
        for line in lines:
            line.append({"bodyparts": title, "coords": kind}.get(line[0], "net"))
    for t in frames:
        cells = []
        for i, _ in enumerate(who or [""]):
            for x, y in xy(t)[: len(names)]:
                cells += [f"{x + 5 * i:.4f}", f"{y:.4f}", "0.9"][: len(kinds)]
        lines.append([call(t), *cells, *["train"] * len(more)])
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    return path


@pytest.mark.parametrize(
    "call",
    [
        str,
        lambda t: f"{t}.0",
        lambda t: f"labeled-data/walk/img{t:04d}.png",
        lambda t: f"labeled-data,walk,img{t:04d}.png",
        lambda t: rf"labeled-data\walk\img{t:04d}.png",
    ],
)
def test_deeplabcut_counts_frames_from_0(tmp_path, film, call):
    path = tmp_path / "r.csv"
    assert frames_of(deeplabcut(path, range(N), call), film) == straight(range(N))
    assert frames_of(deeplabcut(path, [2, 5], call), film) == {2: 2, 5: 5}
    assert frames_of(path, film, first_frame=1) == {1: 2, 4: 5}


def test_lightning_pose_s_pictures_and_further_columns(tmp_path, film):
    names = [f"labeled-data/walk/shot{t:02d}.png" for t in range(N)]
    more = (("set", ""), ("nose", "x_ens_var"))
    path = deeplabcut(tmp_path / "r.csv", range(1, N), names.__getitem__, more=more)
    with pytest.raises(BadParameter, match="--first-frame"):
        frames_of(path, film)
    pictures = folder(tmp_path / "walk", [name.rpartition("/")[2] for name in names])
    assert frames_of(path, pictures) == straight(range(1, N))


def test_deeplabcut_joints_are_found_by_name(tmp_path, film):
    order = np.random.default_rng(3).permutation(17)
    path = tmp_path / "r.csv"
    names = [COCO[i].replace("_", " ").title() for i in order]
    deeplabcut(path, range(N), names=names, xy=lambda t: body(t)[order])
    assert frames_of(path, film) == straight(range(N))
    deeplabcut(path, range(N), names=("snout", "left_ear", "right_ear", "tail_base"))
    found, notes, _ = on_film(path, film)
    assert skeleton(found.skeleton).joints == ("snout", "left_ear", "right_ear", "tail_base")
    assert any(note.startswith("no known skeleton has the file's own 4 joints") for note in notes)
    with pytest.raises(BadRecord, match="no nose, left_eye"):
        on_film(path, film, skeleton="coco17")


def test_individuals_are_persons_and_other_things_are_left_out(tmp_path, film):
    path = deeplabcut(tmp_path / "r.csv", range(N), who=["mouse1", "mouse2"])
    lines = path.read_text().splitlines()
    tops = [",single,single,single", ",corner,corner,corner", ",x,y,likelihood"]
    lines = [lines[0] + ",net,net,net", *(a + b for a, b in zip(lines[1:4], tops)), *lines[4:]]
    lines[4:] = [line + ",3,4,1" for line in lines[4:]]
    path.write_text("\n".join(lines))
    found, notes, _ = on_film(path, film)
    assert found.tracks.tolist() == [0, 1] * N and found.frames.tolist()[:3] == [0, 0, 1]
    assert "persons have no numbers as ids; in the table 0 is mouse1, 1 is mouse2" in notes
    assert any(note.startswith("single has other body parts") for note in notes)
    np.testing.assert_allclose(found.xy_frame[1] - found.xy_frame[0], [[5, 0]] * 17, atol=1e-3)


def test_the_first_of_two_individuals_needs_both_coordinates_too(tmp_path, film):
    path = deeplabcut(tmp_path / "r.csv", range(N), who=["mouse1", "mouse2"])
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",x,", ",likely,", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(BadFile, match="no columns x and y of nose"):
        on_film(path, film)


def test_a_single_animal_is_one_person_and_may_be_missing(tmp_path, film):
    path = deeplabcut(tmp_path / "r.csv", range(N))
    lines = path.read_text().splitlines()
    cells = lines[5].split(",")
    cells[4:7] = ["", "", ""]  # left_eye
    lines[5], lines[6] = ",".join(cells), "3" + "," * 51
    path.write_text("\n".join(lines))
    found = on_film(path, film).detections
    assert (found.tracks == 0).all() and found.frames.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert found.confidence[2, 1] == 0 and (found.confidence[:2] > 0).all()
    plain = deeplabcut(tmp_path / "l.csv", range(N), sure=False)
    found, notes, _ = on_film(plain, film)
    assert (found.confidence == 1).all() and any("labels by hand" in note for note in notes)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coords,x,y", "coords,x,z", "columns z"),
        ("coords,", "values,", "no line of titles that begins with coords"),
        ("left_eye,left_eye", "nose,left_eye", "nose has two columns x"),
        ("likelihood,x,y", "likelihood,x,other", "no columns x and y of left_eye"),
        ("\n1,", "\n0,", "line 5: 0 stands twice"),
        ("\n1,", "\n,", "line 5: does not say which frame"),
        ("0.9,", "a,", "line 4: nose likelihood is 'a', a number expected"),
    ],
)
def test_bad_tables_of_deeplabcut_are_named(tmp_path, old, new, words):
    path = deeplabcut(tmp_path / "r.csv", range(N))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises((BadFile, BadRecord), match=words) as caught:
        read_detections(path)
    assert caught.value.file == str(path)


def test_an_h5_file_says_how_to_get_a_csv(tmp_path):
    with pytest.raises(BadFile, match=r"'\.h5' is none of.*analyze_videos_converth5_to_csv"):
        read_detections(tmp_path / "walkDLC_resnet50.h5")


# --- Ultralytics ----------------------------------------------------------------------------------


def instance(t, size=(1, 1), **more):
    xy = body(t) / size
    corners = [*xy.min(0), *xy.max(0)]
    points = {"x": xy[:, 0].tolist(), "y": xy[:, 1].tolist(), "visible": [0.9] * 17}
    fields = {"name": "person", "class": 0, "confidence": 0.8, "keypoints": points}
    return {**fields, "box": dict(zip(("x1", "y1", "x2", "y2"), corners)), **more}


def instances(place, frames, call, **more):
    """A file a frame, empty where nobody is."""
    place.mkdir()
    for t in range(N):
        save(place / f"{call(t)}.json", [instance(t, **more)] if t in frames else [])
    return place


@pytest.mark.parametrize("size", [(1, 1), (W, H)])
def test_ultralytics_json_in_px_and_in_fractions(tmp_path, film, size):
    path = instances(tmp_path / "r", [0, 3], lambda t: f"walk_{t + 1}", size=size, track_id=7)
    assert frames_of(path, film) == {0: 0, 3: 3}
    found = on_film(path, film).detections
    np.testing.assert_allclose(found.xy_frame[1], body(3), rtol=1e-5)
    np.testing.assert_allclose(found.boxes_xyxy[1], [*body(3).min(0), *body(3).max(0)], rtol=1e-5)
    assert found.tracks.tolist() == [7, 7] and found.scores.tolist() == [np.float32(0.8)] * 2
    video = save(tmp_path / "v.json", [[instance(t, size)] * (t > 1) for t in range(6)])
    assert frames_of(video, film) == straight(range(2, 6))
    pictures = folder(tmp_path / "pics", ["b.jpg", "a.jpg"])
    alone = save(tmp_path / "b.json", [instance(4, size)])
    assert frames_of(alone, pictures) == {1: 4}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keypoints": None}, "no keypoints.*model of poses"),
        ({"name": "dog"}, "joints of a 'dog'.*--skeleton"),
        ({"box": {"x1": 3, "y1": 3, "x2": 3, "y2": 9}}, "has no area"),
        ({"keypoints": {"x": [1.0], "y": [1.0, 2.0], "visible": [1.0]}}, "lists of one length"),
        ({"confidence": "high"}, "number expected"),
    ],
)
def test_bad_instances_of_ultralytics_are_named(tmp_path, change, words):
    path = save(tmp_path / "r.json", [instance(0), instance(1) | change])
    with pytest.raises(BadRecord, match=words) as caught:
        read_detections(path)
    assert caught.value.record == "instance 1"


def test_a_joint_that_ultralytics_did_not_find_is_missing(tmp_path):
    person = instance(0)
    person["keypoints"]["x"][9] = person["keypoints"]["y"][9] = 0.0
    person["keypoints"]["y"][10] = None
    found = read_detections(save(tmp_path / "r.json", [person]))
    assert np.flatnonzero(found.confidence[0] == 0).tolist() == [9, 10]
    dog = save(tmp_path / "d.json", [instance(0, name="dog")])
    assert len(read_detections(dog, skeleton="coco17")) == 1


def line(t, width=3, behind=(), kind=0, seen=0.9):
    """As save_txt writes it, in six digits."""
    xy = body(t) / (W, H)
    low, high = xy.min(0), xy.max(0)
    points = np.c_[xy, np.full(17, seen)][:, :width]
    values = [kind, *(low + high) / 2, *(high - low), *points.ravel(), *behind]
    return " ".join(f"{value:g}" for value in values)


def lines(place, frames, call, **fields):
    """A file of each frame where somebody is."""
    place.mkdir()
    for t in frames:
        (place / f"{call(t)}.txt").write_text(line(t, **fields) + "\n")
    return place


def walk(t):
    return f"walk_{t + 1}"


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("behind", [(), (0.75,), (4,), (0.75, 4), (1, 4)])
def test_lines_of_ultralytics_with_and_without_confidence_and_id(tmp_path, film, width, behind):
    path = lines(tmp_path / "labels", [2, 5], walk, width=width, behind=behind)
    found, notes, _ = on_film(path, film)
    assert found.frames.tolist() == [2, 5], "of a video they are counted from 1"
    np.testing.assert_allclose(found.xy_frame[1], body(5), atol=1e-3)
    np.testing.assert_allclose(found.boxes_xyxy[0, 2:], body(2).max(0), atol=1e-3)
    tracked = 4 in behind
    assert (found.tracks is not None) == tracked and (not tracked or (found.tracks == 4).all())
    sure = np.float32(0.9 if width == 3 else 1)
    score = behind[0] if len(behind) == 2 or behind == (0.75,) else sure
    np.testing.assert_allclose(found.scores, score, rtol=1e-6)
    assert any("counts as seen" in note for note in notes) == (width == 2)


def test_lines_are_placed_by_the_video_s_name_or_a_picture_s(tmp_path, film):
    other = lines(tmp_path / "other", [2, 5], lambda t: f"run_{t + 1}")
    with pytest.raises(BadParameter, match="--first-frame"):
        frames_of(other, film)
    padded = lines(tmp_path / "padded", [2, 5], lambda t: f"walk_{t + 1:04d}")
    with pytest.raises(BadParameter, match="--first-frame"):
        frames_of(padded, film)
    assert frames_of(padded, film, first_frame=1) == {2: 2, 5: 5}
    pictures = folder(tmp_path / "walk", [f"walk_{t}.jpg" for t in range(1, N)])
    named = lines(tmp_path / "named", [2, 5], walk)
    assert frames_of(named, pictures) == {2: 2, 5: 5}  # walk_3.jpg is the third


def test_one_number_behind_joints_is_an_id_if_it_can_be_one(tmp_path, film):
    path = lines(tmp_path / "a", [2, 5], walk, behind=(1,))
    assert on_film(path, film).detections.tracks.tolist() == [1, 1]
    (path / "walk_3.txt").write_text("\n".join([line(2, behind=(1,))] * 2))
    found = on_film(path, film).detections
    assert found.tracks is None and (found.scores == 1).all(), "no picture has a person twice"
    (path / "walk_3.txt").write_text("\n".join([line(2, behind=(1,)), line(3, behind=(2,))]))
    (path / "walk_6.txt").write_text(line(5, behind=(0.5, 1)))
    with pytest.raises(BadRecord, match="no track_id, others have one"):
        on_film(path, film)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([line(1), line(2, behind=(0.5,))], "some lines state a confidence"),
        ([line(1), line(2, behind=(0.5, 3))], "some lines state a confidence"),
        (["0 .5 .5 .1 .2"], "lines of 5 numbers: no joints behind a class and a box"),
        ([line(1), "0 .5 .5 .1 .2"], "lines of 5, 56 numbers: no joints"),
        ([" ".join([".5"] * 47)], r"14 joints of 3 or 21 joints of 2 behind.*--skeleton"),
        ([line(1, seen=2), line(2, seen=0)], r"a flag \(0, 1, 2\): these are labels"),
        ([line(1, kind=3)], r"line 1: class 3, 0 \(a person\) expected.*--skeleton"),
        ([line(1).replace("0.9", "x", 1)], "line 1: holds something else than numbers"),
    ],
)
def test_lines_that_say_nothing_sure_are_refused(tmp_path, texts, words):
    for i, text in enumerate(texts):
        (tmp_path / f"walk_{i + 1}.txt").write_text(text)
    with pytest.raises((BadFile, BadRecord), match=words):
        read_detections(tmp_path, size_wh=(W, H))


def test_lines_of_a_skeleton_that_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(" ".join(["0", ".5", ".5", ".1", ".2", *[".5"] * 42]))
    assert read_detections(path, size_wh=(W, H), skeleton="hand21").skeleton == "hand21"
    found = read_detections(path, size_wh=(W, H), skeleton="crowdpose14")
    assert found.skeleton == "crowdpose14" and (found.xy_frame == [W / 2, H / 2]).all()
    (tmp_path / "b.txt").write_text("")
    assert len(read_detections(tmp_path, size_wh=(W, H), skeleton="hand21")) == 1


def test_lines_are_recognised_by_their_joints(tmp_path):
    path = lines(tmp_path / "labels", [2, 5], walk)
    for place in (path, path / "walk_3.txt"):
        assert recognise(place)[1].name == "detections"
        (warning,) = read(place).warnings
        assert "fractions of the picture" in str(warning) and "columns" not in str(warning)
    (path / "walk_3.txt").write_text("0 .5 .5 .1 .2\n")
    assert recognise(path)[1].name == "folder"
    with pytest.raises(BadFile, match="nothing that a reader knows"):
        recognise(path / "walk_3.txt")


def test_lines_are_written_again(tmp_path, film):
    path = lines(tmp_path / "labels", [2, 5], walk, behind=(0.75, 4))
    found = on_film(path, film).detections
    replaced = np.arange(17)[None] == np.array([[3], [4]])
    xy = np.where(replaced[..., None], np.float32([33.3, 44.4]), found.xy_frame)
    moved = Prediction("coco17", xy, found.confidence, replaced, "test", found)
    again = write_like(tmp_path / "new", moved, path, lambda frame: (W, H))
    np.testing.assert_array_equal(on_film(again, film).detections.xy_frame, xy)
    words = (again / "walk_3.txt").read_text().split()
    same = [a == b for a, b in zip(words, (path / "walk_3.txt").read_text().split())]
    assert np.flatnonzero(np.logical_not(same)).tolist() == [5 + 9, 5 + 10]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (lambda d: lines(d / "labels", [2], walk), "walk_refined"),
        (lambda d: lines(d / "labels", [2], walk) / "walk_3.txt", "walk_refined.txt"),
        (lambda d: deeplabcut(d / "r.csv", [2]), "walk_refined.csv"),
        (lambda d: data_set(d / "r.json", [2], score=0.5), "walk_refined.json"),
        (lambda d: dumped(d / "r.pkl", [entry(2)]), "walk_refined.json"),
    ],
)
def test_results_are_saved_in_their_format_or_as_coco_s(tmp_path, film, form, name):
    path = form(tmp_path)
    with open_frames(film) as frames:
        found = on_video(path, frames, first_frame=1 if "labels" in str(path) else 0).detections
        found = replace(found, tracks=[0])
        xy, replaced = found.xy_frame + 1, np.ones((1, 17), bool)
        moved = Prediction("coco17", xy, found.confidence, replaced, "test", found)
        written = save_results(tmp_path / "out", frames, moved, like=path)["results"]
    assert written.name == name
    np.testing.assert_allclose(read_detections(written, size_wh=(W, H)).xy_frame, xy, rtol=1e-6)


# --- MMPose's dump --------------------------------------------------------------------------------


def entry(t, n=1, **more):
    found = {
        "keypoints": np.array([body(t)] * n, np.float32),
        "keypoint_scores": np.full((n, 17), 0.9, np.float32),
        "bboxes": np.array([[20, 10, 90, 110]] * n, np.float32),
        "bbox_scores": np.full(n, 0.7, np.float32),
    }
    fields = {"img_path": f"data/walk/{t:06d}.jpg", "img_id": np.int64(t), "ori_shape": (H, W)}
    return {**fields, "pred_instances": found | more}


def dumped(path, entries):
    path.write_bytes(pickle.dumps(entries))
    return path


def test_mmpose_dumps_an_entry_a_person_or_a_picture(tmp_path, film):
    path = dumped(tmp_path / "r.pkl", [entry(t) for t in range(N)] + [entry(3)])
    found = on_film(path, film).detections
    assert found.frames.tolist() == [*range(N), 3] and found.skeleton == "coco17"
    np.testing.assert_allclose(found.xy_frame[5], body(5), rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy[0], [20, 10, 90, 110])
    np.testing.assert_allclose(found.scores, 0.7, rtol=1e-6)
    path = dumped(tmp_path / "b.pickle", [entry(t, n=t % 3) for t in range(N)])
    assert on_film(path, film).detections.frames.tolist() == [1, 2, 2, 4, 5, 5, 7]
    bare = [{**entry(t), "img_path": None} for t in range(N)]
    assert frames_of(dumped(path, bare), film) == straight(range(N))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keypoints": np.zeros((1, 17, 3))}, r"keypoints has shape \(1, 17, 3\)"),
        ({"keypoints": [[1, 2]]}, "keypoints is not an array"),
        ({"keypoint_scores": np.zeros((1, 5))}, r"keypoint_scores has shape \(1, 5\)"),
        ({"bboxes": np.zeros((1, 4))}, "bboxes have one without area"),
    ],
)
def test_bad_entries_are_named(tmp_path, change, words):
    with pytest.raises(BadRecord, match=f"entry 1: {words}"):
        read_detections(dumped(tmp_path / "r.pkl", [entry(0), entry(1, **change)]))


def test_tensors_in_a_dump_are_refused_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    path = dumped(tmp_path / "r.pkl", [entry(0, keypoints=torch.zeros(1, 17, 2))])
    with pytest.raises(UnsafeFile, match=r"'torch\._utils\._rebuild_tensor_v2'.*\.numpy\(\)"):
        read_detections(path)


# --- data sets of predictions ---------------------------------------------------------------------


def data_set(path, frames, third=0.9, names=COCO, order=range(17), **more):
    flat = lambda t: np.c_[body(t)[list(order)], np.full(17, third)].ravel().tolist()  # noqa: E731
    people = [
        {"id": 50 + t, "image_id": 1000 + t, "category_id": 1, "keypoints": flat(t)} | more
        for t in frames
    ]
    content = {
        "images": [{"id": 1000 + t, "file_name": f"images/walk/{t:06d}.jpg"} for t in range(N)],
        "annotations": people,
        "categories": [
            {"id": 1, "name": "person", "keypoints": [names[i] for i in order]},
            {"id": 2, "name": "dog"},
        ],
    }
    return save(path, content)


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    return save(path, content)


def test_predictions_in_a_data_set_s_layout(tmp_path, film):
    path = data_set(tmp_path / "r.json", [2, 5], score=0.6, track_id=3, bbox=[20, 10, 70, 100])
    assert frames_of(path, film) == {2: 2, 5: 5}, "images without people prove the count"
    found = on_film(path, film).detections
    assert found.tracks.tolist() == [3, 3] and found.scores.tolist() == [np.float32(0.6)] * 2
    np.testing.assert_allclose(found.boxes_xyxy[0], [20, 10, 90, 110])
    order = np.random.default_rng(4).permutation(17)
    path = data_set(tmp_path / "r.json", [2, 5], order=order)
    assert frames_of(path, film) == {2: 2, 5: 5}, "joints by name; without a score, their mean"
    pictures = folder(tmp_path / "walk", [f"{t:06d}.jpg" for t in (2, 5, 6)])
    assert frames_of(path, pictures) == {0: 2, 1: 5}


@pytest.mark.parametrize("third", [0, 1, 2])
def test_ground_truth_is_no_prediction(tmp_path, film, third):
    path = data_set(tmp_path / "r.json", [2, 5], third=third)
    with pytest.raises(BadFile, match=r"ground truth, no predictions.*workbench score"):
        frames_of(path, film)


def test_flags_beside_scores(tmp_path, film):
    """PoseTrack's submissions state the joints' confidences in `scores`."""
    scores = [round(0.05 * i, 2) for i in range(17)]
    path = data_set(tmp_path / "r.json", [2, 5], third=1, scores=scores)
    found, notes, _ = on_film(path, film)
    np.testing.assert_allclose(found.confidence[0], scores)
    assert not any("flags" in note for note in notes)
    path = data_set(tmp_path / "r.json", [2, 5], third=2, score=0.6)
    found, notes, _ = on_film(path, film)
    assert (found.confidence == 1).all() and any("flags" in note for note in notes)


def test_bad_data_sets_are_named(tmp_path, film):
    path = data_set(tmp_path / "r.json", [2, 5], score=0.6)

    def box_alone(content):
        content["annotations"].append({"id": 9, "image_id": 1000, "category_id": 2})

    found, notes, _ = on_film(edited(path, box_alone), film)
    assert len(found) == 2 and "1 annotations without keypoints are left out" in notes
    edited(path, lambda c: c["annotations"][1].update(image_id=7))
    with pytest.raises(BadRecord, match="annotation 55: image_id 7 is no image's id"):
        frames_of(path, film)
    path = data_set(tmp_path / "r.json", [2, 5], score=0.6)
    edited(path, lambda c: c["images"][1].update(id=1000))
    with pytest.raises(BadRecord, match="image 1: id 1000 stands twice"):
        frames_of(path, film)
    path = data_set(tmp_path / "r.json", [2, 5], names=[f"paw {i}" for i in range(17)])
    assert frames_of(path, film) == {2: 2, 5: 5}

    def two(content):
        content["categories"][1]["keypoints"] = ["a", "b"]
        content["annotations"][1]["category_id"] = 2

    with pytest.raises(BadFile, match="2 categories name different keypoints"):
        frames_of(edited(path, two), film)


# --- SLEAP ----------------------------------------------------------------------------------------


def found_by_sleap(xy, name):
    points = np.c_[xy, np.full(17, 0.9)]
    points[4] = np.nan
    track = None if name is None else SimpleNamespace(name=name)
    return SimpleNamespace(score=0.7, track=track, numpy=lambda scores: points)


def labels(*videos, names=COCO):
    """As sleap-io opens a file: a person and a label by hand in frames 2 and 5 of each video."""
    by_hand = SimpleNamespace(track=None, numpy=lambda: body(0))
    frames = []
    for filename in videos:
        video = SimpleNamespace(filename=filename)
        for t in (2, 5):
            people = [found_by_sleap(body(t), "anna"), by_hand]
            frames.append(SimpleNamespace(video=video, frame_idx=np.int64(t), instances=people))
    skeletons = [SimpleNamespace(node_names=list(names), edge_inds=[(0, 1), (1, 2)])]
    return SimpleNamespace(labeled_frames=frames, skeletons=skeletons, videos=[*videos])


@pytest.fixture
def sleap(tmp_path, monkeypatch):
    """A file, and what puts these labels into it."""
    path = tmp_path / "r.slp"
    path.write_bytes(b"x")

    def holds(content):
        stand_in = SimpleNamespace(load_slp=lambda path, open_videos: content)
        monkeypatch.setitem(sys.modules, "sleap_io", stand_in)
        return path

    return holds


def test_sleap_s_predictions(sleap, film, tmp_path):
    found, notes, _ = on_film(sleap(labels("walk.mp4")), film)
    assert found.frames.tolist() == [2, 5] and found.tracks.tolist() == [0, 0]
    np.testing.assert_allclose(found.xy_frame[1, 5:], body(5)[5:], rtol=1e-6)
    assert (found.confidence[:, 4] == 0).all() and (found.scores == np.float32(0.7)).all()
    assert "2 instances labelled by hand are left out" in notes
    several = sleap(labels("a/run.mp4", "a/walk.mp4"))
    found, notes, _ = on_film(several, film)
    assert found.frames.tolist() == [2, 5] and found.images[0] == "walk/2"
    assert "2 results of 2 other pictures or videos are left out" in notes
    names = [f"pics/{t:03d}.png" for t in range(N)]
    pictures = folder(tmp_path / "pics", [f"{t:03d}.png" for t in range(1, N)])
    assert frames_of(sleap(labels(names)), pictures) == {1: 2, 4: 5}


def test_another_animal_has_a_skeleton_of_its_own(sleap, film):
    paws = [f"L paw {i}" for i in range(8)] + [f"R paw {i}" for i in range(8)] + ["Tail"]
    found, notes, _ = on_film(sleap(labels("walk.mp4", names=paws)), film)
    own = skeleton(found.skeleton)
    assert own.joints[0] == "left_paw_0" and own.joints[16] == "tail" and len(own) == 17
    assert own.edges == ((0, 1), (1, 2)) and own.flip_pairs[0] == (0, 8)
    assert any("own 17 joints (left_paw_0, " in note for note in notes)
    np.testing.assert_allclose(found.xy_frame[0, 5:], body(2)[5:], rtol=1e-6)
    with pytest.raises(BadRecord, match="two joints are called 'paw'"):
        on_film(sleap(labels("walk.mp4", names=["paw", *paws[:15], "Paw"])), film)
    for method in ("port", "hanet", "vissimcc"):
        with pytest.raises(WorkbenchError, match=r"own 17 joints \(left_paw_0"):
            video(film, sleap(labels("walk.mp4", names=paws)), method=method)


def test_broken_files_of_sleap_are_refused(sleap, film):
    with pytest.raises(BadFile, match="truncated, or not a SLEAP or NWB file"):
        on_film(sleap(SimpleNamespace()), film)
    two = labels("walk.mp4")
    two.skeletons *= 2
    with pytest.raises(BadFile, match="2 skeletons"):
        on_film(sleap(two), film)


def test_without_sleap_io_its_files_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    path = tmp_path / "r.nwb"
    path.write_bytes(b"x")
    with pytest.raises(MissingData, match="pip install sleap-io"):
        read_detections(path)


def test_a_real_file_of_sleap_io(tmp_path, film):
    io = pytest.importorskip("sleap_io", reason="sleap-io, the extra [animal], is not installed")
    skeleton, video = io.Skeleton(nodes=list(COCO)), io.Video(filename="walk.mp4")
    track, frames = io.Track("anna"), []
    for t in range(2, 6):
        sure = {"point_scores": np.full(17, 0.9), "score": 0.7, "track": track}
        found = io.PredictedInstance.from_numpy(body(t), skeleton=skeleton, **sure)
        by_hand = io.Instance.from_numpy(body(0), skeleton=skeleton)
        people = [found, by_hand]
        frames.append(io.LabeledFrame(video=video, frame_idx=t, instances=people))
    written = io.Labels(frames)
    written.save(str(tmp_path / "r.slp"))
    assert frames_of(tmp_path / "r.slp", film) == straight(range(2, 6))
    (tmp_path / "b.slp").write_bytes((tmp_path / "r.slp").read_bytes()[:900])
    with pytest.raises(BadFile, match="truncated, or not a SLEAP or NWB file"):
        read_detections(tmp_path / "b.slp")


def test_every_skeleton_that_is_known_is_found_by_name(tmp_path):
    for name in ("mpii16", "h36m17", "hand21"):
        joints = SKELETONS[name].joints
        xy = lambda t: np.random.default_rng(0).uniform(20, 90, (21, 2))  # noqa: E731
        path = deeplabcut(tmp_path / "r.csv", range(2), names=joints, xy=xy)
        assert read_detections(path).skeleton == name
