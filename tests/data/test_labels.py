"""Files of sparse labels: the frame of every image, the person of every pose, and back again."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.sparse import K, film, labelled, labels, moving, new, pictures, read, texture
from workbench import propagate
from workbench.data.coco import read_coco
from workbench.data.labels import check_places, open_labelled, read_labels, write_propagated
from workbench.errors import BadFile, BadParameter, BadRecord, Taken
from workbench.outputs import free_name
from workbench.skeletons import skeleton


@pytest.fixture
def video(tmp_path):
    return pictures(tmp_path / "clip")


def carried(source, content, *, max_gap=None, **options):
    """What is written, and the labels that were read."""
    given = read(source, content, **options)
    found = propagate.propagate(given.clip, source, max_gap=max_gap)
    out = free_name(source.parent / "out.json")
    return json.loads(write_propagated(out, given, found).read_text()), given


def corrected(made):
    """The file with every carried pose turned into a label."""
    return made | {
        "annotations": [
            {k: v for k, v in a.items() if k != "propagated"} for a in made["annotations"]
        ]
    }


def test_a_file_comes_back_with_the_poses_between_and_nothing_else_changed(video):
    folder, xy = video
    content = labels(xy, (0, 4, 8))
    content["images"].append({"id": "seen", "file_name": "clip/000002.jpg", "mine": 1})
    made, given = carried(folder, content)
    assert given.frames == {"10": 0, "14": 4, "18": 8, "seen": 2}
    assert (
        made["annotations"][:3] == content["annotations"]
        and made["images"][:4] == content["images"]
    )
    assert made["info"] == content["info"] and made["categories"] == content["categories"]
    rows = made["annotations"][3:]
    assert len(rows) == 6 and all(
        a["propagated"] and a["track_id"] == 4 and a["category_id"] == 5 for a in rows
    )
    assert [a["between"] for a in rows] == [[0, 4]] * 3 + [[4, 8]] * 3 and rows[0]["score"] == 1
    ids = [a["id"] for a in made["annotations"]]
    assert len(set(ids)) == 9 and len({str(i["id"]) for i in made["images"]}) == 9
    frame_of = {str(i["id"]): int(i["file_name"][-10:-4]) for i in made["images"]}
    assert [frame_of[str(a["image_id"])] for a in rows] == [1, 2, 3, 5, 6, 7] and rows[1][
        "image_id"
    ] == "seen"
    np.testing.assert_allclose(np.reshape(rows[1]["keypoints"], (K, 3))[:, :2], xy[2], atol=0.02)
    assert labelled(read(folder, corrected(made))) == {4: list(range(9))}


def test_what_was_carried_is_no_label_until_its_mark_is_removed(video):
    folder, xy = video
    made, _ = carried(folder, labels(xy, (0, 8)))
    given = read(folder, made)
    assert labelled(given) == {4: [0, 8]} and "7 poses that were carried earlier" in " ".join(
        given.notes
    )
    assert carried(folder, made)[0] == made, "a rerun makes the same"
    mended = made["annotations"][5]
    mended["propagated"] = False
    mended["keypoints"][0] += 40
    again, given = carried(folder, made)
    frame = given.frames[str(mended["image_id"])]
    assert (
        labelled(given) == {4: [0, frame, 8]}
        and len(new(again)) == 6
        and mended in again["annotations"]
    )


@pytest.mark.parametrize("joints", ["posetrack15", "coco17"])
def test_flags_of_a_carried_joint_are_the_lower_of_its_labels_in_the_file(video, joints):
    folder, xy = video
    content = labels(xy, (0, 8))
    content["categories"][0]["keypoints"] = list(skeleton(joints).joints)
    for a, flags in zip(content["annotations"], ((2, 1, 0, 0, 0), (1, 2, 2, 0, 1))):
        a["keypoints"] += [50, 40, 2] * (len(skeleton(joints)) - K)
        a["keypoints"][2:15:3] = flags
        a["keypoints"][9:11] = 0, 0
    made, _ = carried(folder, content)
    points = np.reshape(new(made)[0]["keypoints"], (-1, 3))
    # PoseTrack labels what has coordinates, also with flag 0
    assert points[:5, 2].tolist() == (
        [1, 1, 0, 0, 0] if joints == "posetrack15" else [1, 1, 2, 0, 1]
    )
    assert points[:, :2].any(1).tolist() == [True] * 3 + [False] + [True] * (len(points) - 4)
    assert new(made)[0]["num_keypoints"] == (points[:, 2] > 0).sum()


@pytest.mark.parametrize("how", ["frame_id", "counted from 1", "numbers in names"])
def test_images_find_their_frames(tmp_path, how):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    at = {"frame_id": (0, 4, 8), "counted from 1": (0, 4, 8), "numbers in names": (0, 3)}[how]
    name = {"frame_id": lambda i: "x.jpg", "counted from 1": lambda i: f"f{i + 1}.jpg"}.get(
        how, lambda i: f"a7_{i:02d}.png"
    )
    given = read(
        source,
        labels(xy, at, file_name=name, **({"frame_id": lambda i: i} if how == "frame_id" else {})),
    )
    assert tuple(given.frames.values()) == at and labelled(given) == {4: list(at)}


@pytest.mark.parametrize("field", ["file_name", "frame_id"])
def test_a_first_frame_that_nothing_proves_is_asked_for(tmp_path, field):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    fields = {"file_name": lambda i: f"f{i + 1}.jpg", "frame_id": lambda i: i + 1}
    fields = fields if field == "frame_id" else {"file_name": fields["file_name"]}
    content = labels(xy, (0, 3, 6), **fields)
    both = r"--first-frame 0 \(f1.jpg is frame 1, f7.jpg is frame 7, of frames 0 to 8\) or "
    both += r"--first-frame 1 \(f1.jpg is frame 0, f7.jpg is frame 6\)"
    with pytest.raises(BadParameter, match=both):
        read(source, content)
    with pytest.raises(BadParameter, match=both):
        read(source, content, on_bad="report")
    assert labelled(read(source, content, first_frame=0)) == {4: [1, 4, 7]}
    given = read(source, content, first_frame=1)
    assert labelled(given) == {4: [0, 3, 6]}
    taken = "taken: f1.jpg as frame 0, f7.jpg as frame 6 (the video has frames 0 to 8)"
    assert given.notes == (taken,)


def test_an_image_that_no_first_frame_makes_one_of_the_video_is_named(tmp_path):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    other = r"image 10 \(f0\.jpg\): belongs to no frame.*numbered 1 to 9.*--first-frame"
    with pytest.raises(BadRecord, match=other):
        read(source, labels(xy, (0, 8), file_name=lambda i: f"f{i}.jpg"), first_frame=1)
    with pytest.raises(BadRecord, match=r"image 12 \(f102\.jpg\): belongs to no frame"):
        read(source, labels(xy, (2, 5), file_name=lambda i: f"f{i + 100}.jpg"))


NUMBERS = {
    "a date before": (lambda i: f"2024-05-17-{i:03d}.png", "2024-05-17-001.png"),
    "a view behind": (lambda i: f"{i:06d}_view3.jpg", "000001_view3.jpg"),
}


@pytest.mark.parametrize("how", NUMBERS)
def test_the_number_of_a_frame_is_the_one_that_changes(tmp_path, how):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    name, second = NUMBERS[how]
    made, given = carried(source, labels(xy, (0, 3, 6), file_name=name))
    assert labelled(given) == {4: [0, 3, 6]} and made["images"][3]["file_name"] == second
    assert labelled(read(source, corrected(made))) == {4: list(range(7))}


def test_of_several_numbers_that_change_the_one_within_the_video_is_taken_or_none(tmp_path):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    timed = labels(xy, (0, 3, 6), file_name=lambda i: f"{i}_{1715000000 + 40 * i}.jpg")
    assert labelled(read(source, timed)) == {4: [0, 3, 6]}
    with pytest.raises(
        BadRecord, match=r"image 10 \(0_8\.jpg\): belongs to no frame.*one number that changes"
    ):
        read(source, labels(xy, (0, 3, 6), file_name=lambda i: f"{i}_{8 - i}.jpg"))


NAMED = {
    "counted from 1": (
        {"file_name": lambda i: f"f{i + 1}.jpg"},
        ["f2.jpg", "f3.jpg"],
        [None, None],
        [1, 4],
    ),
    "a folder before": (
        {"file_name": lambda i: f"a/b{i:03d}_x.png"},
        ["a/b001_x.png", "a/b002_x.png"],
        [None] * 2,
        [0, 3],
    ),
    "frame_id": (
        {"file_name": lambda i: "x.jpg", "frame_id": lambda i: i},
        ["frame_000001.jpg", "frame_000002.jpg"],
        [1, 2],
        [0, 3],
    ),
    "both": (
        {"file_name": lambda i: f"x{i + 1:02d}.jpg", "frame_id": lambda i: i},
        ["x02.jpg", "x03.jpg"],
        [1, 2],
        [0, 3],
    ),
}


@pytest.mark.parametrize("how", NAMED)
def test_new_images_are_called_as_the_others_and_are_read_back(tmp_path, how):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    fields, names, ids, between = NAMED[how]
    made, _ = carried(
        source, labels(xy, (0, 3, 6), **fields), first_frame=1 if "1" in how else None
    )
    images = made["images"][3:]
    assert [i["file_name"] for i in images[:2]] == names and [
        i.get("frame_id") for i in images[:2]
    ] == ids
    assert new(made)[0]["between"] == between and images[0]["width"] == 120
    again = read(source, corrected(made))  # what --first-frame said is noted in the file
    assert labelled(again) == {4: list(range(7))} and again.clip.tracks[0].track_id == 4
    np.testing.assert_allclose(again.clip.tracks[0].xy_frame[:7], xy[:7], atol=0.02)


@pytest.mark.parametrize("name", ["{:06d}.png", "shot_{:06d}.jpg"])
def test_new_images_of_a_folder_that_counts_from_1_are_read_back(video, name):
    folder, xy = video
    for i in reversed(range(9)):
        (folder / f"{i:06d}.jpg").rename(folder / f"{i + 1:06d}.jpg")
    content = labels(xy, (0, 3, 6), file_name=lambda i: "clip/" + name.format(i + 1))
    made, _ = carried(folder, content)
    assert new(made)[0]["between"] == [1, 4]
    assert made["images"][3]["file_name"] == (
        "clip/shot_000002.jpg" if "shot" in name else "clip/000002.jpg"
    )
    assert labelled(read(folder, corrected(made))) == {4: list(range(7))}


def test_an_image_of_no_frame_moves_no_other(video):
    folder, xy = video
    for i in reversed(range(9)):
        (folder / f"{i:06d}.jpg").rename(folder / f"{i + 1:06d}.jpg")
    content = labels(xy, (0, 3, 6), file_name=lambda i: f"clip/{i + 1:06d}.jpg")
    content["images"].append({"id": "x", "file_name": "cover.jpg"})
    given = read(folder, content)
    assert labelled(given) == {4: [0, 3, 6]} and "x" not in given.frames
    assert "1 images without labels belong to no frame" in " ".join(given.notes)
    content["annotations"].append(content["annotations"][0] | {"id": 99, "image_id": "x"})
    with pytest.raises(
        BadRecord, match=r"image x \(cover.jpg\): belongs to no frame.*--on-bad report"
    ):
        read(folder, content)
    given = read(folder, content, on_bad="report")
    assert labelled(given) == {4: [0, 3, 6]} and "cover.jpg" in str(given.warnings[0])


def with_other(content, shift=60):
    """Everybody once more, to the right."""
    for a in list(content["annotations"]):
        other = json.loads(json.dumps(a)) | {"id": a["id"] + 100}
        other["keypoints"] = [
            v + (shift if i % 3 == 0 else 0) for i, v in enumerate(a["keypoints"])
        ]
        other["bbox"][0] += shift
        content["annotations"].insert(0, other)
    return content


def test_people_without_numbers_are_told_apart_by_place_and_it_is_said(video):
    folder, xy = video
    content = with_other(labels(xy, (0, 4, 8)))
    for a in content["annotations"]:
        del a["track_id"]
    made, given = carried(folder, content)
    assert [len(at) for at in labelled(given).values()] == [3, 3]
    assert all(np.ptp(t.xy_frame[[0, 4, 8], 0, 0]) < 40 for t in given.clip.tracks)
    assert all(type(a["track_id"]) is int for a in made["annotations"])
    assert "linked by likeness, 6 poses into 2" in " ".join(given.notes)


@pytest.mark.parametrize("ids", [("anna", "7"), (4.0, 5.0), (2**70, "x")])
@pytest.mark.parametrize("place", ["track_id", "attributes"])
def test_ids_stay_as_they_were_written(video, ids, place):
    folder, xy = video
    content = with_other(labels(xy, (0, 4, 8)))
    for a in content["annotations"]:
        del a["track_id"]
        who = ids[a["id"] < 100]
        a |= (
            {"track_id": who}
            if place == "track_id"
            else {"attributes": {"track_id": who, "occluded": False}}
        )
    made, given = carried(folder, content)
    assert len(given.clip.tracks) == 2 and not any("linked" in note for note in given.notes)
    assert made["annotations"][:6] == content["annotations"]
    told = [
        a["track_id"] if place == "track_id" else a["attributes"]["track_id"] for a in new(made)
    ]
    assert sorted(map(str, told)) == sorted(map(str, ids * 6)) and {*map(type, told)} == {
        *map(type, ids)
    }
    assert len(labelled(read(folder, corrected(made)))) == 2


@pytest.mark.parametrize("who", [None, 4.5, [4], True])
def test_an_id_that_is_missing_or_none_beside_others_is_named(video, who):
    folder, xy = video
    content = labels(xy, (0, 4, 8))
    content["annotations"][1]["track_id"] = who
    with pytest.raises(
        BadRecord, match=r"annotation 74: (no track_id, 2 others have one|track_id is)"
    ):
        read(folder, content)
    made, given = carried(folder, content, on_bad="report")
    assert (
        labelled(given) == {4: [0, 8]}
        and len(given.warnings) == 1
        and content["annotations"][1] in made["annotations"]
    )


def test_nothing_is_carried_over_a_frame_where_the_person_is_absent(video):
    folder, xy = video
    content = labels(xy, (0, 2, 5, 8))
    content["annotations"][2].update(keypoints=[0] * (3 * K), bbox=[0, 0, 0, 0])
    made, given = carried(folder, content)
    assert labelled(given) == {4: [0, 2, 8]} and [a["between"] for a in new(made)] == [[0, 2]]
    assert propagate.gaps(given.clip.tracks[0]) == [(0, 2)] and len(given.people) == 3
    people = propagate.all_poses(given.clip, propagate.propagate(given.clip, folder))
    assert sorted(people.detections.frames.tolist()) == [0, 1, 2, 8]
    for a in content["annotations"]:
        del a["track_id"]
    given = read(folder, content)
    assert labelled(given) == {0: [0, 2, 8]} and "1 annotations without joints have no" in " ".join(
        given.notes
    )
    # one that cannot be read leaves its frame alone, too
    for a in content["annotations"]:
        a["track_id"] = 4
    content["annotations"][2] |= {"keypoints": [1, 2]}
    made, given = carried(folder, content, on_bad="report")
    assert [a["between"] for a in new(made)] == [[0, 2]] and len(given.warnings) == 1


def test_of_several_videos_in_a_file_the_one_called_so_is_read(video):
    folder, xy = video
    content, other = (
        labels(xy, (0, 8)),
        labels(xy, (0, 4, 8), file_name=lambda i: f"b/clip/{i:06d}.jpg"),
    )
    for image, a in zip(other["images"], other["annotations"]):
        image["id"] += 100
        a.update(id=a["id"] + 100, image_id=a["image_id"] + 100, propagated=True)
    for image in content["images"]:
        image["file_name"] = f"{folder.parent.name}/" + image["file_name"]
    content["images"] += other["images"]
    content["annotations"] += other["annotations"]
    made, given = carried(folder, content)
    assert labelled(given) == {4: [0, 8]} and "3 images of other videos" in " ".join(given.notes)
    assert made["annotations"][:5] == content["annotations"], "of another video nothing is dropped"
    moved = folder.rename(folder.parent / "away")
    with pytest.raises(BadRecord, match=r"several videos, and none is called away: .*b/clip"):
        read(moved, content)


def test_another_picture_size_than_the_videos_is_named(video):
    folder, xy = video
    half = {"width": lambda i: 60, "height": lambda i: 45}
    with pytest.raises(
        BadRecord, match=r"image 10 .*60x45 px are stated, the frame has 120x90.*Remedy"
    ):
        read(folder, labels(xy, (0, 8), **half))
    content = labels(xy, (0, 2, 4, 8))
    content["images"][2] |= {"width": 60, "height": 45}
    made, given = carried(folder, content, on_bad="report")
    assert [a["between"] for a in new(made)] == [[0, 2]], "its frame is left alone"
    assert sum("60x45 px are stated" in str(w) for w in given.warnings) == 1
    with pytest.raises(BadRecord, match="60x45 px are stated, the frame has 120x90"):
        read(film(folder.parent / "v.avi", moving()[0]), labels(xy, (0, 8), **half))
    assert labelled(read(folder, labels(xy, (0, 8), width=lambda i: 120, height=lambda i: 90))) == {
        4: [0, 8]
    }
    # pictures of a folder may differ
    cv2.imwrite(str(folder / "000008.jpg"), np.zeros((45, 60, 3), np.uint8))
    sizes = {"width": lambda i: 120 if i < 8 else 60, "height": lambda i: 90 if i < 8 else 45}
    assert labelled(read(folder, labels(xy, (0, 8), **sizes))) == {4: [0, 8]}


@pytest.mark.parametrize(
    ("turn", "stated", "shown"),
    [
        (0, None, (120, 90)),
        (1, (120, 90), (120, 90)),
        (3, (120, 90), (120, 90)),
        (6, None, (90, 120)),
        (6, (90, 120), (90, 120)),
        (6, (120, 90), (120, 90)),  # its stored size: joints are given so
    ],
)
def test_pictures_are_turned_as_programs_show_them_unless_their_stored_size_is_stated(
    video, turn, stated, shown
):
    folder, xy = video
    tag = Image.Exif()
    tag[ExifTags.Base.Orientation] = turn
    for name in ("000000.jpg", "000008.jpg"):
        Image.fromarray(texture()).convert("RGB").save(folder / name, exif=tag)
    fields = {"width": lambda i: stated[0], "height": lambda i: stated[1]} if stated else {}
    path = folder.parent / "labels.json"
    path.write_text(json.dumps(labels(np.minimum(xy, 80), (0, 8), **fields)))
    with open_labelled(folder, path) as frames:
        assert frames[0].shape[1::-1] == shown
        assert labelled(read_labels(path, frames)) == {4: [0, 8]}


def test_joints_beside_their_picture_are_refused(video):
    folder, xy = video
    with pytest.raises(BadRecord, match="0 of 30 joints lie in their pictures, of 120x90 px"):
        read(folder, labels(xy + 100, (0, 8)))

    some = labels(xy + np.array([40, 0]), (0, 8))
    notes = read(folder, some).notes
    assert any("of 30 joints lie beside their pictures" in note for note in notes)
    assert not any("beside" in note for note in read(folder, labels(xy, (0, 8))).notes)


def test_names_end_in_numbers_or_in_seconds(tmp_path):
    source, xy = film(tmp_path / "v2.avi", moving()[0]), moving()[1]
    content = labels(xy, (0, 4, 8), file_name=lambda i: f"v2.{i:04d}")
    made, given = carried(source, content)
    assert labelled(given) == {4: [0, 4, 8]}
    assert "v2.0003" in {image["file_name"] for image in made["images"]}
    content = labels(xy, (0, 4, 8), file_name=lambda i: f"{i / 100:.2f}.jpg")
    with pytest.raises(BadRecord, match="belongs to no frame of the video"):
        read(source, content)


def test_names_that_programs_made_longer_are_found_in_a_folder_of_such_pictures(video):
    folder, xy = video
    for i, old in enumerate(sorted(folder.iterdir())):
        old.rename(folder / f"f_{i:04d}_jpg.rf.8a1c{i}2e7f3b9.jpg")
    content = labels(xy, (2, 5), file_name=lambda i: f"f_{i:04d}_jpg.rf.8a1c{i}2e7f3b9.jpg")
    assert labelled(read(folder, content)) == {4: [2, 5]}


def test_labels_without_boxes_and_boxes_of_other_things_are_no_hindrance(video):
    folder, xy = video
    content = labels(xy, (0, 8))
    content["categories"][0]["keypoints"] = list(skeleton("coco17").joints)
    for a, box in zip(content["annotations"], (None, [0, 0, 0, 0])):
        a["keypoints"] += [50, 40, 2, 52, 40, 1]
        a["bbox"] = box
    del content["annotations"][0]["bbox"]
    content["categories"].append({"id": 6, "name": "ball"})
    content["annotations"].append(
        {"id": 500, "image_id": 10, "category_id": 6, "bbox": [1, 1, 5, 5], "track_id": 4}
    )
    made, given = carried(folder, content)
    assert len(new(made)) == 7 and made["annotations"][:3] == content["annotations"]
    extent = np.concatenate((xy[0].min(0), xy[0].max(0)))
    box = given.clip.tracks[0].boxes_xyxy[0]
    assert (box[:2] < extent[:2]).all() and (box[2:] > extent[2:]).all()
    content["annotations"][0]["keypoints"][3:] = [0] * 48  # a single joint
    assert len(new(carried(folder, content)[0])) == 7


def test_bad_labels_are_named_or_reported(video):
    folder, xy = video
    for change, words in (
        (
            lambda c: c["images"][1].update(file_name="clip/000099.jpg"),
            r"000099\.jpg\): belongs to no frame",
        ),
        (
            lambda c: c["annotations"].append(c["annotations"][0] | {"id": 3}),
            "two annotations of track 4",
        ),
        (lambda c: c["annotations"][2].update(bbox=[1, 2, -3, 4]), "annotation 74"),
    ):
        content = labels(xy, (0, 2, 4, 8))
        change(content)
        with pytest.raises(BadRecord, match=words) as error:
            read(folder, content)
        assert str(folder.parent / "labels.json") in str(error.value)
        made, given = carried(folder, content, on_bad="report")
        assert (
            len(given.warnings) == 1
            and made["annotations"][: len(content["annotations"])] == content["annotations"]
        )


SPELT = {
    "Roboflow": (lambda i: f"f_{i:04d}_jpg.rf.8a1c{i}2e7f3b9.jpg", "f_0001.jpg", "000001.jpg"),
    "Label Studio": (lambda i: f"{i}d3a2f1b-{i:06d}.jpg", "frame_000001.jpg", "000001.jpg"),
    "another end each": (
        lambda i: f"f_{i:04d}_{'xyz'[i // 3]}.png",
        "frame_000001.png",
        "000001.jpg",
    ),
}


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("how", SPELT)
def test_names_of_other_programs_find_their_frames_and_no_such_name_is_invented(video, how, folder):
    source, xy = video
    spelt, name, own = SPELT[how]
    source = source if folder else film(source.parent / "v.avi", moving()[0])
    made, given = carried(source, labels(xy, (0, 3, 6), file_name=spelt))
    assert labelled(given) == {4: [0, 3, 6]}
    assert made["images"][3]["file_name"] == (own if folder and how != "Roboflow" else name)
    assert carried(source, made)[0] == made and labelled(read(source, corrected(made))) == {
        4: list(range(7))
    }


def two_videos(xy, fields):
    """Labels of frames 0, 6 of one video and 2, 7 of another, which counts from 1; fields(video,
    number) of an image.
    """
    content = {"images": [], "annotations": []}
    for n, at in enumerate(((0, 6), (2, 7))):
        part = labels(xy, at)
        for i, image, a in zip(at, part["images"], part["annotations"]):
            image |= {"id": 100 * n + i, "file_name": f"{n + i}.jpg"} | fields(n, n + i)
            a |= {"id": 100 * n + i, "image_id": image["id"]}
        content |= part | {key: content[key] + part[key] for key in ("images", "annotations")}
    return content


VIDEOS = {
    "names": lambda n, i: {"file_name": f"{'vw'[n]}_{i:04d}.jpg"},
    "folders": lambda n, i: {"file_name": f"{'vw'[n]}/{i}.jpg"},
    "CocoVID": lambda n, i: {"video_id": 7 + n},
}


@pytest.mark.parametrize("how", VIDEOS)
def test_two_videos_of_a_file_are_told_apart_and_what_is_noted_of_one_is_not_the_others(
    tmp_path, how
):
    content = two_videos(moving()[1], VIDEOS[how])
    content["videos"] = (
        [{"id": 7.0, "name": "v"}, {"id": 8, "name": "w.avi"}] if how == "CocoVID" else None
    )
    v, w, u = (film(tmp_path / f"{name}.avi", moving()[0]) for name in "vwu")
    made, given = carried(v, content)
    assert (
        labelled(given) == {4: [0, 6]}
        and len(new(made)) == 5
        and "2 images of other videos" in " ".join(given.notes)
    )
    assert labelled(read(v, corrected(made))) == {4: list(range(7))}
    again, given = carried(w, made, first_frame=1)
    assert labelled(given) == {4: [2, 7]} and len(new(again)) == 9
    assert sorted(again["propagation"]["first_frame"].values()) == [0, 1]
    assert labelled(read(w, again)) == {4: [2, 7]} and labelled(read(v, again)) == {4: [0, 6]}
    if how == "names":  # of a folder, too
        for i, frame in enumerate(moving()[0]):
            (tmp_path / "v").mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / "v" / f"v_{i:04d}.jpg"), frame)
        assert labelled(read(tmp_path / "v", content)) == {4: [0, 6]}
    with pytest.raises(BadRecord, match=r"images of several videos, and none is called u: .*v.*w"):
        read(u, content)


@pytest.mark.parametrize("note", [1, 1.0, {"": 1.0}, 7, "x", None])
def test_a_note_of_the_first_frame_counts_unless_the_images_know_better(tmp_path, note):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    noted = {"propagation": {"first_frame": note}}
    assert labelled(read(source, labels(xy, (0, 5)) | noted)) == {4: [0, 5]}
    if note in (1, {"": 1}):
        assert labelled(read(source, labels(xy, (3, 5)) | noted)) == {4: [2, 4]}
    else:
        with pytest.raises(BadParameter, match="--first-frame"):
            read(source, labels(xy, (3, 5)) | noted)


def test_frame_id_and_a_stated_first_frame_come_before_numbers_in_names(video):
    folder, xy = video
    source = film(folder.parent / "v.avi", moving()[0])
    content = labels(xy, (0, 3, 6), frame_id=float, file_name=lambda i: f"{i + 2}.jpg")
    content["images"].append({"id": 1, "file_name": "0.jpg"})  # which holds no label
    for one in (source, folder):
        assert labelled(read(one, content)) == {4: [0, 3, 6]}
    del content["images"][1]["frame_id"]
    with pytest.raises(
        BadRecord, match=r"image 13 \(5.jpg\): states no frame_id, other labelled images do"
    ):
        read(source, content)
    content = labels(xy, (1, 4), file_name=lambda i: f"shot_{i}.jpg")
    assert labelled(read(folder, content)) == {4: [1, 4]}
    made, given = carried(folder, content, first_frame=1)
    assert labelled(given) == {4: [0, 3]} == labelled(read(folder, made))


def test_two_images_of_one_frame_are_both_named(tmp_path):
    source, xy = film(tmp_path / "v.avi", moving()[0]), moving()[1]
    content = labels(xy, (0, 2, 8), file_name=lambda i: f"{i % 8}_{'ab'[i // 8]}.jpg")
    with pytest.raises(
        BadRecord, match=r"image 18 \(0_b.jpg\): means frame 0, and so does image 10 \(0_a.jpg\)"
    ):
        read(source, content)
    given = read(source, content, on_bad="report")
    assert labelled(given) == {4: [0, 2]} and len(given.warnings) == 1


def test_ids_may_be_text_or_floats_and_new_ones_are_others(video):
    folder, xy = video
    content = labels(xy, (0, 4))
    for i, (image, a) in enumerate(zip(content["images"], content["annotations"])):
        image["id"], a["id"], a["image_id"] = str(i), str(i), str(i)
    made, _ = carried(folder, content)
    assert (
        [str(a["id"]) for a in made["annotations"]]
        == list("01234")
        == [str(i["id"]) for i in made["images"]]
    )
    content = labels(xy, (0, 4))
    for a in content["annotations"]:
        a |= {"id": float(a["id"]), "image_id": float(a["image_id"])}
    content["images"][0]["id"] = 10.0
    made, given = carried(folder, content)
    assert (
        labelled(given) == {4: [0, 4]}
        and len(new(made)) == 3
        and type(made["images"][0]["id"]) is int
    )


def test_annotation_ids_may_restart_in_every_image(video):
    folder, xy = video
    content = with_other(labels(xy, (0, 4, 8)))
    for a in content["annotations"]:
        a["track_id"] = a["id"] = 1 + (a["id"] > 100)
    made, given = carried(folder, content)
    assert labelled(given) == {1: [0, 4, 8], 2: [0, 4, 8]} and len(new(made)) == 12
    assert made["annotations"][:6] == content["annotations"]
    assert sorted(a["id"] for a in new(made)) == list(range(3, 15))
    content["annotations"][0]["keypoints"] = [1, 2]
    with pytest.raises(BadRecord, match="annotation 2 of image 18: keypoints has length 2"):
        read(folder, content)


@pytest.mark.parametrize("joints", ["posetrack15", "coco17"])
def test_flags_of_0_alone_say_that_a_person_is_absent(video, joints):
    folder, xy = video
    content = labels(xy, (0, 2, 5, 8))
    content["categories"][0]["keypoints"] = list(skeleton(joints).joints)
    for a in content["annotations"]:
        a["keypoints"] += [50, 40, 2] * (len(skeleton(joints)) - K)
    content["annotations"][2]["keypoints"][2::3] = [0] * len(skeleton(joints))
    given = read(folder, content)
    assert propagate.gaps(given.clip.tracks[0]) == [(0, 2)]
    assert (
        "1 gaps stay open" in given.notes[-1]
        and "track 4 between frames 2 and 8" in given.notes[-1]
    )
    for a in content["annotations"]:
        a["keypoints"][2::3] = [0] * len(skeleton(joints))  # PoseTrack: nobody set a flag
    assert labelled(read(folder, content)) == ({4: [0, 2, 5, 8]} if joints == "posetrack15" else {})


def test_what_flag_1_means_is_no_matter_where_nothing_is_split_by_visibility(video):
    folder, xy = video
    content = labels(xy, (0, 8))
    content["categories"][0]["keypoints"] = list(skeleton("coco17").joints)
    for a in content["annotations"]:
        a["keypoints"] += [50, 40, 2] * (len(skeleton("coco17")) - K)
        a["keypoints"][2::3] = [1] * len(skeleton("coco17"))
    made, given = carried(folder, content)
    assert given.warnings == () and labelled(given) == {4: [0, 8]}
    assert new(made)[0]["keypoints"][2::3] == [1] * len(skeleton("coco17"))
    (warning,) = read_coco(folder.parent / "labels.json").warnings
    assert "nothing is split by visibility" in str(warning)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [400, 300, 440, 380]}, "0 of 15 joints lie in or near its box"),
        ({"bbox": [0.2, 0.3, 0.4, 0.6]}, "a box within the first pixel"),
        ({"bbox": [0, 0, 1e30, 1e30]}, "coordinates beyond 1,000,000 px"),
        ({"keypoints": [1e7, 5, 2] * K}, "coordinates beyond 1,000,000 px"),
    ],
)
def test_numbers_that_are_no_pixels_are_named(video, change, words):
    folder, xy = video
    content = labels(xy, (0, 4, 8))
    content["annotations"][1] |= change
    with pytest.raises(BadRecord, match=f"annotation 74: {words}.*Remedy: state joints, and bbox"):
        read(folder, content)
    assert labelled(read(folder, content, on_bad="report")) == {4: [0, 8]}
    content["annotations"][1] |= {
        "bbox": [50, 50, 0, 0],
        "keypoints": content["annotations"][0]["keypoints"],
    }
    content["annotations"][0]["bbox"] = [*xy[0].mean(0), 1e-7, 0]
    made, given = carried(folder, content)
    assert labelled(given) == {4: [0, 4, 8]} and all(min(a["bbox"][2:]) >= 1 for a in new(made))
    content["info"] = float("nan")
    with pytest.raises(BadFile, match="holds NaN"):
        read(folder, content)


def test_hands_are_linked_within_their_category_and_instance_id_names_people(video):
    folder, xy = video
    content = with_other(labels(xy, (0, 8)), shift=10)
    for a in content["annotations"]:  # left and right change places
        del a["track_id"]
        a["category_id"] = a["instance_id"] = 5 + ((a["id"] > 100) == (a["image_id"] == 10))
    content["categories"].append(content["categories"][0] | {"id": 6})
    made, given = carried(folder, content, joints="posetrack15")
    assert labelled(given) == {5: [0, 8], 6: [0, 8]} and len(new(made)) == 14
    assert all(a["instance_id"] == a["category_id"] and "track_id" not in a for a in new(made))
    for a in content["annotations"]:
        del a["instance_id"]
    made, given = carried(folder, content, joints="posetrack15")
    assert {(a["category_id"], a["track_id"]) for a in made["annotations"]} == {
        (5, 0),
        (6, 1),
    } and len(new(made)) == 14


def test_what_cvat_put_between_keyframes_is_carried_anew(video):
    folder, xy = video
    content = labels(xy, range(9))
    for i, a in enumerate(content["annotations"]):
        del a["track_id"]
        a["attributes"] = {"track_id": 0, "keyframe": i in (0, 8)}
    made, given = carried(folder, content)
    assert labelled(given) == {0: [0, 8]} and len(new(made)) == 7 and len(made["annotations"]) == 9
    assert "7 poses between keyframes (keyframe: false) are no labels" in given.notes[-1]


def test_added_images_go_when_nobody_is_in_them_any_more(video):
    folder, xy = video
    made, _ = carried(folder, labels(xy, (0, 4)))
    assert [i.get("propagated") for i in made["images"]] == [None] * 2 + [True] * 3
    # the label of frame 4; frame 2 becomes one
    del made["annotations"][1], made["annotations"][2]["propagated"]
    again, given = carried(folder, made)
    assert labelled(given) == {4: [0, 2]}
    assert [i["file_name"] for i in again["images"]] == [f"clip/{i:06d}.jpg" for i in (0, 4, 1, 2)]


def test_nothing_that_is_there_is_destroyed(video, tmp_path):
    folder, xy = video
    path, out, film_ = tmp_path / "labels.json", tmp_path / "out.json", tmp_path / "v.webm"
    film_.write_bytes(b"x")
    path.write_text(json.dumps(labels(xy, (0, 8))))
    check_places(str(folder), out, tmp_path / "new.webm")
    same = tmp_path / "clip" / ".." / "out.webm"
    for source, a, b, error, said in (
        (film_, film_, None, Taken, "v.webm"),
        (film_, out, film_, Taken, "v.webm"),
        (folder, path, None, Taken, "labels.json"),
        (folder, same, tmp_path / "out.webm", BadParameter, "over --out"),
        (folder, folder / "new.PNG", None, BadParameter, "among the video's pictures"),
        (folder, out, tmp_path / "x.mp4", BadParameter, "suffix '.mp4'"),
    ):
        with pytest.raises(error, match=said):
            check_places(str(source), a, b)
