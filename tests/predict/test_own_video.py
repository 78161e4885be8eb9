"""A user's video on its way through a method."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import repeat

import numpy as np
import pytest
from PIL import Image

from tests.data.hugging_face_models import peaked, save_detector, save_vitpose
from tests.models.tiny import tiny
from workbench import checkpoint, measured, predict
from workbench.data.frames import open_frames
from workbench.data.results import read_detections
from workbench.errors import BadFile, BadParameter, MissingData, MissingFile, UnknownName
from workbench.film import write_video
from workbench.models import build
from workbench.predict import own_video
from workbench.skeletons import skeleton


def film(folder, n=3):
    pictures = np.random.default_rng(0).integers(0, 255, (n, 81, 103, 3), np.uint8)
    path = folder / "film.webm"
    path.unlink(missing_ok=True)
    return write_video(path, pictures)


def results(folder, frames=(0, 1, 1, 2)):
    flat = [v for j in range(17) for v in (20 + 3 * j, 10 + 4 * j, 0.05 if j in (3, 9) else 0.9)]
    items = [
        {"image_id": f, "category_id": 1, "keypoints": flat, "score": 0.7, "mine": i}
        for i, f in enumerate(frames)
    ]
    (folder / "mine.json").write_text(json.dumps(items))
    return folder / "mine.json"


def test_doubted_joints_of_a_user_s_results_are_replaced_and_all_else_stays(tmp_path):
    mine = results(tmp_path)
    options = {"out": tmp_path / "out", "force": True}
    done = predict.video(film(tmp_path), mine, delta=0.1, **options)
    new, old = (json.loads(path.read_text()) for path in (done.written["results"], mine))
    moved = np.array([np.not_equal(a["keypoints"], b["keypoints"]) for a, b in zip(new, old)])
    assert np.flatnonzero(moved.any(0)).tolist() == [9, 10, 27, 28]
    assert [item["mine"] for item in new] == [0, 1, 2, 3]
    assert len(done.written["table"].read_text().splitlines()) == 1 + 4 * 17
    assert len(list(open_frames(done.written["overlay"]))) == done.frames == 3
    row = done.row()
    assert (row["persons"], row["poses"], row["joints"], row["replaced"]) == (2, 4, 68, 8)
    assert row["moved, px"] > 0
    more = predict.video(film(tmp_path), mine, delta=1.0, **options)
    assert more.prediction.replaced.all()
    by_rule = predict.video(film(tmp_path), mine, **options)
    assert not by_rule.prediction.replaced[:, 4:9].any()


def test_where_no_gain_is_shown_missing_joints_alone_are_filled_in(tmp_path):
    """PORT on bodies, unless it is forced to, or has weights of the user's own."""
    mine = results(tmp_path)
    rows = json.loads(mine.read_text())
    for row in rows:
        row["keypoints"][15:18] = [0.0, 0.0, 1.0]
    mine.write_text(json.dumps(rows))
    done = predict.video(film(tmp_path), mine, out=tmp_path / "out")
    replaced = done.prediction.replaced
    assert replaced[:, 5].all() and replaced.sum() == len(rows)
    assert any("missing joints alone: on 68 real people" in note for note in done.notes)
    with pytest.raises(BadParameter, match=r"a delta for coco17.*--force"):
        predict.video(film(tmp_path), mine, out=tmp_path / "out", delta=0.5)
    options = {"out": tmp_path / "out", "delta": 0.5}
    own = predict.video(
        film(tmp_path), mine, weights=predict.weights_path("port", "coco17"), **options
    )
    forced = predict.video(film(tmp_path), mine, force=True, **options)
    for other in (own, forced):
        assert other.prediction.replaced.sum() == 3 * len(rows)
        assert not any("missing joints alone" in note for note in other.notes)


def test_nothing_that_is_read_is_written_over(tmp_path):
    mine, source = results(tmp_path), film(tmp_path)
    done = predict.video(source, mine, out=tmp_path / "out")
    before = done.written["table"].read_bytes()
    for number, name in enumerate(("table", "results"), 2):
        again = predict.video(source, done.written[name], out=tmp_path / "out")
        endings = {"results": ("refined.csv", "refined.json"), "table": ("joints.csv",)}
        for kind, known in endings.items():
            assert again.written[kind].name in [f"film_{number}_{ending}" for ending in known]
    assert done.written["table"].read_bytes() == before


