"""Which frame of a video a user's result belongs to, which joints it holds, and whether its numbers
are pixels: right, or refused by name. All files are made here.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from workbench.data.frames import open_frames
from workbench.data.results import on_video, read_detections
from workbench.errors import BadFile, BadParameter, BadRecord
from workbench.film import write_video
from workbench.skeletons import SKELETONS

W, H, N = 160, 120, 8
COCO = SKELETONS["coco17"].joints
BODY = np.random.default_rng(0).uniform((30, 20), (70, 110), (17, 2)).round(2)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight frames."""
    noise = np.random.default_rng(0).integers(0, 255, (N, H, W, 3), np.uint8)
    return write_video(tmp_path_factory.mktemp("film") / "walk.webm", noise)


def folder(place, names, size=(W, H), turn=None):
    place.mkdir(parents=True)
    for name in names:
        exif = Image.Exif()
        if turn:
            exif[0x0112] = turn
        Image.new("RGB", size).save(place / name, exif=exif)
    return place


def body(t):
    """A pose whose first joint tells its frame: x = 40 + 4 t."""
    xy = BODY + np.array([4 * t, 0])
    xy[0] = 40 + 4 * t, 30
    return xy


def flat(t, confidence=0.9):
    return np.c_[body(t), np.full(17, confidence)].ravel().tolist()


def save(path, content):
    path.write_text(json.dumps(content))
    return path


def coco(path, frames, call=lambda t: t, **fields):
    """COCO results of these frames, called so."""
    rows = [
        {"image_id": call(t), "category_id": 1, "keypoints": flat(t), "score": 0.9}
        | {key: value(t) if callable(value) else value for key, value in fields.items()}
        for t in frames
    ]
    return save(path, rows)


def table(path, frames, columns="x_px,y_px", names=COCO, tail=",.9", size=(1, 1), call=str):
    shift = 0.5 if columns == "x,y" else 0
    lines = [f"frame,landmark,{columns}{',visibility' if tail else ''}"]
    for t in frames:
        for name, xy in zip(names, (body(t) + shift) / size):
            lines.append(f"{call(t)},{name},{xy[0]:.6f},{xy[1]:.6f}{tail}")
    path.write_text("\n".join(lines))
    return path


def frames_of(path, source, **options):
    """frame -> which of `body` was put there."""
    with open_frames(source) as frames:
        found = on_video(path, frames, **options).detections
    at = found.xy_frame[:, 0, 0]
    return dict(zip(found.frames.tolist(), np.round((at - 40) / 4).astype(int).tolist()))


def straight(frames):
    return {t: t for t in frames}


# --- which frame ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t,
        lambda t: float(t),
        str,
        lambda t: f"{t}.jpg",
        lambda t: f"frame{t:04d}_cam1.png",
        lambda t: f"{t:06d}_view3.jpg",
        lambda t: f"2024-05-17-{t:03d}.png",
        lambda t: f"clip-{t:04d}.jpg",
        lambda t: f"walk/{t:06d}.jpg",
        lambda t: f"walk/img_{t + 1:06d}.jpg",
        lambda t: f"walk.{t:04d}",
        lambda t: f"shot_01.{t:04d}.png",
        lambda t: f"2024.05.17.{t:03d}.png",
    ],
)
def test_frames_by_number_or_by_the_number_that_changes_between_names(tmp_path, film, call):
    assert frames_of(coco(tmp_path / "r.json", range(N), call), film) == straight(range(N))


def test_what_numbers_count_from_is_proved_or_asked(tmp_path, film):
    path = tmp_path / "r.json"
    assert frames_of(coco(path, [0, 3]), film) == {0: 0, 3: 3}
    assert frames_of(coco(path, [2, 7], lambda t: t + 1), film) == {2: 2, 7: 7}
    for call in (lambda t: t, lambda t: f"f{t}.jpg"):
        coco(path, [2, 5], call)
        with pytest.raises(BadParameter, match=r"--first-frame 0.*--first-frame 1") as caught:
            frames_of(path, film)
        assert "number 2" in str(caught.value) or "f2.jpg" in str(caught.value)
        assert frames_of(path, film, first_frame=0) == {2: 2, 5: 5}
        assert frames_of(path, film, first_frame=1) == {1: 2, 4: 5}
    with pytest.raises(BadRecord, match="number 8 is frame 8, the video has 8"):
        frames_of(coco(path, [0, 8]), film)
    with pytest.raises(BadRecord, match="frame -1"):
        frames_of(coco(path, [0, 3]), film, first_frame=1)
    assert frames_of(coco(path, range(N), lambda t: 100 + t), film, first_frame=100) == straight(
        range(N)
    )


