from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.growth import LINEAR, growth
from tests.models.tiny import tiny
from tests.sparse import K, clip_of, film, labels, moving, new, pictures, read, texture
from workbench import cli, propagate
from workbench.data.frames import _VideoFile, open_frames
from workbench.data.labels import write_propagated
from workbench.errors import BadParameter, BadRecord, Taken, UnknownName
from workbench.models import build
from workbench.predict import Propagator, windows_between
from workbench.records import Clip
from workbench.skeletons import skeleton


@pytest.fixture
def video(tmp_path):
    return pictures(tmp_path / "clip")


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
    """The picture goes two px a frame to the right and turns back in the middle: the line
    between the ends stands still.
    """
    big, there = texture(w=240, h=180), [0, 2, 4, 6, 8, 6, 4, 2, 0]
    frames = np.stack([np.dstack([big[40:130, 40 - x : 160 - x]] * 3) for x in there])
    xy = np.random.default_rng(1).uniform((40, 30), (80, 60), (K, 2)) + np.array(there)[
        :, None, None
    ] * [1.0, 0.0]
    windows = windows_between([(clip_of(xy, (0, 8)), frames)])
    flow, line = (
        way.xy_frame - xy[1:8]
        for way in (propagate.farneback(windows, progress=False), propagate.linear(windows))
    )
    assert np.abs(line[3, :, 0]).min() == pytest.approx(8, abs=1e-3)
    assert np.linalg.norm(flow, axis=-1).mean() < 0.7


def test_flow_is_the_same_in_a_larger_picture():
    frames, xy = moving()
    # 960 px wide
    large = np.stack(
        [cv2.resize(f, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC) for f in frames]
    )
    found = propagate.farneback(
        windows_between([(clip_of((xy + 0.5) * 8 - 0.5, (0, 8)), large)]), progress=False
    )
    assert np.linalg.norm((found.xy_frame + 0.5) / 8 - 0.5 - xy[1:8], axis=-1).mean() < 0.5


class Echo(torch.nn.Module):
    """Answers with the mean of the two labels that it is told, in heatmap space; a place far off
    where it is told none.
    """

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.seen = model, model.config, []

    def forward(self, images, distance, auxiliary_xy_crop=None, auxiliary_weights=None):
        self.seen.append((tuple(images.shape), distance, auxiliary_weights))
        return {
            "xy": torch.zeros(len(images), K, 2)
            if auxiliary_xy_crop is None
            else auxiliary_xy_crop.mean(1)
        }

    def decode(self, found):
        return found["xy"], torch.full(found["xy"].shape[:2], 0.7)


class EchoPropagator(Propagator):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__(build("stdpose", tiny("stdpose")))
        self.model = Echo(self.model)


@pytest.fixture
def echo():
    return EchoPropagator()


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
    propagator = Propagator(build("stdpose", tiny("stdpose")))
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
    np.testing.assert_allclose(
        found.xy_frame[:, ~np.array(known)], coco[1:8][:, ~np.array(known)], atol=1e-3
    )
    assert (found.confidence[:, known] == np.float32(0.7)).all() and (
        found.confidence[:, ~np.array(known)] == 0.5
    ).all()
    assert sum(known) == 13


def test_an_animal_is_carried_by_flow_and_refused_by_the_network(video, tmp_path):
    folder, xy = video
    content = labels(xy, (0, 4, 8))
    content["categories"][0]["keypoints"] = [f"paw_{i}" for i in range(K)]
    path, out = tmp_path / "labels.json", tmp_path / "out.json"
    path.write_text(json.dumps(content))
    base = ["propagate", str(folder), "--labels", str(path), "--out", str(out)]
    shown = ["--overlay", str(tmp_path / "shown.webm")]
    result = CliRunner().invoke(cli.app, [*base, "--method", "farneback", *shown])
    assert result.exit_code == 0, result.output
    assert sum(bool(a.get("propagated")) for a in json.loads(out.read_text())["annotations"]) == 6
    out.unlink()
    refused = CliRunner().invoke(cli.app, base)
    assert isinstance(refused.exception, BadParameter)
    assert "none of the file's own" in str(refused.exception)


def test_long_gaps_stay_open_where_that_is_asked(video):
    folder, xy = video
    clip = read(folder, labels(xy, (0, 3, 8))).clip
    assert propagate.gaps(clip.tracks[0]) == [(0, 3), (3, 8)]
    found = [len(propagate.propagate(clip, folder, max_gap=n)) for n in (2, 3, 4)]
    assert found == [2, 2, 6]
    with pytest.raises(BadRecord, match="at most 1, or allow longer gaps"):
        propagate.propagate(clip, folder, max_gap=1)


