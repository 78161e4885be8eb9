from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from typer.testing import CliRunner

from workbench.cli import app
from workbench.data.scoring import read_results, score, score_files
from workbench.errors import BadFile, BadParameter, BadRecord, WorkbenchError
from workbench.metrics import STATS
from workbench.records import Detections, Picture, Pose
from workbench.skeletons import skeleton


def person(i, image, *, flag=2, shift=0, **fields):
    """100 px tall, 50 px wide; joints on the diagonal."""
    joints = [v for s in np.linspace(0, 1, 17) for v in (shift + 50 * s, 100 * s, flag)]
    box = {
        "bbox": [shift, 0, 50, 100],
        "area": 2500,
        "iscrowd": 0,
        "num_keypoints": 17 if flag else 0,
    }
    return {"id": i, "image_id": image, "category_id": 1, "keypoints": joints, **box, **fields}


def result(image, score=0.5, *, shift=0, **fields):
    joints = [v for s in np.linspace(0, 1, 17) for v in (shift + 50 * s, 100 * s, 0.9)]
    return {"image_id": image, "category_id": 1, "keypoints": joints, "score": score, **fields}


@pytest.fixture
def files(tmp_path):
    def write(results, people, pictures=(1, 2), **content):
        images = [
            {"id": i, "file_name": f"{i}.jpg"} | (e if type(e) is dict else {})
            for i, e in enumerate(pictures, 1)
        ]
        joints = list(skeleton("coco17").joints)
        content = {"categories": [{"id": 1, "name": "person", "keypoints": joints}], **content}
        content |= {"images": images, "annotations": people}
        for name, value in (
            ("results.json", results),
            ("truth.json", {k: v for k, v in content.items() if v is not None}),
        ):
            (tmp_path / name).write_text(json.dumps(value))
        return tmp_path / "results.json", tmp_path / "truth.json"

    return write


def first(found):
    return found["rows"][0]["metrics"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["coco", "crowdpose"])