def test_a_name_with_several_numbers_that_may_be_the_frame_s_is_refused(tmp_path, film):
    path = coco(tmp_path / "r.json", range(N), lambda t: f"{t:03d}_cam{t % 2}.jpg")
    with pytest.raises(BadRecord, match=r"does not say which frame it is"):
        frames_of(path, film)
    path = coco(tmp_path / "r.json", [3], lambda t: "0003_cam1.jpg")
    with pytest.raises(BadRecord, match=r"does not say which frame it is"):
        frames_of(path, film)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: f"{t * 0.01:.2f}",
        lambda t: f"{t * 0.01:.2f}.jpg",
        lambda t: f"frame_{t}.00s.png",
        lambda t: f"00:00:00.{t:03d}.jpg",
    ],
)
def test_seconds_are_no_frames(tmp_path, film, call):
    path = coco(tmp_path / "r.json", range(N), call)
    with pytest.raises(BadRecord, match=r"does not say which frame it is.*seconds"):
        frames_of(path, film)


def test_a_file_name_says_what_image_id_only_counts(tmp_path, film):
    names = [f"frame_{i:03d}.jpg" for i in range(N)]
    pictures = folder(tmp_path / "pics", names)
    order = [5, 2, 7, 0, 1, 3, 4, 6]
    path = coco(tmp_path / "r.json", range(N), order.index, file_name=names.__getitem__)
    assert frames_of(path, pictures) == straight(range(N))
    path = coco(tmp_path / "r.json", range(N), file_name="walk.webm")
    assert frames_of(path, film) == straight(range(N)), "one name of all says nothing"


def test_a_name_without_suffix_of_two_pictures_is_neither_s(tmp_path):
    pictures = folder(tmp_path / "pics", ["a.jpg", "a.png"])
    assert frames_of(coco(tmp_path / "r.json", [0], lambda t: "a.png"), pictures) == {1: 0}
    with pytest.raises(BadRecord, match=r"none of its 1 results|does not say"):
        frames_of(coco(tmp_path / "r.json", [0], lambda t: "a"), pictures)


def test_it_is_said_for_which_frames_results_are_taken(tmp_path, film):
    path = coco(tmp_path / "r.json", range(4), lambda t: f"f{t}.jpg")
    with open_frames(film) as frames:
        notes = on_video(path, frames).notes
        none = on_video(save(path, []), frames).notes
    assert "taken: f0.jpg as frame 0, f3.jpg as frame 3 (the video has frames 0 to 7)" in notes
    assert "it holds no poses" in none


def test_a_folder_s_pictures_are_found_by_name(tmp_path):
    names = [f"shot_{i}.jpg" for i in (8, 9, 10)]
    pictures = folder(tmp_path / "pics", names)
    path = coco(tmp_path / "r.json", [0, 2], lambda t: names[t])
    assert frames_of(path, pictures) == {0: 0, 2: 2}
    path = coco(tmp_path / "r.json", [0, 2], lambda t: f"elsewhere/{names[t][:-4]}.png")
    assert frames_of(path, pictures) == {0: 0, 2: 2}
    path = coco(tmp_path / "r.json", [0, 2], lambda t: f"other_{t + 8:04d}.jpg")
    assert frames_of(path, pictures) == {0: 0, 2: 2}  # by their numbers
    path = coco(tmp_path / "r.json", [0, 1, 2], lambda t: t + 8)
    assert frames_of(path, pictures) == straight(range(3))
    path = coco(tmp_path / "r.json", [0, 1, 2], lambda t: [*names[:2], "another.jpg"][t])
    with open_frames(pictures) as frames:
        found, notes, _ = on_video(path, frames)
    assert len(found) == 2 and any("1 results of 1 other pictures" in note for note in notes)


