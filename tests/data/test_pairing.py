"""Truth and a detector's results, row by row, from made files of both."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.data.test_h36m import h36m  # noqa: F401  a fixture
from workbench.data.pairing import in_order_of, read_pairs
from workbench.errors import BadFile, BadParameter, BadRecord
from workbench.made.hands import sample_hands
from workbench.skeletons import RHD_FROM_HAND21, skeleton


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def truth_of(xy, images, skeleton_name="hand21", ids=None):
    """COCO's layout: a person each in these pictures."""
    joints = list(skeleton(skeleton_name).joints)
    names = [*dict.fromkeys(images)]
    annotations = []
    for i, (points, image) in enumerate(zip(xy.tolist(), images)):
        keypoints = [value for x, y in points for value in (x, y, 2)]
        low, size = np.min(points, 0), np.ptp(points, axis=0)
        fields = {"id": 70 + i, "image_id": 30 + names.index(image), "category_id": 1}
        box = {"bbox": [*low.tolist(), *size.tolist()], "area": 4000.0, "iscrowd": 0}
        annotations.append(fields | box | {"keypoints": keypoints})
    pictures = [{"id": 30 + i, "file_name": name} for i, name in enumerate(names)]
    category = [{"id": 1, "name": "hand", "keypoints": joints}]
    return {"images": pictures, "annotations": annotations, "categories": category}


def results_of(xy, images, **fields):
    """COCO results; fields: a list each, one value a result."""
    found = []
    for i, (points, image) in enumerate(zip(xy.tolist(), images)):
        keypoints = [value for x, y in points for value in (x, y, 0.5)]
        stated = {"image_id": image, "category_id": 1, "score": 0.5, "keypoints": keypoints}
        found.append(stated | {key: values[i] for key, values in fields.items()})
    return found


NAMES = ["a/left/0001.jpg", "a/right/0001.jpg", "b/0003.jpg"]


@pytest.fixture
def hands():
    """Three hands, 300 px from each other; px."""
    xy = sample_hands(3, np.random.default_rng(5)).xy_frame.astype(np.float64)
    return xy + 300 * np.arange(3)[:, None, None]


@pytest.fixture
def truth(tmp_path, hands):
    return write(tmp_path / "truth.json", truth_of(hands, NAMES))


@pytest.mark.parametrize(
    "images",
    [
        [32, 31, 30],
        ["b/0003.jpg", "a/right/0001.jpg", "a/left/0001.jpg"],
        ["/data/x/b/0003.png", "/data/x/a/right/0001.png", "other/left/0001.jpg"],
    ],
    ids=["by the pictures' ids", "by their names", "by the ends of their names"],
)
def test_results_find_their_picture(tmp_path, hands, truth, images):
    file = write(tmp_path / "results.json", results_of(hands[::-1] + 2, images))
    pairs = read_pairs(truth, file)
    np.testing.assert_allclose(pairs.detections.xy_frame, pairs.truth.xy_frame + 2, atol=1e-3)
    assert pairs.truth.images == tuple(NAMES) and pairs.notes == ()


def test_results_of_other_pictures_are_named(tmp_path, hands, truth):
    file = write(tmp_path / "results.json", results_of(hands, [30, 31, 99]))
    with pytest.raises(BadRecord, match="picture 99: 1 of 3 results are of pictures that the tru"):
        read_pairs(truth, file)
    # two pictures end in this name
    file = write(tmp_path / "results.json", results_of(hands[:1], ["0001.jpg"]))
    with pytest.raises(BadRecord, match=r"picture 0001\.jpg"):
        read_pairs(truth, file)


def test_who_has_no_pair_is_said(tmp_path, hands):
    unlabelled = truth_of(hands, NAMES)
    unlabelled["annotations"][0] |= {"keypoints": [0] * 63, "num_keypoints": 0}
    truth = write(tmp_path / "truth.json", unlabelled)
    file = write(tmp_path / "results.json", results_of(hands[:2], [30, 31]))
    pairs = read_pairs(truth, file)
    assert pairs.truth.ids == ("71",) and pairs.detections.images == (NAMES[1],)
    assert pairs.notes == ("1 people without a result left out", "1 results of nobody left out")
    file = write(tmp_path / "results.json", results_of(hands[:1], [30]))
    with pytest.raises(BadRecord, match="not one result is of a person"):
        read_pairs(truth, file)


def test_crowds_are_nobody(tmp_path, hands):
    crowded = truth_of(hands, NAMES)
    crowded["annotations"][2]["iscrowd"] = 1
    truth = write(tmp_path / "truth.json", crowded)
    file = write(tmp_path / "results.json", results_of(hands, NAMES))
    pairs = read_pairs(truth, file)
    assert pairs.truth.ids == ("70", "71") and pairs.notes == ("1 results of nobody left out",)
    by_person = results_of(hands, NAMES, annotation_id=[72, 71, 70])
    by_person = read_pairs(truth, write(tmp_path / "results.json", by_person))
    assert by_person.truth.ids == ("71", "70") and by_person.notes == pairs.notes