def test_the_public_examples_score_as_the_public_evaluator_says(data_root, name):
    folder = data_root / "eval_examples"
    found = score_files(folder / f"{name}_preds.json", folder / f"{name}_gt.json", boxes="detector")
    wanted = json.loads((folder / "reference.json").read_text())[name]
    ours = {key: first(found).get(key) for key in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")}
    if name == "coco":
        sizes = (
            ("AP_medium", "AP_M"),
            ("AP_large", "AP_L"),
            ("AR_medium", "AR_M"),
            ("AR_large", "AR_L"),
        )
        ours |= {theirs: first(found)[key] for theirs, key in sizes}
    else:
        levels = {row["subset"]: row["metrics"]["AP"] for row in found["rows"]}
        ours |= {
            f"AP_{level}": levels[f"{level} (evaluator's edges 0.2, 0.8)"]
            for level in ("easy", "medium", "hard")
        }
    assert ours == pytest.approx(wanted, abs=1e-4)
    assert (
        found["boxes"] == "detector"
        and "boxes: detector" in found["protocol"]
        and not found["warnings"]
    )


def test_rows_say_what_they_are_of(files):
    people = [person(1, 1, flag=1), person(2, 2)]
    found = score_files(*files([result(1), result(2, 0.4, shift=5)], people), boxes="ground truth")
    assert [(row["subset"], row["n"], row["kind"]) for row in found["rows"]] == [
        ("all joints", 2, "measured"),
        ("visible joints", 1, "measured"),
        ("occluded joints", 1, "measured"),
    ]
    assert [row["metrics"]["AP50"] for row in found["rows"]] == pytest.approx([1, 1, 1])
    pck = [
        (key, value)
        for row in found["rows"]
        for key, value in row["metrics"].items()
        if key.startswith("PCK")
    ]
    assert pck == [("PCK-All", 1), ("PCK-Visible", 1), ("PCK-Occluded", 1)]
    assert "boxes: ground truth" in found["protocol"] and "the stated area" in found["protocol"]
    with pytest.raises(BadParameter, match="choose ground truth, detector"):
        score_files(*files([], people), boxes="gt")


def test_crowd_index_by_both_published_edges(files):
    pictures = [{"crowdIndex": c} for c in (0.1, 0.2, 0.8, 3.02)]
    people = [person(i, i) for i in (1, 2, 3, 4)]
    found = score_files(*files([result(1), result(3)], people, pictures))
    rows = {row["subset"]: (row["pictures"], row["metrics"]["AR"]) for row in found["rows"][3:]}
    assert rows == {
        "easy (evaluator's edges 0.2, 0.8)": (1, 1),
        "medium (evaluator's edges 0.2, 0.8)": (1, 0),
        "hard (evaluator's edges 0.2, 0.8)": (2, 0.5),
        "easy (paper's edges 0.1, 0.8)": (0, -1),
        "medium (paper's edges 0.1, 0.8)": (2, 0.5),
        "hard (paper's edges 0.1, 0.8)": (2, 0.5),
    }


def test_unknown_pictures_are_refused_or_reported(files):
    both = files([result(7, 0.9), result("1")], [person(1, 1)])
    with pytest.raises(
        BadRecord, match=r"result 0: image id 7 is not in .*truth.json.*1 of 2 results are bad"
    ):
        score_files(*both)
    found = score_files(*both, on_bad="report")
    assert first(found)["AP"] == pytest.approx(1) and "image id 7" in found["warnings"][0]


def test_other_categories_are_passed_over_and_said(files):
    alone = {k: v for k, v in result(1).items() if k != "category_id"}
    both = files([result(1, 0.9, shift=300, category_id=2), alone], [person(1, 1)])
    found = score_files(*both)
    assert (
        first(found)["AP"] == pytest.approx(1)
        and "1 results of other categories than 1" in found["warnings"][0]
    )
    with pytest.raises(BadFile, match="people of 2 categories"):
        score_files(*files([result(1)], [person(1, 1), person(2, 1, category_id=3)]))


def test_truth_without_joint_names_goes_by_their_number(files):
    for categories in (
        None,
        [{"id": 1, "name": "person", "keypoints": [str(i) for i in range(17)]}],
    ):
        assert first(score_files(*files([result(1)], [person(1, 1)], categories=categories)))[
            "AP"
        ] == pytest.approx(1)
    with pytest.raises(BadFile, match="no list of categories"):
        score_files(*files([], [], categories=None))


def test_stated_num_keypoints_decide_who_counts(files):
    people = [person(1, 1), person(2, 1, shift=300, num_keypoints=0), person(3, 2, flag=0)]
    found = score_files(*files([result(1)], people))
    assert found["rows"][0]["n"] == 1 and first(found)["AR"] == 1
    del people[1]["num_keypoints"]
    assert first(score_files(*files([result(1)], people)))["AR"] == 0.5, (
        "where it is not stated labels decide"
    )


def test_nothing_found_and_nobody_there(files):
    found = score_files(*files([], [person(1, 1)]))
    assert first(found)["AP"] == first(found)["AR"] == first(found)["PCK-All"] == 0
    found = score_files(*files([result(1)], []))
    assert first(found)["AP"] == -1 and "PCK-All" not in first(found)


def test_false_alarms_in_empty_pictures_and_by_size(files):
    big = result(2, 0.9, bbox=[0, 0, 300, 300])
    people = [person(1, 1)]
    half = score_files(*files([big, result(1)], people))
    assert first(half)["AP"] == first(half)["AP_M"] == pytest.approx(0.5), (
        "one result states no box: all by their joints"
    )
    boxed = score_files(*files([big, result(1, bbox=[0, 0, 50, 100])], people))
    assert (first(boxed)["AP"], first(boxed)["AP_M"]) == pytest.approx((0.5, 1))


def test_ties_go_by_image_id_and_position(files):
    """pycocotools walks pictures by id, whatever their order in the file: picture 2's alarm
    comes before picture 10's.
    """
    pictures = [{"id": 10, "file_name": "x"}, {"id": 2, "file_name": "y"}]
    found = score_files(*files([result(10), result(2)], [person(1, 10)], pictures))
    assert first(found)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": None}, "result 0: score is missing"),
        ({"score": "high"}, "result 0: score"),
        ({"keypoints": [1, 2, 3]}, "length 3 (51 expected)"),
        ({"keypoints": [float("nan")] * 51}, "not finite"),
        ({"image_id": None}, "image_id is NoneType"),
    ],
)
def test_bad_results_are_named(files, change, said):
    both = files([result(1) | change, result(1)], [person(1, 1)])
    with pytest.raises(BadRecord) as caught:
        score_files(*both)
    assert said in str(caught.value) and "results.json" in str(caught.value)
    found = score_files(*both, on_bad="report")
    assert first(found)["AP"] == pytest.approx(1) and len(found["warnings"]) == 1