def test_ids_are_no_numbers_of_pictures_where_they_may_count_otherwise(tmp_path):
    pictures = folder(tmp_path / "pics", [f"frame_{i:03d}.jpg" for i in range(8)])
    with pytest.raises(BadParameter, match="--first-frame"):
        frames_of(coco(tmp_path / "r.json", range(1, 7)), pictures)
    path = coco(tmp_path / "r.json", range(1, 7))
    assert frames_of(path, pictures, first_frame=1) == {t - 1: t for t in range(1, 7)}
    pictures = folder(tmp_path / "coco", ["000000000139.jpg", "000000000285.jpg"])
    assert frames_of(coco(tmp_path / "r.json", [0], lambda t: 285), pictures) == {1: 0}


def test_of_one_picture_its_own_results(tmp_path):
    (picture,) = folder(tmp_path / "p", ["000000000285.jpg"]).iterdir()
    assert frames_of(coco(tmp_path / "r.json", [0, 1], lambda t: 285 + t), picture) == {0: 0}
    assert frames_of(coco(tmp_path / "r.json", [2], lambda t: 0), picture) == {0: 2}
    for call in (lambda t: 5 + t, lambda t: f"{t}.jpg"):
        with pytest.raises(BadRecord, match="none of its 2 results belongs to"):
            frames_of(coco(tmp_path / "r.json", [0, 1], call), picture)


def test_of_several_videos_the_one_called_so(tmp_path, film):
    path = tmp_path / "r.json"
    rows = json.loads(coco(path, range(N), lambda t: f"walk/{t:06d}.jpg").read_text())
    rows += json.loads(coco(path, range(3), lambda t: f"run/{t:06d}.jpg").read_text())
    save(path, rows)
    with open_frames(film) as frames:
        found, notes, _ = on_video(path, frames)
    assert len(found) == N and "3 results of 3 other pictures or videos are left out" in notes
    for row in rows:
        row["image_id"] = row["image_id"].replace("walk", "swim")
    with pytest.raises(BadRecord, match=r"several videos, and none is called walk: run/, swim/"):
        frames_of(save(path, rows), film)


@pytest.mark.parametrize(
    "call", ["{video}.webm/{t:06d}.jpg", "{t:06d}_{video}.jpg", "images/val/{video}/{t}.jpg"]
)
def test_a_video_s_name_stands_anywhere(tmp_path, film, call):
    rows = []
    for video, shift in (("walk", 0), ("swim", 1)):
        path = coco(tmp_path / "r.json", range(N), lambda t: call.format(video=video, t=t))  # noqa: B023
        rows += json.loads(scaled(path, 1, shift * 5.0).read_text())
    assert frames_of(save(tmp_path / "r.json", rows), film) == straight(range(N))
    for row in rows:
        row["image_id"] = row["image_id"].replace("walk", "run")
    with pytest.raises(BadRecord, match="several videos, and none is called walk"):
        frames_of(save(tmp_path / "r.json", rows), film)


@pytest.mark.parametrize("key", ["video_id", "video", "camera"])
def test_numbers_of_several_videos_are_refused(tmp_path, film, key):
    path = coco(tmp_path / "r.json", range(N), **{key: lambda t: t % 2})
    with pytest.raises(BadRecord, match=f"results of several videos: {key} is 0, 1"):
        frames_of(path, film)
    path = table(tmp_path / "t.csv", range(N))
    head, *lines = path.read_text().splitlines()
    lines = [f"{line},{line[0]}" for line in lines]
    path.write_text("\n".join([f"{head},{key}", *lines]))
    with pytest.raises(BadRecord, match=f"results of several videos: {key} is 0, 1, 2"):
        frames_of(path, film)