def test_videos_of_one_name_do_not_write_over_each_other(tmp_path):
    places = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        done = predict.video(film(folder), results(folder), out=tmp_path / "out")
        places += done.written.values()
    assert len(set(places)) == 6 and all(place.exists() for place in places)
    assert {place.name.partition("_")[0] for place in places} == {"film"}


def test_a_file_of_weights_refines_tracks(tmp_path):
    config = replace(tiny("hanet"), channels=30, interval=3)
    card = {"model": "hanet", "config": asdict(config), "window": 13}
    weights = checkpoint.save(tmp_path / "w.safetensors", build("hanet", config), card)
    rng = np.random.default_rng(0)
    items = [
        {
            "image_id": f,
            "category_id": 1,
            "keypoints": np.c_[rng.uniform(9, 90, (15, 2)), np.ones(15)].ravel().tolist(),
            "score": 0.7,
            "track_id": track,
        }
        for track, f in ((1, 0), (1, 2), (5, 1), (5, 2))
    ]
    (tmp_path / "mine.json").write_text(json.dumps(items))
    options = {"skeleton": "jhmdb15", "weights": weights, "out": tmp_path / "out"}
    done = predict.video(film(tmp_path), tmp_path / "mine.json", method="hanet", **options)
    new = json.loads(done.written["results"].read_text())
    # nothing in frame 1 of track 1
    assert [(r["image_id"], r["track_id"]) for r in new] == [(0, 1), (2, 1), (1, 5), (2, 5)]
    xy = [np.reshape([r["keypoints"] for r in each], (4, 15, 3))[..., :2] for each in (new, items)]
    assert (xy[0] != xy[1]).any(-1).all()
    assert len(list(open_frames(done.written["overlay"]))) == 3


def test_people_are_found_and_estimated_anew_where_no_results_are_given(tmp_path):
    people = read_detections(results(tmp_path))
    asked = []

    def find(frames):
        asked.append(len(frames))
        return people

    options = {"finder": find, "out": tmp_path / "out"}
    done = predict.video(film(tmp_path), method="vissimcc-baseline", **options)
    assert asked == [3] and done.prediction.replaced.all()
    assert done.prediction.method == "vissimcc-baseline"
    np.testing.assert_array_equal(done.prediction.detections.xy_frame, people.xy_frame)
    with pytest.raises(MissingFile, match=r"none\.safetensors: no such weights"):
        predict.video(film(tmp_path), method="hanet", weights="none.safetensors", **options)
    assert asked == [3], "weights that are not there are refused before people are looked for"


def test_hanet_refines_those_joints_of_coco_that_it_knows(tmp_path):
    mine, joints = results(tmp_path), skeleton("coco17").joints
    done = predict.video(film(tmp_path), mine, method="hanet", out=tmp_path / "out")
    face = np.array([joint in joints[:5] for joint in joints])
    assert done.prediction.replaced.any(0).tolist() == (~face).tolist()
    found = done.prediction.detections
    np.testing.assert_array_equal(done.prediction.xy_frame[:, face], found.xy_frame[:, face])
    assert (done.prediction.xy_frame[:, ~face] != found.xy_frame[:, ~face]).any(-1).all()
    words = (
        "hanet knows jhmdb15: neck, belly, head are means of other joints for it; nose, left_eye"
    )
    assert any(note.startswith(words) for note in done.notes)
    people = replace(read_detections(mine), skeleton="h36m17")
    with pytest.raises(MissingFile, match="hanet has none for h36m17"):
        predict.video(film(tmp_path), people, method="hanet", out=tmp_path / "new")


