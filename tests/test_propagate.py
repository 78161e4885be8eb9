from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from workbench import cli, propagate
from workbench.data.frames import open_frames
from workbench.errors import BadParameter, BadRecord, UnknownName
from workbench.models import build
from workbench.predict import Propagator, windows_between
from workbench.records import Clip, Track, Video
from workbench.skeletons import skeleton

K = 15


def texture(seed=3, w=120, h=90):
    noise = np.random.default_rng(seed).integers(0, 256, (h // 4, w // 4), dtype=np.uint8)
    return cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC)


def moving(step=(2, 1), t=9):
    """A textured picture that moves by whole pixels, and joints that move with it."""
    big = texture(w=200, h=160)
    frames = np.stack([np.dstack([big[40 - step[1] * i :, 40 - step[0] * i :][:90, :120]] * 3) for i in range(t)])
    start = np.random.default_rng(1).uniform((40, 30), (80, 60), (K, 2))
    return frames, start + np.arange(t)[:, None, None] * np.array(step)


def clip_of(xy, labelled, visibility=None, joints="posetrack15"):
    at = np.isin(np.arange(len(xy)), labelled)
    flags = (np.full(xy.shape[:2], 2) if visibility is None else visibility) * at[:, None]
    boxes = np.concatenate((xy.min(1) - 5, xy.max(1) + 5), -1) * at[:, None]
    track = Track(joints, 4, xy * at[:, None, None], flags, at, boxes)
    return Clip(Video("made", len(xy), 120, 90), [track], name="made")


def test_the_line_is_the_line():
    frames, xy = moving()
    bent = xy + (np.arange(9) % 4 != 0)[:, None, None] * np.array([3.0, -2.0])
    found = propagate.linear(windows_between([(clip_of(bent, (0, 4, 8)), frames)]))
    assert found.frames.tolist() == [1, 2, 3, 5, 6, 7] and found.tracks.tolist() == [4] * 6
    np.testing.assert_allclose(found.xy_frame, xy[found.frames], atol=1e-4)
    assert (found.confidence == 1).all()
    np.testing.assert_allclose(found.boxes_xyxy[0][:2], xy[1].min(0) - 5, atol=1e-4)


def test_a_joint_without_one_label_follows_the_other():
    frames, xy = moving()
    flags = np.full((9, K), 2)
    flags[0, 3] = flags[8, 5] = 0
    flags[[0, 8], 7] = 0
    clip = clip_of(xy, (0, 8), flags)
    found = propagate.linear(windows_between([(clip, frames)]))
    np.testing.assert_allclose(found.xy_frame[:, 3], xy[[8] * 7, 3], atol=1e-4)
    np.testing.assert_allclose(found.xy_frame[:, 5], xy[[0] * 7, 5], atol=1e-4)
    assert (found.confidence[:, [3, 5]] == 0.5).all() and (found.confidence[:, 7] == 0).all()
    boxes = found.boxes_xyxy
    np.testing.assert_allclose(found.xy_frame[:, 7], (boxes[:, :2] + boxes[:, 2:]) / 2, atol=1e-4)


def test_flow_follows_what_a_line_cannot():
    """The picture goes two px a frame to the right and turns back in the middle: the line between the ends stands still."""
    big, there = texture(w=240, h=180), [0, 2, 4, 6, 8, 6, 4, 2, 0]
    frames = np.stack([np.dstack([big[40:130, 40 - x : 160 - x]] * 3) for x in there])
    xy = np.random.default_rng(1).uniform((40, 30), (80, 60), (K, 2)) + np.array(there)[:, None, None] * [1.0, 0.0]
    windows = windows_between([(clip_of(xy, (0, 8)), frames)])
    flow, line = (
        way.xy_frame - xy[1:8] for way in (propagate.farneback(windows, progress=False), propagate.linear(windows))
    )
    assert np.abs(line[3, :, 0]).min() == pytest.approx(8, abs=1e-3)
    assert np.linalg.norm(flow, axis=-1).mean() < 0.7


def test_flow_is_the_same_in_a_larger_picture():
    frames, xy = moving()
    large = np.stack([cv2.resize(f, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC) for f in frames])  # 960 px wide
    found = propagate.farneback(windows_between([(clip_of((xy + 0.5) * 8 - 0.5, (0, 8)), large)]), progress=False)
    assert np.linalg.norm((found.xy_frame + 0.5) / 8 - 0.5 - xy[1:8], axis=-1).mean() < 0.5


class Echo(torch.nn.Module):
    """Answers with the mean of the two labels that it is told, in heatmap space; a place far off where it is told none."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.seen = model, model.config, []

    def forward(self, images, distance, auxiliary_xy_crop=None, auxiliary_weights=None):
        self.seen.append((tuple(images.shape), distance, auxiliary_weights))
        return {"xy": torch.zeros(len(images), K, 2) if auxiliary_xy_crop is None else auxiliary_xy_crop.mean(1)}

    def decode(self, found):
        return found["xy"], torch.full(found["xy"].shape[:2], 0.7)


@pytest.fixture
def echo():
    propagator = Propagator(build("stdpose", "tiny"))
    propagator.model = Echo(propagator.model)
    propagator.to = lambda device: propagator
    Propagator.device = property(lambda self: torch.device("cpu"))
    yield propagator
    del Propagator.device


def test_a_network_is_told_both_neighbours_labels_and_answers_in_the_frame(echo):
    frames, xy = moving()
    windows = echo.windows([(clip_of(xy, (0, 8)), frames)])
    found = echo.carry(windows)
    np.testing.assert_allclose(found.xy_frame, np.stack([xy[4]] * 7), atol=1e-3)
    shape, distance, weights = echo.model.seen[0]
    assert shape[1] == 3 and distance.tolist() == [[i, 8 - i] for i in range(1, 8)]
    assert 0.9 < weights.mean() < 1, "a label outside the crop is not told"
    echo.carry(windows, given=False)
    assert echo.model.seen[1][2] is None


def test_without_labels_it_looks_three_frames_back_and_ahead(monkeypatch):
    propagator = Propagator(build("stdpose", "tiny"))
    frames, xy = moving()
    box = np.concatenate((xy[4].min(0) - 5, xy[4].max(0) + 5))[None]
    seen, forward = [], propagator.model.forward
    monkeypatch.setattr(propagator.model, "forward", lambda **kw: seen.append(kw) or forward(**kw))
    found = propagator.estimate(frames[1:8], box)
    crops = [propagator.crops(frames[i], box)[0] for i in (1, 4, 7)]
    torch.testing.assert_close(seen[0]["images"], torch.stack(crops, 1))
    assert seen[0]["distance"].tolist() == [[3, 3]] and "auxiliary_xy_crop" not in seen[0]
    assert found.xy_frame.shape == (1, K, 2) and len(propagator.estimate(frames[1:8], box[:0])) == 0
    with pytest.raises(BadParameter, match="3 frames, 7 expected"):
        propagator.estimate(frames[:3], box)


def test_joints_that_the_network_does_not_know_stay_on_the_line(echo):
    frames, xy = moving()
    coco = np.concatenate((xy, xy[:, :2] + 3), 1)
    bent = coco + (np.arange(9) % 8 != 0)[:, None, None] * np.array([6.0, 0.0])
    clip = clip_of(bent, (0, 8), joints="coco17")
    found = propagate.propagate(clip, frames, echo)
    assert found.skeleton == "coco17" and found.source == "stdpose" and len(found) == 7
    known = [name in skeleton("posetrack15").joints for name in skeleton("coco17").joints]
    np.testing.assert_allclose(found.xy_frame[:, known], np.stack([coco[4][known]] * 7), atol=1e-3)
    np.testing.assert_allclose(found.xy_frame[:, ~np.array(known)], coco[1:8][:, ~np.array(known)], atol=1e-3)
    assert (found.confidence[:, known] == np.float32(0.7)).all() and (
        found.confidence[:, ~np.array(known)] == 0.5
    ).all()
    assert sum(known) == 13


# --- files ---


def labels(xy, at, **image):
    names = list(skeleton("posetrack15").joints)
    content = {
        "info": {"by": "me"},
        "categories": [{"id": 5, "name": "person", "keypoints": names, "skeleton": []}],
        "images": [{"id": 10 + i, "file_name": f"clip/{i:06d}.jpg"} | {k: v(i) for k, v in image.items()} for i in at],
        "annotations": [
            {
                "id": 70 + i, "image_id": 10 + i, "category_id": 5, "track_id": 4, "note": "mine",
                "keypoints": np.concatenate((xy[i], np.full((K, 1), 2)), 1).round(2).ravel().tolist(),
                "bbox": [*(xy[i].min(0) - 5).tolist(), *(np.ptp(xy[i], axis=0) + 10).tolist()],
            }
            for i in at
        ],
    }  # fmt: skip
    return content


@pytest.fixture
def video(tmp_path):
    frames, xy = moving()
    folder = tmp_path / "clip"
    folder.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i:06d}.jpg"), frame)
    return folder, xy


def test_a_file_comes_back_with_the_poses_between_and_nothing_else_changed(video, tmp_path):
    folder, xy = video
    path, content = tmp_path / "labels.json", labels(xy, (0, 4, 8))
    content["images"].append({"id": "seen", "file_name": "clip/000002.jpg", "mine": 1})
    path.write_text(json.dumps(content))
    with open_frames(folder) as frames:
        read, clip, image_frames = propagate.read_labels(path, frames)
        found = propagate.propagate(clip, frames)
        names = [f"clip/{i:06d}.jpg" for i in range(9)]
        out = propagate.write_propagated(tmp_path / "out.json", read, clip, image_frames, found, names)
    assert image_frames == {"10": 0, "14": 4, "18": 8, "seen": 2}
    made = json.loads(out.read_text())
    assert made["annotations"][:3] == content["annotations"] and made["images"][:4] == content["images"]
    assert made["info"] == content["info"] and made["categories"] == content["categories"]
    new = made["annotations"][3:]
    assert len(new) == 6 and all(a["propagated"] and a["track_id"] == 4 and a["category_id"] == 5 for a in new)
    assert [a["between"] for a in new] == [[0, 4]] * 3 + [[4, 8]] * 3 and new[0]["score"] == 1
    ids = [a["id"] for a in made["annotations"]]
    assert len(set(ids)) == 9 and len({str(i["id"]) for i in made["images"]}) == 9
    frame_of = {str(i["id"]): int(i["file_name"][-10:-4]) for i in made["images"]}
    assert [frame_of[str(a["image_id"])] for a in new] == [1, 2, 3, 5, 6, 7] and new[1]["image_id"] == "seen"
    np.testing.assert_allclose(np.reshape(new[1]["keypoints"], (K, 3))[:, :2], xy[2], atol=0.02)
    again = propagate.read_labels(out, open_frames(folder))[1]
    assert again.tracks[0].labelled.all(), "what was written is read as labels"


def test_flags_of_a_carried_joint_are_the_lower_of_its_labels(video, tmp_path):
    folder, xy = video
    content = labels(xy, (0, 8))
    for row, flags in enumerate(((2, 1, 0, 0), (1, 2, 2, 0))):
        points = content["annotations"][row]["keypoints"]
        points[2:12:3] = flags
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    frames = open_frames(folder)
    read, clip, image_frames = propagate.read_labels(path, frames)
    out = propagate.write_propagated(tmp_path / "o.json", read, clip, image_frames, propagate.propagate(clip, frames))
    new = [a for a in json.loads(out.read_text())["annotations"] if a.get("propagated")]
    joints = np.reshape(new[0]["keypoints"], (K, 3))
    known = clip.tracks[0].visibility[[0, 8]][:, :4]
    expected = np.where((known > 0).all(0), known.min(0), known.max(0))
    assert joints[:4, 2].tolist() == expected.tolist() and (joints[joints[:, 2] == 0, :2] == 0).all()
    assert new[0]["num_keypoints"] == (joints[:, 2] > 0).sum()


@pytest.mark.parametrize("how", ["frame_id", "counted from 1", "numbers in names"])
def test_images_find_their_frames(video, tmp_path, how):
    _, xy = video
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 90))
    for _ in range(9):
        writer.write(np.zeros((90, 120, 3), np.uint8))
    writer.release()
    at = {"frame_id": (0, 4, 8), "counted from 1": (0, 4, 8), "numbers in names": (0, 3)}[how]
    name = {"frame_id": lambda i: "x.jpg", "counted from 1": lambda i: f"f{i + 1}.jpg"}.get(
        how, lambda i: f"a7_{i:02d}.png"
    )
    content = labels(xy, at, file_name=name, **({"frame_id": lambda i: i} if how == "frame_id" else {}))
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    _, clip, image_frames = propagate.read_labels(path, open_frames(tmp_path / "v.avi"))
    assert tuple(image_frames.values()) == at and np.flatnonzero(clip.tracks[0].labelled).tolist() == list(at)


def test_people_without_numbers_are_told_apart_by_place(video, tmp_path):
    folder, xy = video
    content = labels(xy, (0, 4, 8))
    for a in list(content["annotations"]):
        del a["track_id"]
        other = json.loads(json.dumps(a)) | {"id": a["id"] + 100}
        other["keypoints"] = [v + (60 if i % 3 == 0 else 0) for i, v in enumerate(a["keypoints"])]
        other["bbox"][0] += 60
        content["annotations"].insert(0, other)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    read, clip, _ = propagate.read_labels(path, open_frames(folder))
    assert len(clip.tracks) == 2 and all(t.labelled.sum() == 3 for t in clip.tracks)
    assert all(np.ptp(t.xy_frame[[0, 4, 8], 0, 0]) < 40 for t in clip.tracks)
    assert all(type(a["track_id"]) is int for a in read["annotations"])


def test_bad_labels_are_named(video, tmp_path):
    folder, xy = video
    frames, path = open_frames(folder), tmp_path / "labels.json"
    for change, words in (
        (lambda c: c["images"][1].update(file_name="clip/000099.jpg"), "frame 99"),
        (lambda c: c["annotations"].append(c["annotations"][0] | {"id": 3}), "two poses of track 4"),
    ):
        content = labels(xy, (0, 4, 8))
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(BadRecord, match=words) as error:
            propagate.read_labels(path, frames)
        assert str(path) in str(error.value)


def test_the_command_writes_the_file_and_a_video(video, tmp_path):
    folder, xy = video
    path, out, shown = (tmp_path / name for name in ("labels.json", "out.json", "shown.webm"))
    path.write_text(json.dumps(labels(xy, (0, 4, 8))))
    base = ["propagate", str(folder), "--labels", str(path), "--out", str(out)]
    result = CliRunner().invoke(cli.app, [*base, "--method", "farneback", "--overlay", str(shown)])
    assert result.exit_code == 0, result.output
    assert sum(bool(a.get("propagated")) for a in json.loads(out.read_text())["annotations"]) == 6
    with open_frames(shown) as made:
        assert len(list(made)) == 9
    for wrong, error in ((["--method", "guess"], UnknownName), (["--out", str(path)], BadParameter)):
        refused = CliRunner().invoke(cli.app, [*base, *wrong])
        assert isinstance(refused.exception, error)
    path.write_text(json.dumps(labels(xy, (0,))))
    refused = CliRunner().invoke(cli.app, [*base, "--method", "linear"])
    assert isinstance(refused.exception, BadRecord) and "between labels" in str(refused.exception)


def test_pictures_show_labels_and_what_was_carried():
    frames, xy = moving()
    clip = clip_of(xy, (0, 8))
    people = propagate.all_poses(clip, propagate.propagate(clip, frames))
    assert len(people) == 9 and people.replaced.all(1).sum() == 7
    frame_of = people.detections.frames
    assert sorted(frame_of.tolist()) == list(range(9)) and not people.replaced[np.isin(frame_of, (0, 8))].any()
    np.testing.assert_allclose(people.xy_frame[np.argsort(frame_of)], xy, atol=1e-3)