def test_joints_that_only_moved_on_the_line_are_told(video, echo):
    folder, xy = video
    content = labels(xy, (0, 8))
    content["categories"][0]["keypoints"] = list(skeleton("coco17").joints)
    for a in content["annotations"]:
        a["keypoints"] += [50, 40, 2, 52, 40, 1]
        a["keypoints"][3:6] = 0, 0, 0  # left_eye: nobody labelled it
    given = read(folder, content)
    echo.model.decode = lambda found: (found["xy"], torch.full(found["xy"].shape[:2], 1.2))
    with open_frames(folder) as frames:
        found = propagate.propagate(given.clip, frames, echo, progress=False)
    line = propagate.unknown_joints("coco17", echo)
    assert line == [
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
    ] and not propagate.unknown_joints("coco17", "linear")
    made = json.loads(write_propagated(folder.parent / "o.json", given, found, line).read_text())
    assert all(a["interpolated"] == line[1:] and a["method"] == "stdpose" for a in new(made))
    assert new(made)[0]["scores"][5] == 1, "a heatmap's peak above 1 is 1"


def test_a_video_is_decoded_once(tmp_path, monkeypatch, echo):
    pictures, xy = moving()
    n = 60
    source = film(tmp_path / "v.avi", [pictures[i % 9] for i in range(n)])
    there = np.tile(xy[4], (n, 1, 1))
    tracks = [replace(clip_of(there, range(s, n, 7)).tracks[0], track_id=s) for s in (0, 3)]
    grabbed, grab = [], _VideoFile._grab
    monkeypatch.setattr(_VideoFile, "_grab", lambda self: grabbed.append(self._at) or grab(self))
    with open_frames(source) as frames:
        clip = Clip(frames.video, tracks, name="v")
        del grabbed[:]
        found = propagate.propagate(clip, frames, echo, progress=False)
    assert (
        len(found) > 90
        and len(grabbed) <= n + 2
        and found.frames.tolist() == sorted(found.frames.tolist())
    )
    by_hand = echo.carry(echo.windows([(clip, [pictures[i % 9] for i in range(n)])]))
    order = np.argsort(by_hand.frames, kind="stable")
    np.testing.assert_allclose(found.xy_frame, by_hand.xy_frame[order], atol=1e-4)
    assert found.tracks.tolist() == by_hand.tracks[order].tolist()


def test_few_kept_frames_give_the_same_pixels(tmp_path):
    source = film(tmp_path / "v.avi", moving()[0])
    with open_frames(source) as frames, open_frames(source) as plain:
        kept = propagate.KeptFrames(frames, 3 * 120 * 90 * 3)
        for i in (0, 4, 1, 4, 2, 8, 3, 0):
            assert (kept[i] == plain[i]).all() and len(kept.held) <= 3


def test_pictures_show_labels_and_what_was_carried():
    frames, xy = moving()
    clip = clip_of(xy, (0, 8))
    people = propagate.all_poses(clip, propagate.propagate(clip, frames))
    assert len(people) == 9 and people.replaced.all(1).sum() == 7
    frame_of = people.detections.frames
    assert (
        sorted(frame_of.tolist()) == list(range(9))
        and not people.replaced[np.isin(frame_of, (0, 8))].any()
    )
    np.testing.assert_allclose(people.xy_frame[np.argsort(frame_of)], xy, atol=1e-3)


def test_people_of_one_gap_share_its_flows(monkeypatch):
    frames, xy = moving()
    one, calls, flow = clip_of(xy, (0, 8)), [], cv2.calcOpticalFlowFarneback
    other = replace(one.tracks[0], track_id=5, xy_frame=one.tracks[0].xy_frame[:, ::-1])
    both = replace(one, tracks=[*one.tracks, other])
    monkeypatch.setattr(
        cv2, "calcOpticalFlowFarneback", lambda *a, **kw: calls.append(1) or flow(*a, **kw)
    )
    windows = windows_between([(both, frames)])
    found = propagate.farneback(windows, progress=False, flows_kept=2)
    assert len(calls) == 16, "eight forward, eight backward"
    alone = propagate.farneback(windows_between([(one, frames)]), progress=False)
    np.testing.assert_allclose(found.xy_frame[found.tracks == 4], alone.xy_frame, atol=1e-4)
    np.testing.assert_allclose(
        found.xy_frame[found.tracks == 5], alone.xy_frame[:, ::-1], atol=1e-4
    )