def mmpose(path, frames, first=1, meta=None, joints=None):
    keypoints = lambda t: (body(t) if joints is None else joints(t)).tolist()  # noqa: E731
    entries = [
        {
            "frame_id": t + first,
            "instances": [{"keypoints": keypoints(t), "keypoint_scores": [0.9] * len(keypoints(t))}]
            if t in frames
            else [],
        }
        for t in range(N)
    ]
    return save(path, entries if meta is None else {"meta_info": meta, "instance_info": entries})


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("meta", [None, {"dataset_name": "coco"}])
def test_frames_without_people_prove_what_numbers_count_from(tmp_path, film, first, meta):
    path = mmpose(tmp_path / "r.json", [2, 3], first, meta)
    assert frames_of(path, film) == {2: 2, 3: 3}


def openpose(place, frames, call):
    place.mkdir()
    order = (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)
    for t in range(N):
        points = np.zeros((25, 3))
        points[list(order)] = np.reshape(flat(t), (17, 3))
        people = [{"person_id": [-1], "pose_keypoints_2d": points.ravel().tolist()}]
        save(place / f"{call(t)}_keypoints.json", {"people": people if t in frames else []})
    return place


def test_openpose_of_a_video_and_of_pictures(tmp_path, film):
    of_video = openpose(tmp_path / "v", [2, 3], lambda t: f"walk_{t:012d}")
    assert frames_of(of_video, film) == {2: 2, 3: 3}
    names = [f"img{t + 1:03d}" for t in range(N)]
    pictures = folder(tmp_path / "pics", [f"{name}.jpg" for name in names])
    of_pictures = openpose(tmp_path / "p", [2, 3], names.__getitem__)
    assert frames_of(of_pictures, pictures) == {2: 2, 3: 3}
    assert frames_of(of_pictures, film) == {2: 2, 3: 3}, "all eight are numbered from 1"


def test_openpose_of_several_videos(tmp_path, film):
    both = openpose(tmp_path / "v", range(4), lambda t: f"{'walk' if t < 4 else 'run'}_{t:012d}")
    assert frames_of(both, film) == straight(range(4))
    others = openpose(tmp_path / "w", range(N), lambda t: f"{'swim' if t < 4 else 'run'}_{t:012d}")
    with pytest.raises(BadRecord, match="several videos, and none is called walk"):
        frames_of(others, film)


@pytest.mark.parametrize("suffix", ["gif", "webm"])
def test_tables(tmp_path, film, suffix):
    source = film
    if suffix == "gif":
        source = tmp_path / "walk.gif"
        grey = [Image.fromarray(np.full((H, W), 9 * i, np.uint8)) for i in range(N)]
        grey[0].save(source, save_all=True, append_images=grey[1:])
    path = table(tmp_path / "t.csv", range(N))
    assert frames_of(path, source) == straight(range(N))
    assert frames_of(table(path, range(N), call=lambda t: f"{t}.0"), source) == straight(range(N))
    with pytest.raises(BadParameter, match="--first-frame"):
        frames_of(table(path, range(1, 6)), source)


def test_landmarks_as_mediapipe_names_them(tmp_path, film):
    path = table(tmp_path / "t.csv", range(N), names=[f"PoseLandmark.{j.upper()}" for j in COCO])
    assert frames_of(path, film) == straight(range(N))
    joints = SKELETONS["hand21"].joints
    mediapipe = (
        "WRIST THUMB_CMC THUMB_MCP THUMB_IP THUMB_TIP INDEX_FINGER_MCP INDEX_FINGER_PIP "
        "INDEX_FINGER_DIP INDEX_FINGER_TIP MIDDLE_FINGER_MCP MIDDLE_FINGER_PIP MIDDLE_FINGER_DIP "
        "MIDDLE_FINGER_TIP RING_FINGER_MCP RING_FINGER_PIP RING_FINGER_DIP RING_FINGER_TIP "
        "PINKY_MCP PINKY_PIP PINKY_DIP PINKY_TIP"
    )
    lines = ["frame,landmark,x_px,y_px"]
    for t in range(N):
        for i, name in enumerate(mediapipe.split()):
            lines.append(f"{t},HandLandmark.{name},{40 + 2 * i},{30 + i * i / 8}")
    path.write_text("\n".join(lines))
    with open_frames(film) as frames:
        found, notes, _ = on_video(path, frames)
    assert found.skeleton == "hand21" and (found.confidence == 1).all()
    assert any("every joint counts as seen" in note for note in notes)
    tip = joints.index("forefinger4")
    np.testing.assert_allclose(found.xy_frame[0, tip], [56, 38])