def test_confidences_may_be_anything_finite(files):
    path, _ = files([result(1, 12.5) | {"keypoints": [5, 6, -40] * 17}], [])
    found, bad, stated = read_results(path, "coco17")
    assert found.scores.tolist() == [12.5] and found.images == ("1",) and not bad and not stated
    assert found.boxes_xyxy.tolist() == [[5, 6, 5, 6]]
    path.write_text("{}")
    with pytest.raises(BadFile, match="a list of results expected"):
        read_results(path, "coco17")


def test_missing_areas_are_refused_until_boxes_are_asked_for(files):
    people = [person(1, 1), person(2, 2)]
    del people[1]["area"]
    both = files([result(1)], people)
    with pytest.raises(BadParameter, match='say area="box"'):
        score_files(*both)
    assert "scale 0.53 of the box" in score_files(*both, area="box")["protocol"]


def test_records_whose_occlusion_is_unknown_have_one_row():
    xy = np.linspace(0, 100, 34).reshape(1, 17, 2)
    box = np.array([[0, 0, 100, 100]])
    truth = Pose(
        "coco17", xy, np.full((1, 17), 2), box, occlusion_known=False, images=["a"], areas=[5000]
    )
    found = Detections("coco17", xy, np.ones((1, 17)), box, images=["a"])
    scored = score(truth, found, boxes="ground truth", pictures=[Picture("a"), Picture("b")])
    assert [row["subset"] for row in scored["rows"]] == ["all joints"] and first(scored)[
        "AP"
    ] == pytest.approx(1)
    assert "does not say which joints are occluded" in scored["protocol"]


def test_the_command(files, tmp_path):
    predictions, truth = files([result(1), result(9)], [person(1, 1)])
    options = ["--truth", str(truth), "--boxes", "detector", "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(app, ["score", str(predictions), *options])
    assert isinstance(done.exception, BadRecord) and not (tmp_path / "out.json").exists()
    done = CliRunner().invoke(app, ["score", str(predictions), *options, "--on-bad", "report"])
    assert (
        done.exit_code == 0
        and "boxes: detector" in done.stdout
        and "warning: BadRecord" in done.stdout
    )
    assert json.loads((tmp_path / "out.json").read_text())["rows"][0]["metrics"][
        "AP"
    ] == pytest.approx(1)


def test_flags_of_0_and_1_alone_split_nothing(files):
    people = [person(1, 1, flag=1), person(2, 2, flag=1)]
    people[1]["keypoints"][2] = 0
    found = score_files(*files([result(1), result(2)], people))
    assert [row["subset"] for row in found["rows"]] == ["all joints"]
    assert "does not say which joints are occluded" in found["protocol"]
    assert not {"PCK-Visible", "PCK-Occluded"} & set(first(found)) and first(found)["AP"] > 0.99
    (warning,) = found["warnings"]
    assert "no joint has flag 2, so that 1 may mean labelled" in warning
    people[0]["keypoints"][2] = 2
    assert len(score_files(*files([result(1), result(2)], people))["rows"]) == 3
    joints = list(skeleton("crowdpose14").joints)
    people = [person(1, 1, keypoints=[v for j in range(14) for v in (9 * j, 5, 1)])]
    named = [{"id": 1, "name": "person", "keypoints": joints}]
    found = score_files(*files([], people, categories=named))
    assert len(found["rows"]) == 3 and not found["warnings"], "CrowdPose says what its flags mean"


def test_ids_that_restart_in_every_picture_are_scored(files):
    people = [person(1, 1), person(2, 1, shift=300), person(1, 2), person(2, 2, shift=300)]
    results = [result(i, shift=shift) for i in (1, 2) for shift in (0, 300)]
    found = score_files(*files(results, people))
    assert first(found)["AP"] == pytest.approx(1) and found["rows"][0]["n"] == 4
    (warning,) = found["warnings"]
    assert "annotation 1 of image 1: ids of annotations restart in other images" in warning


# --- predictions that are a data set --------------------------------------------------------------


def as_data_set(results, pictures, **content):
    """Predictions as programs export them, with annotation ids and a category."""
    annotations = [{"id": i, "iscrowd": 0, **result} for i, result in enumerate(results)]
    images = [{"id": i, "file_name": name} for i, name in pictures.items()]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1}], **content}