def test_flow_names_pictures_that_differ_in_size(video):
    folder, xy = video
    cv2.imwrite(str(folder / "000003.jpg"), np.zeros((45, 60, 3), np.uint8))
    clip = read(folder, labels(xy, (0, 8))).clip
    with (
        open_frames(folder) as frames,
        pytest.raises(BadRecord, match=r"frames 2 and 3 differ in size.*Remedy: scale"),
    ):
        propagate.propagate(clip, frames, "farneback", progress=False)


def test_the_command_writes_the_file_and_a_video(video, tmp_path):
    folder, xy = video
    path, out, shown = (tmp_path / name for name in ("labels.json", "out.json", "shown.webm"))
    path.write_text(json.dumps(labels(xy, (0, 4, 8))))
    base = ["propagate", str(folder), "--labels", str(path), "--out", str(out)]
    video = ["--overlay", str(shown), "--long-side", "61"]
    result = CliRunner().invoke(cli.app, [*base, "--method", "farneback", *video])
    assert result.exit_code == 0, result.output
    assert "overlay: " in result.output and " % of the time encoding" in result.output
    assert sum(bool(a.get("propagated")) for a in json.loads(out.read_text())["annotations"]) == 6
    with open_frames(shown) as made:
        assert len(list(made)) == 9 and max(made[0].shape) == 60
    carried = out.read_bytes()
    for wrong, error in (
        ([], Taken),
        (["--method", "guess"], UnknownName),
        (["--out", str(path)], Taken),
        (["--overlay", str(out)], Taken),
        (["--out", str(tmp_path / "new.json"), "--overlay", str(shown)], Taken),
        (["--out", str(tmp_path / "new.json"), "--overlay", "x.mp4"], BadParameter),
    ):
        refused = CliRunner().invoke(cli.app, [*base, *wrong])
        assert isinstance(refused.exception, error)
    assert out.read_bytes() == carried
    assert "taken: clip/000000.jpg as frame 0, clip/000008.jpg as frame 8" in result.output
    out.unlink()
    gap = CliRunner().invoke(
        cli.app, [*base, "--method", "linear", "--max-gap", "3", "--first-frame", "0"]
    )
    assert gap.exit_code == 0 and "longest gap" in gap.output
    assert "encoding" not in gap.output
    content = labels(xy, (0, 2, 4, 8))
    content["annotations"][2]["bbox"] = [1, 2, -3, 4]
    path.write_text(json.dumps(content))
    out.unlink()
    told = CliRunner().invoke(cli.app, [*base, "--method", "linear", "--on-bad", "report"])
    assert told.exit_code == 0 and "warning: " in told.output and "annotation 74" in told.output, (
        told.output
    )
    path.write_text(json.dumps(labels(xy, (0,))))
    out.unlink()
    refused = CliRunner().invoke(cli.app, [*base, "--method", "linear"])
    assert isinstance(refused.exception, BadRecord) and "between labels" in str(refused.exception)


def test_a_cut_video_is_used_as_far_as_it_goes(tmp_path):
    whole = film(tmp_path / "v.avi", [moving()[0][i % 9] for i in range(60)])
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    content = labels(np.tile(moving()[1], (9, 1, 1)), (0, 8, 58))
    path, out = tmp_path / "labels.json", tmp_path / "out.json"
    path.write_text(json.dumps(content))
    base = ["propagate", str(cut), "--labels", str(path), "--out", str(out), "--method", "linear"]
    made = CliRunner().invoke(
        cli.app, [*base, "--on-bad", "report", "--overlay", str(tmp_path / "o.webm")]
    )
    assert made.exit_code == 0 and len(new(json.loads(out.read_text()))) == 7, made.output
    assert (
        "60 frames by its header" in made.output
        and "image 68 (clip/000058.jpg): belongs to no frame" in made.output
    )


def test_filling_gaps_costs_in_proportion_to_the_frames():
    def make(n):
        xy = np.random.default_rng(0).uniform(20, 80, (n, K, 2))
        clip = clip_of(xy, range(0, n, 4))

        def fill():
            found = propagate.propagate(clip, "nowhere", "linear", progress=False)
            propagate.all_poses(clip, found)

        return fill

    assert growth(make, 100) < LINEAR