def test_tables_of_other_countries_are_told_what_is_the_matter(tmp_path, film):
    path = table(tmp_path / "t.csv", range(N))
    semicolons = tmp_path / "s.csv"
    semicolons.write_text(path.read_text().replace(",", ";").replace(".", ","))
    with pytest.raises(BadFile, match=r"semicolons.*decimal"):
        frames_of(semicolons, film)
    commas = tmp_path / "c.csv"
    head, *lines = path.read_text().splitlines()
    commas.write_text("\n".join([head, *(line.replace(".", ",") for line in lines)]))
    with pytest.raises(BadRecord, match="decimal commas"):
        frames_of(commas, film)


def test_tables_as_excel_and_pandas_leave_them(tmp_path, film):
    path = table(tmp_path / "t.csv", range(N), names=[j.replace("_", " ").title() for j in COCO])
    head, *lines = path.read_text().splitlines()
    lines = [f"{line},," for line in lines]
    lines[5] = f"0,{COCO[5].upper()},None,N/A,#N/A,,"
    path.write_text("\n".join([f"{head},,", *lines, ",,,,", "  "]))
    assert frames_of(path, film) == straight(range(N))
    with open_frames(film) as frames:
        assert on_video(path, frames).detections.confidence[0].tolist().index(0) == 5
    path.write_text("sep=,\n" + path.read_text())
    with pytest.raises(BadFile, match="line 1: no column frame"):
        frames_of(path, film)
    table(path, range(N), names=range(17))
    with pytest.raises(BadRecord, match=r"numbers are MediaPipe's.*by name"):
        frames_of(path, film)
    enums = [f"<PoseLandmark.{joint.upper()}: {i}>" for i, joint in enumerate(COCO)]
    assert frames_of(table(path, range(N), names=enums), film) == straight(range(N))


# --- which joints ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost", [[0.0, 0.0, 1.0], [-1, -1, 0.9], [None, None, 0.9], [float("nan"), 3.0, 0.9]]
)
def test_a_joint_at_the_origin_or_without_a_number_is_missing(tmp_path, film, lost):
    rows = json.loads(coco(tmp_path / "r.json", range(N)).read_text())
    for row in rows:
        row["keypoints"][9 * 3 : 9 * 3 + 3] = lost
    path = save(tmp_path / "r.json", rows)
    with open_frames(film) as frames:
        found = on_video(path, frames).detections
    assert (found.confidence[:, 9] == 0).all() and (np.delete(found.confidence, 9, 1) > 0).all()
    others = np.delete(body(3), 9, 0)
    np.testing.assert_allclose(found.boxes_xyxy[3], [*others.min(0), *others.max(0)], rtol=1e-5)


def test_who_has_no_joints_is_nobody(tmp_path, film):
    rows = json.loads(coco(tmp_path / "r.json", range(N)).read_text())
    rows[4]["keypoints"] = [0] * 51
    with open_frames(film) as frames:
        found, notes, _ = on_video(save(tmp_path / "r.json", rows), frames)
    assert found.frames.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert "1 poses without a joint are left out" in notes


def test_other_ways_to_name_joints(tmp_path, film):
    order = np.random.default_rng(1).permutation(17)
    joints = lambda t: body(t)[order]  # noqa: E731
    names = [COCO[i] for i in order]
    for meta in (
        {"keypoint_name2id": {name: i for i, name in enumerate(names)}},
        {"keypoint_id2name": names},
        {"keypoint_id2name": {str(i): name for i, name in enumerate(names, 1)}},
    ):
        path = mmpose(tmp_path / "r.json", range(N), 1, meta, joints)
        assert frames_of(path, film) == straight(range(N))
    meta = {"keypoint_id2name": {str(2 * i): name for i, name in enumerate(names)}}
    with pytest.raises(BadRecord, match="does not count joints from 0"):
        frames_of(mmpose(tmp_path / "r.json", range(N), 1, meta, joints), film)
    path = mmpose(tmp_path / "r.json", range(N), 1, {"dataset_name": "h36m"})
    with pytest.raises(BadRecord, match=r"joints of h36m, which are not named.*--skeleton"):
        frames_of(path, film)
    with open_frames(film) as frames:
        assert on_video(path, frames, skeleton="h36m17").detections.skeleton == "h36m17"