PEOPLE = [person(1, 1), person(2, 2, shift=40), person(3, 3, shift=80)]
FOUND = [result(1, 0.7), result(2, 0.9, shift=45), result(3, 0.8, shift=500)]


def scored(files, predictions, pictures=(1, 2, 3), people=PEOPLE, **options):
    both = files(predictions, people, pictures)
    return score_files(*both, **options)


def test_a_data_set_scores_as_the_list_that_it_holds(files):
    wanted = scored(files, FOUND)
    assert first(wanted) == {
        k: first(agreed(files(FOUND, PEOPLE, (1, 2, 3))))[k] for k in first(wanted)
    }
    assert 0.2 < first(wanted)["AP"] < 0.6
    same = {1: "1.jpg", 2: "val/2.png", 3: "3.jpg", 4: "nobody.jpg"}
    for pictures in ({}, same):
        assert scored(files, as_data_set(FOUND, pictures)) == wanted
    given = as_data_set(FOUND, same, images=[{"id": 1}, 5])
    assert scored(files, given) == wanted


def test_pictures_that_are_numbered_anew_go_by_name(files):
    wanted = scored(files, FOUND)
    anew = [row | {"image_id": row["image_id"] % 3} for row in FOUND]
    found = scored(files, as_data_set(anew, {1: "1.jpg", 2: "2.jpg", 0: "3.jpg"}))
    (warning,) = found["warnings"]
    assert "1 results have other image ids than the annotations: they go by file_name" in warning
    assert first(found) == first(wanted)
    shifted = [row | {"image_id": row["image_id"] - 1} for row in FOUND]
    named = {i: f"val\\{i + 1}.png" for i in range(3)}
    assert first(scored(files, as_data_set(shifted, named))) == first(wanted)
    studio = {0: "0a1b2c3d-1.jpg", 1: "upload/00000000-2.jpg", 2: "3_jpg.rf.0a1b2c.jpg"}
    assert first(scored(files, as_data_set(shifted, studio))) == first(wanted)


def test_pictures_of_one_name_in_several_folders(files):
    listed = [{"file_name": f"{clip}/000.jpg"} for clip in "abc"]
    wanted = scored(files, FOUND, listed)
    turned = [row | {"image_id": 4 - row["image_id"]} for row in FOUND]
    names = {i: f"images/{clip}/000.jpg" for i, clip in zip((3, 2, 1), "abc")}
    assert first(scored(files, as_data_set(turned, names), listed)) == first(wanted)
    names = dict.fromkeys((1, 2, 3), "000.jpg")
    assert scored(files, as_data_set(FOUND, names), listed) == wanted, "the ids tell them apart"
    moved = [row | {"image_id": row["image_id"] + 10} for row in FOUND]
    names = dict.fromkeys((11, 12, 13), "000.jpg")
    with pytest.raises(BadRecord, match=r"result 0: image id 000\.jpg is not in"):
        scored(files, as_data_set(moved, names), listed)


def test_a_picture_of_another_name_is_refused_or_reported(files):
    given = as_data_set(FOUND, {1: "1.jpg", 2: "2.jpg", 3: "7.jpg"})
    with pytest.raises(BadRecord, match=r"result 2: image id 7.jpg is not in .*1 of 3 results"):
        scored(files, given)
    found = scored(files, given, on_bad="report")
    assert first(found) == first(scored(files, FOUND[:2])) and len(found["warnings"]) == 2


def test_data_sets_that_are_no_predictions_are_refused(files):
    truth = as_data_set(PEOPLE, {1: "1.jpg"})
    said = r"results\.json: holds annotations without a score.*a score in each"
    with pytest.raises(BadFile, match=said):
        scored(files, truth)
    one = as_data_set([FOUND[0], {k: v for k, v in FOUND[1].items() if k != "score"}], {})
    with pytest.raises(BadRecord, match="result 1: score is missing"):
        scored(files, one)
    other = as_data_set([row | {"category_id": 0} for row in FOUND], {1: "1.jpg"})
    with pytest.raises(BadFile, match="result 0: category_id is 0, that of the annotations is 1"):
        scored(files, other)