def damaged(folder, names=range(5), bad=2, keep=0.5):
    """A folder of pictures of which one is cut."""
    folder.mkdir()
    for i in names:
        noise = np.random.default_rng(i).integers(100, 255, (81, 103, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.jpg")
    raw = (folder / f"{bad}.jpg").read_bytes()
    (folder / f"{bad}.jpg").write_bytes(raw[: int(keep * len(raw))])
    return folder


@pytest.mark.parametrize("method", ["port", "vissimcc-baseline", "otpose"])
def test_a_damaged_picture_is_refused_before_anything_is_written(tmp_path, method):
    mine, source = results(tmp_path, range(5)), damaged(tmp_path / "pics")
    with pytest.raises(BadFile, match=r"2\.jpg: truncated image"):
        predict.video(source, mine, method=method, out=tmp_path / "out", first_frame=0)
    assert not [*tmp_path.rglob("*_refined*"), *tmp_path.rglob("*_joints*")]


@pytest.mark.parametrize(("bad", "keep"), [(2, 0.5), (0, 0.0), (4, 0.001)])
def test_with_report_a_damaged_picture_is_black_and_named(tmp_path, bad, keep):
    mine, source = results(tmp_path, range(5)), damaged(tmp_path / "pics", bad=bad, keep=keep)
    options = {"out": tmp_path / "out", "on_bad": "report", "first_frame": 0, "force": True}
    done = predict.video(source, mine, delta=0.1, **options)
    assert [error.file for error in done.warnings] == [str(source / f"{bad}.jpg")]
    assert done.notes[-1].endswith(f"because they cannot be decoded: frames {bad}")
    with open_frames(done.written["overlay"]) as shown:
        # beside the people and the legend
        bright = [frame[60:, 90:].mean() > 60 for frame in shown]
    assert bright == [i != bad for i in range(5)]
    assert len(json.loads(done.written["results"].read_text())) == 5
    assert done.prediction.replaced[:, [3, 9]].all(), "PORT looks at no picture"


@pytest.mark.parametrize(("method", "reach"), [("vissimcc-baseline", 0), ("otpose", 2)])
def test_people_of_a_picture_that_cannot_be_read_stay_as_they_were(tmp_path, method, reach):
    n, bad = 7, 1
    mine, source = results(tmp_path, range(n)), damaged(tmp_path / "pics", range(n), bad)
    options = {"out": tmp_path / "out", "on_bad": "report", "first_frame": 0}
    done = predict.video(source, mine, method=method, **options)
    looked = [abs(i - bad) > reach for i in range(n)]
    assert done.prediction.replaced.any(1).tolist() == looked
    found = done.prediction.detections
    moved = (done.prediction.xy_frame != found.xy_frame).any((1, 2))
    assert moved.tolist() == looked


def test_so_many_frames_of_a_camera_are_recorded(tmp_path):
    path = predict.recorded(open_frames(film(tmp_path, n=7)), tmp_path / "camera_0.webm", 5)
    assert len(list(open_frames(path))) == 5


PEAKS = """
import resource
import sys
from workbench import predict

for folder in sys.argv[1:]:
    predict.video(f"{folder}/film.webm", f"{folder}/mine.json", out=f"{folder}/out")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in other units")
def test_memory_stays_flat_whatever_the_length_of_the_video(tmp_path):
    """People are linked, refined and drawn; 2,700 more frames would be 224 MB."""
    picture = np.full((144, 192, 3), 99, np.uint8)
    folders = [tmp_path / str(n) for n in (300, 3000)]
    for folder in folders:
        n = int(folder.name)
        folder.mkdir()
        write_video(folder / "film.webm", repeat(picture, n))
        results(folder, range(0, n, 3))
    command = [sys.executable, "-c", PEAKS, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 40_000, "KiB; of these what is read and written of 900 poses takes 19,000"


def test_records_of_people_are_taken_as_they_are(tmp_path):
    people = replace(read_detections(results(tmp_path)), tracks=np.array([7, 7, 8, 7]))
    done = predict.video(film(tmp_path), people, out=tmp_path / "out", force=True)
    assert done.row()["persons"] == 2
    assert read_detections(done.written["results"]).tracks.tolist() == [7, 7, 8, 7]
    with pytest.raises(BadParameter, match="otpose has no delta"):
        predict.video(film(tmp_path), people, method="otpose", delta=0.5)


@pytest.fixture(scope="module")
def folder_of_models(tmp_path_factory):
    """A detector and a ViTPose of transformers; the latter's weights as if they were fetched."""
    folder = tmp_path_factory.mktemp("models")
    save_detector(folder / "detector")
    save_vitpose(folder / "vitpose_base_simple", peaked())
    return folder


def test_a_finder_and_an_estimator_are_chosen_by_name(folder_of_models, tmp_path, monkeypatch):
    """Our network and transformers' read the same weights in the same boxes."""
    monkeypatch.setenv("WORKBENCH_DATA", str(folder_of_models))
    detector = f"transformers:{folder_of_models / 'detector'}"
    vitpose = f"transformers:{folder_of_models / 'vitpose_base_simple'}"
    source, found = film(tmp_path), {}
    for estimator in ("vitpose_base_simple", vitpose):
        options = {"finder": detector, "estimator": estimator, "out": tmp_path / "out"}
        done = predict.video(source, method="vissimcc-baseline", **options)
        people = done.prediction.detections
        assert people.source == f"{detector}, {estimator}"
        assert people.frames.tolist() == 5 * [0] + 5 * [1] + 5 * [2]
        np.testing.assert_allclose(people.boxes_xyxy[0], [25.5, 20, 76.5, 60], rtol=1e-5)
        assert (people.confidence > 0.3).all() and done.prediction.replaced.all()
        found[estimator] = people
    with open_frames(source) as frames:
        network = predict.load("vissimcc", weights="vitpose_base_simple")
        wanted = network.estimate(frames[1], found["vitpose_base_simple"].boxes_xyxy[5:10])
    got = found["vitpose_base_simple"]
    np.testing.assert_allclose(got.xy_frame[5:10], wanted.xy_frame, rtol=0, atol=1e-3)
    np.testing.assert_allclose(got.confidence[5:10], wanted.confidence, rtol=0, atol=1e-5)
    assert not np.allclose(got.xy_frame, found[vitpose].xy_frame, atol=1e-3)  # mirror, DARK


def test_an_estimator_says_the_joints_of_people_that_another_found(folder_of_models, tmp_path):
    people = read_detections(results(tmp_path))
    estimator = f"transformers:{folder_of_models / 'vitpose_base_simple'}"
    options = {"finder": lambda frames: people, "out": tmp_path / "out"}
    itself, other = (
        predict.video(film(tmp_path), estimator=name, **options).prediction.detections
        for name in ("finder", estimator)
    )
    np.testing.assert_array_equal(itself.xy_frame, people.xy_frame)
    np.testing.assert_array_equal(other.boxes_xyxy, people.boxes_xyxy)
    assert (other.xy_frame != people.xy_frame).any(-1).all()


def test_whoever_finds_people_is_refused_before_the_long_work(folder_of_models, tmp_path):
    detector = f"transformers:{folder_of_models / 'detector'}"
    asked = []
    out = {"out": tmp_path / "out"}
    for options, error, said in (
        ({"finder": detector}, BadParameter, "finds boxes alone.*--estimator"),
        ({"finder": detector, "estimator": "finder"}, BadParameter, "boxes alone.*--estimator"),
        ({"finder": asked.append, "estimator": "vitpose"}, UnknownName, "'vitpose_base_simple'"),
        (
            {"finder": asked.append, "estimator": "torchvision_keypointrcnn"},
            UnknownName,
            "unknown estimator",
        ),
        (
            {"finder": asked.append, "estimator": f"simcc_res50_coco:{tmp_path}"},
            MissingData,
            "workbench data fetch simcc_res50_coco",
        ),
    ):
        with pytest.raises(error, match=said):
            predict.video(film(tmp_path), **options, **out)
    people = read_detections(results(tmp_path))
    for options, said in (
        ({"finder": detector}, "--finder beside --keypoints"),
        ({"estimator": "finder"}, "--estimator beside --keypoints"),
        ({"finder": detector, "estimator": "finder"}, "leave --finder and --estimator out"),
    ):
        with pytest.raises(BadParameter, match=said):
            predict.video(film(tmp_path), people, **options, **out)
    assert not asked and not (tmp_path / "out").exists()


def test_what_is_said_of_shipped_weights_on_real_people_is_what_was_measured():
    """Every number of the sentences is a row's."""
    for method, sentence in own_video.ON_REAL.items():
        if method == "hanet":
            rows = (measured.row("clips_hanet", method=name) for name in ("hanet", "savgol"))
            said = [row.value("sure, moved", 2) for row in rows]
        else:
            file = "real_" + method.partition("-")[0]
            rows = (
                measured.row(file, method=name, subset="all joints")
                for name in (method, "estimator")
            )
            said = [row.value("oks", 0) for row in rows]
        assert re.findall(r"\b\d+(?:\.\d+)?\b", sentence) == said, method
    assert own_video.ON_REAL.keys() == predict.SHIPPED.keys() - {"port"}
    (said,) = own_video.UNSHOWN.values()
    change, low, high = (100 * float(n) for n in re.findall(r"[+-]0\.\d+", said))
    pair = measured.row("port_real", method="port").content["paired"]["oks"]
    rows = [pair["difference"], *pair["interval"]]
    assert rows == pytest.approx([change, low, high], abs=0.06)


def test_a_method_says_what_its_weights_do_on_real_people(tmp_path):
    shown = predict.video(film(tmp_path), results(tmp_path), method="hanet", out=tmp_path / "out")
    assert own_video.ON_REAL["hanet"] in shown.notes
    weights = predict.weights_path("hanet")
    other = {"method": "hanet", "weights": weights, "out": tmp_path / "other"}
    mine = predict.video(tmp_path / "film.webm", tmp_path / "mine.json", **other)
    assert own_video.ON_REAL["hanet"] not in mine.notes