def test_named_joints_are_found_by_name(tmp_path, film):
    h36m = SKELETONS["h36m17"].joints
    order = np.random.default_rng(1).permutation(17)
    places = {name: (40.0 + 2 * i, 30.0 + 3 * i) for i, name in enumerate(h36m)}
    meta = {
        "dataset_name": "h36m",
        "keypoint_id2name": {str(i): h36m[j] for i, j in enumerate(order)},
    }
    joints = lambda t: np.array([places[h36m[j]] for j in order])  # noqa: E731
    path = mmpose(tmp_path / "r.json", range(N), 1, meta, joints)
    with open_frames(film) as frames:
        found = on_video(path, frames).detections
        assert found.skeleton == "h36m17"
        np.testing.assert_allclose(found.xy_frame[0], [places[name] for name in h36m])
        with pytest.raises(BadRecord, match=r"no nose, left_eye.* of coco17 among its joints"):
            on_video(path, frames, skeleton="coco17")
        animal = {"keypoint_id2name": {str(i): f"paw {i}" for i in range(17)}}
        path = mmpose(tmp_path / "a.json", range(N), 1, animal)
        with pytest.raises(BadRecord, match="no known skeleton has its 17 joints: paw 0, paw 1"):
            on_video(path, frames)
        hand = SKELETONS["hand21"].joints
        tips_first = hand[4:0:-1] + hand[8:4:-1] + hand[12:8:-1] + hand[16:12:-1] + hand[20:16:-1]
        tips_first += hand[:1]
        meta = {"keypoint_id2name": {str(i): name for i, name in enumerate(tips_first)}}
        spread = {name: (30.0 + 3 * i, 40.0 + 2 * i) for i, name in enumerate(hand)}
        joints = lambda t: np.array([spread[name] for name in tips_first])  # noqa: E731
        found = on_video(mmpose(tmp_path / "h.json", range(N), 1, meta, joints), frames).detections
    assert found.skeleton == "hand21"
    np.testing.assert_allclose(found.xy_frame[0], [spread[name] for name in hand])


@pytest.mark.parametrize("n", [26, 133, 136])
@pytest.mark.parametrize("nested", [False, True])
def test_longer_lists_that_begin_with_coco_are_reduced(tmp_path, film, n, nested):
    rows = json.loads(coco(tmp_path / "r.json", range(N)).read_text())
    for row in rows:
        row["keypoints"] += [50.0, 60.0, 0.5] * (n - 17)
        if nested:
            row["keypoints"] = np.reshape(row["keypoints"], (n, 3)).tolist()
    path = save(tmp_path / "r.json", rows)
    assert frames_of(path, film) == straight(range(N))
    assert read_detections(path).skeleton == "coco17"


# --- who ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "tracks"),
    [
        ({"track_id": 4.0}, 4),
        ({"track_id": "7"}, 7),
        ({"idx": [3.0]}, 3),
        ({"idx": 3}, 3),
        ({"track_id": "7.0"}, 7),
        ({"track_id": 2**40}, 2**40),
        ({"instance_id": 5}, 5),
        ({"attributes": {"track_id": 6}}, 6),
        ({"track_id": "anna"}, 0),
    ],
)
def test_ids_are_read_as_programs_write_them(tmp_path, film, ids, tracks):
    path = coco(tmp_path / "r.json", range(N), **ids, box=[20, 10, 90, 110])
    with open_frames(film) as frames:
        found, notes, _ = on_video(path, frames)
    assert (found.tracks == tracks).all()
    assert any("0 is anna" in note for note in notes) == ("anna" in ids.values())
    np.testing.assert_allclose(found.boxes_xyxy[0], [20, 10, 110, 120])