def test_several_people_without_oks_cannot_be_told_apart(tmp_path, hands):
    bodies = hands[:, :17]
    truth = write(tmp_path / "truth.json", truth_of(bodies, ["a.jpg"] * 2 + ["b.jpg"], "h36m17"))
    file = write(tmp_path / "results.json", results_of(bodies, ["b.jpg"] * 3))
    with pytest.raises(BadRecord, match=r"picture a\.jpg: several people or results, and h36m17 h"):
        read_pairs(truth, file)
    ids = results_of(bodies, ["b.jpg"] * 3, annotation_id=[70, 71, 72])
    assert len(read_pairs(truth, write(tmp_path / "results.json", ids)).truth) == 3


def test_of_several_people_the_nearest_are_paired(tmp_path, hands):
    images = ["one.jpg"] * 3
    truth = write(tmp_path / "truth.json", truth_of(hands, images))
    far = np.full((1, 21, 2), 5000.0)
    said = np.concatenate((far, hands[[1, 2, 0]] + 1))
    file = write(tmp_path / "results.json", results_of(said, ["one.jpg"] * 4))
    pairs = read_pairs(truth, file)
    np.testing.assert_allclose(pairs.detections.xy_frame, hands + 1, atol=1e-3)
    assert pairs.notes == ("1 results of nobody left out",)


def test_people_are_found_by_their_annotation(tmp_path, hands, truth):
    def results(*ids):
        file = results_of(hands[: len(ids)], [30] * len(ids), annotation_id=ids)
        return write(tmp_path / "results.json", file)

    pairs = read_pairs(truth, results(72, 70))
    assert pairs.truth.ids == ("72", "70"), "whatever picture they state, in their order"
    np.testing.assert_allclose(pairs.detections.xy_frame, hands[:2], atol=1e-3)
    with pytest.raises(BadRecord, match="annotation_id 99: 1 results whose annotation_id is no p"):
        read_pairs(truth, results(70, 99))
    with pytest.raises(BadRecord, match=r"annotation_id 70: 2 results .* stands twice"):
        read_pairs(truth, results(70, 70))
    with pytest.raises(BadRecord, match="no person's"):
        read_pairs(truth, results(70, None))


def test_joints_of_another_order_are_put_in_the_truth_s(tmp_path, hands):
    tips_first = hands[:, list(RHD_FROM_HAND21)]
    content = truth_of(tips_first, NAMES, "hand21_rhd")
    truth = write(tmp_path / "truth.json", content)
    file = write(tmp_path / "results.json", results_of(hands, NAMES))
    pairs = read_pairs(truth, file, skeleton="hand21")
    assert pairs.detections.skeleton == pairs.truth.skeleton == "hand21_rhd"
    np.testing.assert_allclose(pairs.detections.xy_frame, tips_first, atol=1e-3)
    as_truth = read_pairs(truth, file).detections
    np.testing.assert_allclose(as_truth.xy_frame, hands, atol=1e-3)
    back = in_order_of(pairs.truth, "hand21")
    np.testing.assert_allclose(back.xy_frame, hands, atol=1e-3)
    assert in_order_of(back, "hand21") is back
    with pytest.raises(BadRecord, match="joints of hand21, those of coco17 expected"):
        in_order_of(back, "coco17")


def test_truth_alone_asks_for_detections(tmp_path, hands, truth):
    with pytest.raises(BadParameter, match="--detections FILE"):
        read_pairs(truth)
    file = write(tmp_path / "results.json", results_of(hands, NAMES))
    with pytest.raises(BadFile, match="holds no people"):
        read_pairs(file, file)
    with pytest.raises(BadRecord, match="keypoints has length 63"):
        other = truth_of(hands[:, :17], NAMES, "coco17")
        read_pairs(write(tmp_path / "bodies.json", other), file)


def test_a_set_may_bring_its_own_detections(h36m):  # noqa: F811
    pairs = read_pairs(h36m)
    apart = pairs.detections.xy_frame - pairs.truth.xy_frame
    np.testing.assert_allclose(apart, np.tile([2.0, 0], (2, 17, 1)), atol=1e-3)
    assert pairs.truth.groups == ("S9_Walking_1", "S11_Eating")


def test_hands_of_clips_are_found_frame_by_frame(tmp_path):
    """First-person hands: the truth in world mm, one file a clip."""
    folder = tmp_path / "Hand_pose_annotation_v1_1" / "Subject_1" / "open" / "1"
    folder.mkdir(parents=True)
    world = np.zeros((2, 21, 3)) + [20.0, 10, 400] + np.arange(21)[:, None] * [3, 2, 0]
    lines = [" ".join(map(str, [i, *frame.ravel()])) for i, frame in enumerate(world)]
    (folder / "skeleton.txt").write_text("\n".join(lines))
    images = [f"video/Subject_1/open/1/color/color_000{i}.jpeg" for i in (1, 0)]
    said = np.stack([np.full((21, 2), 9.0), np.full((21, 2), 7.0)])
    file = write(tmp_path / "results.json", results_of(said, images))
    pairs = read_pairs(tmp_path, file)
    assert pairs.truth.groups == ("Subject_1/open/1",) * 2
    assert pairs.detections.xy_frame[:, 0, 0].tolist() == [7, 9]
    assert pairs.truth.images[0].endswith("open/1/color/color_0000.jpeg")