def test_scores_of_joints_alone_are_averaged_and_said(files):
    rows = [row | {"scores": [row["score"]] * 17} for row in FOUND]
    rows = [{k: v for k, v in row.items() if k != "score"} for row in rows]
    found = scored(files, as_data_set(rows, {}))
    assert first(found) == pytest.approx(first(scored(files, FOUND)))
    assert "3 people state scores of joints alone" in found["warnings"][0]


# --- against pycocotools, on the same files -------------------------------------------------------


def theirs(results, truth, name="coco17"):
    """pycocotools' numbers for person, category 1; CrowdPose's areas are 0.53 of the box and not
    told apart.
    """
    content, crowdpose = json.loads(truth.read_text()), name == "crowdpose14"
    for person in content["annotations"] if crowdpose else ():
        person["area"] = person["bbox"][2] * person["bbox"][3] * 0.53
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(str(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas, evaluation.params.catIds = (
            np.array(skeleton(name).oks_sigmas),
            [1],
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {key: v for key, v in zip(STATS, evaluation.stats) if not (crowdpose and key[-2] == "_")}


def agreed(both, name="coco17", **options):
    """`score_files`, whose numbers are pycocotools'."""
    found = score_files(*both, **options)
    assert {key: first(found)[key] for key in theirs(*both, name)} == pytest.approx(
        theirs(*both, name), abs=1e-9
    )
    return found


def test_pictures_need_only_ids(files):
    pictures = [{"file_name": None, "width": 0, "height": 0}, {"file_name": 5, "vid_id": []}]
    found = agreed(files([result(1), result(2, 0.9)], [person(1, 1)], pictures))
    assert first(found)["AP"] == pytest.approx(0.5) and not found["warnings"]
    both = files([result(1)], [person(1, 1)])
    both[1].write_text(
        json.dumps(json.loads(both[1].read_text()) | {"images": [{"id": 1}, {"id": 2}, {}]})
    )
    with pytest.raises(BadRecord, match=r"images\[2\]: id is NoneType"):
        score_files(*both)
    found = score_files(*both, on_bad="report")
    assert first(found)["AP"] == pytest.approx(1) and len(found["warnings"]) == 1


FLAT = ([5, 5, 0, 0], [5, 5, 0, 9])


@pytest.mark.parametrize("box", FLAT)
@pytest.mark.parametrize("fields", [{"flag": 0}, {"num_keypoints": 0}, {"iscrowd": 1}, {}])
def test_boxes_without_area_are_kept_where_they_decide_nothing(files, box, fields):
    people = [person(1, 1), person(2, 2, **fields, bbox=box)]
    both = files([result(1), result(2, 0.9), result(2, 0.8, shift=300)], people)
    found = agreed(both)
    assert (
        "annotation 2: bbox [5.0, 5.0, 0.0" in found["warnings"][0] and first(found)["PCK-All"] == 1
    )
    if fields:
        assert len(score_files(*both, area="box")["warnings"]) == len(found["warnings"])
        return
    with pytest.raises(
        BadRecord, match="annotation 2: bbox has no area, and OKS takes its scale from it"
    ):
        score_files(*both, area="box")
    found = score_files(*both, area="box", on_bad="report")
    assert found["rows"][0]["n"] == 1 and len(found["warnings"]) == 2
    with pytest.raises(BadRecord, match="annotation 2: bbox width <= 0: -1"):
        score_files(*files([result(1)], [person(1, 1), person(2, 2, bbox=[5, 5, -1, 0])]))


def test_annotations_of_other_categories_are_passed_over(files):
    joints = list(skeleton("coco17").joints)
    categories = [{"id": 2, "name": "car"}, {"id": 1, "name": "person", "keypoints": joints}]
    car = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
    people = [car, person(2, 1), person(3, 2, category_id=2, shift=50)]
    found = agreed(files([result(1), result(2, 0.9, shift=50)], people, categories=categories))
    assert first(found)["AP"] == pytest.approx(0.5) and found["rows"][0]["n"] == 1
    assert "2 annotations of other categories than the one with joints" in found["warnings"][0]
    both = files([result(1)], [car, person(2, 1)], categories=None)
    assert first(score_files(*both))["AP"] == pytest.approx(1), (
        "no names: the category that has joints"
    )
    found = score_files(
        *files([result(1)], [car, car | {"id": 2}, person(2, 1)], categories=categories),
        on_bad="report",
    )
    assert "duplicate annotation id" in found["warnings"][0] and found["rows"][0]["n"] == 0
    both = files([result(1)], [car | {"category_id": 1}, person(2, 1)], categories=categories)
    with pytest.raises(BadRecord, match="annotation 1: keypoints is missing"):
        score_files(*both)


@pytest.mark.parametrize("flag", [3, 0.5, -1])
def test_flags_above_0_are_labelled(files, flag):
    some = person(1, 1)
    some["keypoints"][2:9:3] = [flag] * 3
    wrong = result(1)
    wrong["keypoints"][:9] = [400] * 9
    found = agreed(files([wrong], [some]))
    assert "annotation 1: 1 annotations have visibility flags other than" in found["warnings"][0]
    assert found["rows"][1]["n"] == 1 and (first(found)["PCK-All"] == 1) == (flag < 0)


def test_joints_without_a_label_may_be_nowhere(files):
    some = person(1, 1)
    some["keypoints"][:3], some["keypoints"][3:6] = [float("nan"), 5, 0], [1e39, 5, 0]
    found = agreed(files([result(1)], [some]))
    assert first(found)["AP"] == pytest.approx(1) and "joints nowhere" in found["warnings"][0]
    some["keypoints"][2] = 1
    with pytest.raises(
        BadRecord, match="annotation 1: keypoints has a value that is not finite at 0"
    ):
        score_files(*files([result(1)], [some]))


def without_joints(i, image, *, shift=0, **fields):
    """Somebody with a box and no joint, as CVAT and converters write."""
    return person(i, image, shift=shift) | {"keypoints": [], "num_keypoints": 0, **fields}


@pytest.mark.parametrize("on_bad", ["raise", "report"])
@pytest.mark.parametrize("shift", [0, 300])
def test_who_states_no_joints_is_ignored_with_what_lies_in_the_box(files, shift, on_bad):
    """Whoever finds the person without joints is no false alarm, and nobody is missed there."""
    people = [person(1, 1), without_joints(2, 2, shift=300)]
    both = files([result(1, 0.5), result(2, 0.9, shift=shift)], people)
    found = agreed(both, on_bad=on_bad)
    assert first(found)["AP"] == pytest.approx(0.5 if shift == 0 else 1)
    assert found["rows"][0]["n"] == 1 and not found["warnings"]
    zeros = person(2, 2, shift=300, flag=0) | {"keypoints": [0] * 51}
    both = files([result(1, 0.5), result(2, 0.9, shift=shift)], [person(1, 1), zeros])
    assert first(agreed(both)) == first(found), "as where all joints are 0, 0, 0"


def test_who_has_no_keypoints_at_all_needs_num_keypoints_0(files):
    """pycocotools fails at these: values by hand, as of an empty list."""
    results = [result(1, 0.5), result(2, 0.9, shift=300)]
    for keypoints in ({}, {"keypoints": None}):
        bare = without_joints(2, 2, shift=300)
        del bare["keypoints"]
        both = files(results, [person(1, 1), bare | keypoints])
        assert first(score_files(*both))["AP"] == pytest.approx(1)
        both = files(results, [person(1, 1), bare | keypoints | {"num_keypoints": 3}])
        with pytest.raises(BadRecord, match="annotation 2: keypoints is missing"):
            score_files(*both)
    listless = without_joints(2, 2, shift=300)
    del listless["num_keypoints"]
    assert first(score_files(*files(results, [person(1, 1), listless])))["AP"] == pytest.approx(1)
    with pytest.raises(BadRecord, match="annotation 2: bbox is missing"):
        score_files(*files(results, [person(1, 1), without_joints(2, 2, bbox=None)]))


def test_an_empty_list_counts_where_num_keypoints_says_so(files):
    """As pycocotools: a person who is found by whatever lies around the box."""
    counted = without_joints(2, 2, num_keypoints=4)
    found = agreed(files([result(1), result(2, 0.9, shift=400)], [person(1, 1), counted]))
    assert found["rows"][0]["n"] == 2 and "num_keypoints above 0" in found["warnings"][0]


@pytest.mark.parametrize(
    ("fields", "counts", "said"),
    [
        ({"flag": 0, "num_keypoints": 4}, 2, "state num_keypoints above 0 although no joint"),
        ({"num_keypoints": 0}, 1, "state num_keypoints 0 although joints are labelled"),
        ({"num_keypoints": 0.0, "flag": 0}, 1, None),
    ],
)
@pytest.mark.parametrize("shift", [60, 900])
def test_stated_num_keypoints_outdo_flags(files, fields, counts, said, shift):
    """A person without flags who counts is found by whatever lies around the box, and missed by
    the rest.
    """
    found = agreed(
        files([result(1), result(2, 0.9, shift=shift)], [person(1, 1), person(2, 2, **fields)])
    )
    assert found["rows"][0]["n"] == counts and [said in w for w in found["warnings"]] == (
        [True] if said else []
    )


def test_ids_may_be_integral_floats(files):
    people = [person(1.0, 1.0, category_id=1.0), person(2, 2.0)]
    both = files([result(1.0), result(2, 0.9)], people, ({"id": 1.0}, {"id": 2}))
    found = agreed(both)
    assert first(found)["AP"] == pytest.approx(1) and not found["warnings"]
    with pytest.raises(BadRecord, match="image_id is float"):
        score_files(*files([result(1.5)], people))
    with pytest.raises(BadRecord, match="annotation 1: category_id is list"):
        score_files(*files([result(1)], [person(1, 1, category_id=[1])]))


def test_scores_that_differ_in_the_eighth_place_are_no_ties(files):
    both = files([result(1, 0.9, shift=900), result(1, 0.9 + 1e-9)], [person(1, 1)])
    assert first(agreed(both))["AP"] == pytest.approx(1)
    assert first(agreed(files([result(1, shift=900), result(1)], [person(1, 1)])))[
        "AP"
    ] == pytest.approx(0.5)


def test_pictures_are_walked_in_the_order_of_pycocotools(files):
    for a, b in ((-1, 2), (10, 2), ("10", "2")):
        both = files([result(a), result(b)], [person(1, a)], ({"id": a}, {"id": b}))
        assert first(agreed(both))["AP"] == pytest.approx(1 if a in (-1, "10") else 0.5)


def test_people_in_pictures_that_are_not_listed_are_passed_over(files):
    found = agreed(files([result(1)], [person(1, 1), person(2, 7)]))
    assert (
        first(found)["AR"] == 1
        and "annotation 2: 1 people in pictures that are not listed" in found["warnings"][0]
    )


def test_annotation_0_is_a_person(files):
    both = files([result(1)], [person(0, 1)])
    found = score_files(*both)
    assert (
        first(found)["AP"] == pytest.approx(1)
        and "annotation 0: pycocotools takes" in found["warnings"][0]
    )
    assert theirs(*both)["AP"] == 0, "its matches are ids, and 0 stands for none"


def test_sizes_of_false_alarms_go_by_all_results(files):
    """pycocotools asks the first result of the file for a box, also one of another category."""
    car = result(1, 0.9, category_id=2)
    found = agreed(
        files(
            [car, result(1, bbox=[0, 0, 50, 100]), result(2, 0.9, bbox=[0, 0, 300, 300])],
            [person(1, 1)],
        )
    )
    assert first(found)["AP_M"] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(36))
def test_random_files_score_as_in_pycocotools(files, seed):
    """Several people, crowds, ties, crowded and empty pictures, other categories, boxes or none,
    odd records, no results.
    """
    rng, name = np.random.default_rng(seed), ("coco17", "crowdpose14")[seed % 3 == 2]
    joint_set, boxed = skeleton(name), bool(seed % 2)
    k, pictures, people, results = (
        len(joint_set),
        rng.permutation(rng.choice(50, 6, replace=False)),
        [],
        [],
    )
    categories = [
        {"id": 1, "name": "person", "keypoints": list(joint_set.joints)},
        {"id": 2, "name": "car"},
    ]
    for i in range(rng.integers(0, 15)):
        corner, size = rng.uniform(0, 300, 2), rng.uniform(20, 200, 2) * rng.choice([1, 1, 2])
        xy = corner + rng.random((k, 2)) * size
        flags = rng.choice([0, 1, 2], k) * (rng.random() < 0.85)
        stated = int((flags[:12] if name == "crowdpose14" else flags > 0).sum()) * int(
            rng.random() < 0.9
        )
        person = {
            "id": i + 1,
            "image_id": int(rng.choice(pictures[:4])),
            "category_id": 1 + int(rng.random() < 0.1),
            "keypoints": np.column_stack((xy * (flags > 0)[:, None], flags)).ravel().tolist(),
            "num_keypoints": stated,
            "bbox": [*corner, *(size * (rng.random() < 0.9 or name == "crowdpose14"))],
            "area": size.prod() * 0.6,
            "iscrowd": int(rng.random() < 0.15),
        }
        people.append(person | ({"num_keypoints": 3} if rng.random() < 0.1 else {}))
        for _ in range(rng.choice([0, 1, 2, 25], p=[0.3, 0.4, 0.25, 0.05])):
            found = (
                xy + rng.normal(size=(k, 2)) * rng.choice([0.5, 4, 60]) * np.sqrt(size.prod()) / 100
            )
            triples = np.column_stack((found, rng.random(k))).ravel().tolist()
            box = {"bbox": [*found.min(0), *np.ptp(found, 0) * 1.2]} if boxed else {}
            score = float(rng.integers(0, 6) / 5 if rng.random() < 0.7 else rng.normal())
            results.append(person | {"keypoints": triples, "score": score, "bbox": None} | box)
    wanted = ("image_id", "category_id", "keypoints", "score", *(("bbox",) if boxed else ()))
    results += [results[0] | {"image_id": int(pictures[5])}] if results else []
    results = [{key: results[i][key] for key in wanted} for i in rng.permutation(len(results))]
    both = files(
        results,
        people,
        [{"id": int(i), "file_name": f"{i}"} for i in pictures],
        categories=categories,
    )
    if results:
        agreed(both, name)
    else:
        assert first(score_files(*both))["AR"] in (0, -1)


ODD = [None, True, -1, 0.5, 10**400, 1e39, float("nan"), "", "x", [], [[]], {}, [None] * 51]
KEYS = ("id", "image_id", "category_id", "keypoints", "bbox", "area", "iscrowd", "num_keypoints")


@pytest.mark.parametrize("key", KEYS)
def test_any_value_in_any_field_ends_as_a_named_error_or_a_score(files, key):
    for value in ODD:
        both = files([result(1)], [person(1, 1), person(2, 2) | {key: value}])
        try:
            found = score_files(*both, on_bad="report")
        except WorkbenchError:
            continue
        assert -1 <= first(found)["AP"] <= 1


@pytest.mark.parametrize(
    "place", ["image_id", "category_id", "keypoints", "score", "scores", "bbox", "id", "file_name"]
)
def test_any_value_in_predictions_ends_as_a_named_error_or_a_score(files, place):
    for value in (*ODD, [1.5] * 17, [10**400] * 17):
        given = as_data_set(FOUND, {1: "1.jpg", 2: "2.jpg", 3: "3.jpg"})
        given["images" if place in ("id", "file_name") else "annotations"][1][place] = value
        try:
            found = scored(files, given, on_bad="report")
        except WorkbenchError:
            continue
        assert -1 <= first(found)["AP"] <= 1


@pytest.mark.realdata
def test_posetrack_s_own_score_where_heads_are_known(data_root, tmp_path):
    """Perfect joints score 100 %, joints far away nothing."""
    path = data_root / "mmpose_samples/posetrack18/annotations/test_posetrack18_val.json"
    people = json.loads(path.read_text())["annotations"]
    shown = [a for a in people if a["bbox_head"][2] > 0 and any(a["keypoints"][2::3])]

    def scored(move):
        results = [
            {
                "image_id": a["image_id"],
                "category_id": 1,
                "score": 0.5,
                "keypoints": move(np.reshape(a["keypoints"], (-1, 3))),
            }
            for a in shown
        ]
        (tmp_path / "results.json").write_text(json.dumps(results))
        found = score_files(tmp_path / "results.json", path, area="box")
        return {
            k: v for k, v in found["rows"][0]["metrics"].items() if k.startswith("PoseTrack")
        }, found["protocol"]

    def sure(joints):
        return (
            np.column_stack((joints[:, :2], joints[:, 2] > 0)).ravel().tolist()
        )  # a sure joint that nobody labelled is wrong

    whole, told = scored(sure)
    assert set(whole) == {
        f"PoseTrack AP-{n}" for n in "Head Shoulder Elbow Wrist Hip Knee Ankle Mean".split()
    }
    assert whole == pytest.approx(dict.fromkeys(whole, 1.0)) and "half a head size" in told
    assert all(
        v == 0 for v in scored(lambda joints: sure(joints + np.array([1e5, 0, 0])))[0].values()
    )