def pairs(path, who, apart=60.0):
    """Two people in every frame, called so."""
    rows = []
    for person in (0, 1):
        new = coco(path, range(N), **{key: lambda t: v(t, person) for key, v in who.items()})  # noqa: B023
        rows += json.loads(scaled(new, 1, person * apart).read_text())
    return save(path, rows)


def test_ids_that_tell_nobody_apart(tmp_path, film):
    def told(**who):
        with open_frames(film) as frames:
            return on_video(pairs(tmp_path / "r.json", who, 30.0), frames)

    found, notes, _ = told(track_id=lambda t, person: person)
    assert set(found.tracks.tolist()) == {0, 1} and len(notes) == 1
    found, notes, _ = told(idx=lambda t, person: 0.0)
    assert found.tracks is None and "linked anew" in notes[1]
    with pytest.raises(BadRecord, match=r"person 3 stands twice in frame 2.*leave them out"):
        told(track_id=lambda t, person: 3 if t == 2 else 4 + person)
    assert "change places" in told(track_id=lambda t, person: (t + person) % 2).notes[1]
    assert "no id comes twice" in told(track_id=lambda t, person: 2 * t + person).notes[1]
    assert any("call it track_id" in note for note in told(person_id=lambda t, p: p).notes)
    with open_frames(film) as frames:
        notes = on_video(pairs(tmp_path / "r.json", {}, 0.0), frames).notes
    assert any("8 poses are the same as others of their frame" in note for note in notes)


def test_a_table_s_ids_have_several_names(tmp_path, film):
    path = table(tmp_path / "t.csv", range(N))
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},person_id", *(f"{line},5" for line in lines)]))
    with open_frames(film) as frames:
        assert (on_video(path, frames).detections.tracks == 5).all()


# --- whose pixels ---------------------------------------------------------------------------------


def scaled(path, factor, shift=0.0):
    rows = json.loads(path.read_text())
    for row in rows:
        points = np.reshape(row["keypoints"], (-1, 3))
        points[:, :2] = points[:, :2] * factor + shift
        row["keypoints"] = points.ravel().tolist()
    return save(path, rows)


@pytest.mark.parametrize(
    ("factor", "shift", "words"),
    [
        (12.0, 0, r"% of the joints lie in pictures of 160x120 px.*scale the results"),
        (1 / 160, 0, "px large.*fractions"),
        (1 / 60, -1.0, "px large.*metres"),
    ],
)
def test_numbers_that_are_no_pixels_of_the_video_are_refused(tmp_path, film, factor, shift, words):
    path = scaled(coco(tmp_path / "r.json", range(N)), factor, shift)
    with pytest.raises(BadRecord, match=words):
        frames_of(path, film)


def warnings_of(path, source):
    with open_frames(source) as frames:
        return [str(warning) for warning in on_video(path, frames).warnings]


def test_results_of_a_smaller_resolution_are_said(tmp_path):
    large = write_video(tmp_path / "l.webm", np.zeros((N, 480, 640, 3), np.uint8))
    path = coco(tmp_path / "r.json", [*range(N)] * 3)
    (warning,) = warnings_of(path, large)
    assert warning.startswith(f"BadRecord: {path}: no joint of 24 poses lies beyond")
    assert warning.endswith("Remedy: check that the results are of this resolution, and no percent")
    (warning,) = warnings_of(scaled(path, 1.5), large)
    assert warning.endswith("Remedy: check that the results are of this resolution")
    assert not warnings_of(scaled(path, 2.0), large)


def test_joints_beside_the_pictures_and_people_upside_down_are_said(tmp_path):
    large = write_video(tmp_path / "l.webm", np.zeros((10, 120, 160, 3), np.uint8))
    standing = np.stack((np.linspace(60, 80, 17), np.linspace(20, 100, 17)), 1)

    def said(xy):
        flat_xy = np.c_[xy, np.full(17, 0.9)].ravel().tolist()
        path = coco(tmp_path / "r.json", range(10), keypoints=lambda t: flat_xy)
        return " ".join(warnings_of(path, large))

    assert not said(standing)
    upwards = said(standing * (1, -1) + (0, 119))
    assert "10 of 10 people are upside down" in upwards and "height - 1 - y" in upwards
    exchanged = said(standing[:, ::-1])
    assert "10 of 10 people are on their sides" in exchanged and "x and y" in exchanged
    assert "18 % of the joints lie beside" in said(standing * 1.38)
    assert not said(standing * (-1, 1) + (159, 0)), "a mirror image cannot be told"


def test_coordinates_within_crops_are_refused(tmp_path, film):
    def rows(keypoints, box=lambda t: [28 + 4 * t, 18, 46, 94]):
        return coco(tmp_path / "r.json", range(N), keypoints=keypoints, bbox=box)

    def within(t):
        points = np.reshape(flat(t), (17, 3)) - (28 + 4 * t, 18, 0)
        return points.ravel().tolist()

    assert not warnings_of(rows(flat), film)
    path = rows(within, lambda t: [100 + t, 5, 50, 100])
    with pytest.raises(BadRecord, match=r"8 of 8 poses lie far from their boxes.*crops"):
        frames_of(path, film)
    assert frames_of(rows(flat, lambda t: [0, 0, 1, 1]), film) == straight(range(N))
    (warning,) = warnings_of(tmp_path / "r.json", film)
    assert "8 of 8 poses lie far from their boxes" in warning and "leave the boxes out" in warning


def test_fractions_are_of_each_picture(tmp_path, film):
    path = table(tmp_path / "t.csv", range(N), "x,y", size=(W, H))
    assert frames_of(path, film) == straight(range(N))
    with pytest.raises(BadFile, match=r"these are no fractions.*x_px"):
        frames_of(table(path, range(N), "x,y"), film)
    world = table(path, range(N), "x,y", size=(W, H))
    text = world.read_text().splitlines()
    lines = [text[0]]
    for line in text[1:]:
        frame, name, x, y, sure = line.split(",")
        lines.append(f"{frame},{name},{float(x) - 0.45},{float(y) - 0.55},{sure}")
    world.write_text("\n".join(lines))
    with pytest.raises(BadRecord, match="world landmarks"):
        frames_of(world, film)
    pictures = folder(tmp_path / "pics", ["0.jpg", "1.jpg"])
    Image.new("RGB", (80, 240)).save(pictures / "1.jpg")
    path = table(tmp_path / "t.csv", [0], "x,y", size=(W, H))
    both = table(tmp_path / "u.csv", [1], "x,y", size=(80, 240)).read_text().splitlines()[1:]
    path.write_text(path.read_text() + "\n" + "\n".join(both))
    assert frames_of(path, pictures) == {0: 0, 1: 1}


def test_pictures_are_turned_by_their_tag_and_other_results_are_told_so(tmp_path):
    names = [f"{t}.jpg" for t in range(3)]
    upright = folder(tmp_path / "pics", names, (H + 40, W - 40), turn=6)  # shown as 120 x 160
    path = coco(tmp_path / "r.json", range(3), names.__getitem__)
    assert frames_of(path, upright) == straight(range(3))
    stored = folder(tmp_path / "wide", names, (400, 90), turn=6)  # shown as 90 x 400
    path = scaled(path, (3.0, 0.7), (90.0, 0.0))
    with pytest.raises(BadRecord, match="shown turned, by their EXIF tag"):
        frames_of(path, stored)


# --- bad results ----------------------------------------------------------------------------------


def test_bad_results_are_counted_or_left_out(tmp_path, film):
    rows = json.loads(coco(tmp_path / "r.json", range(N)).read_text())
    rows[2]["score"] = "high"
    rows[5]["keypoints"][2] = 99.0
    path = save(tmp_path / "r.json", rows)
    with pytest.raises(BadRecord, match=r"result 2: score.*2 of 8 results are bad"):
        frames_of(path, film)
    with open_frames(film) as frames:
        found, _, warnings = on_video(path, frames, on_bad="report")
    assert found.frames.tolist() == [0, 1, 3, 4, 6, 7] and len(warnings) == 2
