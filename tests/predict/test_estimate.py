"""People estimated in pictures, and in frames among their neighbours."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.data.hugging_face_models import peaked, save_vitpose
from tests.growth import LINEAR, growth
from tests.models.tiny import tiny
from workbench import geometry, load
from workbench.data.hugging_face import VitPose
from workbench.data.windows import WindowConfig, Windows
from workbench.errors import BadParameter, BadRecord
from workbench.models import build
from workbench.predict import (
    OF_PICTURES,
    ClipEstimator,
    PoseEstimator,
    estimate_people,
    frame_windows,
)
from workbench.records import Clip, Detections, Track, Video
from workbench.skeletons import skeleton


def test_people_of_a_video_are_estimated_in_their_boxes(rng):
    estimator = PoseEstimator(build("vissimcc", tiny("vissimcc")))
    frames = rng.integers(0, 255, (3, 60, 80, 3), np.uint8)
    boxes = np.array([[10, 5, 40, 55], [20, 20, 20, 50], [30, 10, 70, 50]], float)
    found = Detections(
        "coco17", rng.uniform(0, 60, (3, 17, 2)), np.full((3, 17), 0.4), boxes, frames=[2, 0, 0]
    )
    made = estimate_people(estimator, frames, found)
    np.testing.assert_allclose(
        made.xy_frame[0], estimator.estimate(frames[2], boxes[:1]).xy_frame[0], atol=1e-3
    )
    np.testing.assert_array_equal(made.replaced.all(1), [True, False, True])
    np.testing.assert_array_equal(made.xy_frame[1], found.xy_frame[1])
    with pytest.raises(BadParameter, match="without frames"):
        estimate_people(estimator, frames, replace(found, frames=None))


@pytest.mark.parametrize("name", sorted(OF_PICTURES))
def test_half_precision_changes_little_and_only_the_answers(rng, name):
    exact, mixed = load(name), load(name, precision="bf16")
    frames = rng.integers(0, 255, (2 * exact.reach + 1, 96, 128, 3), dtype=np.uint8)
    boxes = np.array([[10.0, 5, 60, 90], [50, 10, 120, 90]])
    one, other = (e.estimate(frames, boxes) for e in (exact, mixed))
    assert (
        not np.array_equal(one.confidence, other.confidence)
        and other.xy_frame.dtype == one.xy_frame.dtype
    )
    np.testing.assert_allclose(other.confidence, one.confidence, atol=0.1)
    assert all(p.dtype == torch.float32 for p in mixed.model.parameters())
    mixed.precision = "fp32"
    np.testing.assert_array_equal(mixed.estimate(frames, boxes).xy_frame, one.xy_frame)


def test_heatmaps_of_another_estimator_are_read_from_a_file(rng, tmp_path):
    estimator = ClipEstimator(build("otpose", tiny("otpose")))
    crops = torch.from_numpy(
        rng.normal(size=(3, 5, 3, *estimator.model.config.size[::-1])).astype(np.float32)
    )
    with torch.inference_mode():
        maps = estimator.rough(crops).numpy()
    np.save(tmp_path / "maps.npy", maps)
    own = estimator.read(crops)
    estimator.batch = 2
    read = estimator.read_heatmaps(tmp_path / "maps.npy")
    np.testing.assert_allclose(read.xy_crop, own.xy_crop, atol=1e-4)
    np.testing.assert_allclose(estimator.read_heatmaps(maps).confidence, own.confidence, atol=1e-6)
    np.save(tmp_path / "short.npy", maps[:, :4])
    with pytest.raises(BadRecord, match="heatmaps"):
        estimator.read_heatmaps(tmp_path / "short.npy")


def test_joints_of_another_set_are_found_by_name(rng):
    """OTPose's shoulders in COCO's people: eyes and ears stay; hands have nothing of it."""
    estimator = PoseEstimator(build("vissimcc", replace(tiny("vissimcc"), skeleton="posetrack15")))
    frames, boxes = (
        rng.integers(0, 255, (1, 60, 80, 3), np.uint8),
        np.array([[10, 5, 40, 55]], float),
    )
    found = Detections(
        "coco17", rng.uniform(0, 60, (1, 17, 2)), np.full((1, 17), 0.4), boxes, frames=[0]
    )
    made, own = estimate_people(estimator, frames, found), estimator.estimate(frames[0], boxes)
    names, theirs = skeleton("coco17").joints, skeleton("posetrack15").joints
    np.testing.assert_allclose(
        made.xy_frame[0, names.index("left_knee")],
        own.xy_frame[0, theirs.index("left_knee")],
        atol=1e-3,
    )
    left = [name for name, moved in zip(names, made.replaced[0]) if not moved]
    assert left == ["left_eye", "right_eye", "left_ear", "right_ear"]
    np.testing.assert_array_equal(
        made.xy_frame[0, ~made.replaced[0]], found.xy_frame[0, ~made.replaced[0]]
    )
    hands = Detections("hand21", np.zeros((1, 21, 2)), np.zeros((1, 21)), boxes, frames=[0])
    with pytest.raises(BadParameter, match="detections are hand21, the model knows posetrack15"):
        estimate_people(estimator, frames, hands)


@pytest.mark.parametrize(
    ("n", "seen"),
    [
        (1, ["00000"]),
        (2, ["00011", "00111"]),
        (3, ["00012", "00122", "01222"]),
        (6, ["00012", "00123", "01234", "12345", "23455", "34555"]),
        (0, []),
    ],
)
def test_frames_among_their_neighbours_repeat_at_the_ends(n, seen):
    frames = [np.full((1, 1, 3), 10 * i) for i in range(n)]
    windows = list(frame_windows(iter(frames), 2))
    assert ["".join(map(str, numbers)) for numbers, _ in windows] == seen
    for numbers, window in windows:
        assert all(frame is frames[i] for i, frame in zip(numbers, window, strict=True))
    assert [numbers for numbers, _ in frame_windows(frames, 0)] == [(i,) for i in range(n)]


@pytest.mark.parametrize("method", ["otpose", "stdpose"])
def test_at_a_border_a_repeated_frame_is_as_far_as_the_frame_that_it_is(rng, method):
    """A video's people get what windows of the same clip and the bare model give."""
    estimator, t = load(method), 8
    model, reach = estimator.model, estimator.reach
    offsets = (-2, -1, 0, 1, 2) if method == "otpose" else (-reach, 0, reach)
    frames = rng.integers(0, 255, (t, 60, 80, 3), np.uint8)
    boxes = np.array([[5.0, 5, 40, 55]]) + 3 * np.arange(t)[:, None]
    blank = np.zeros((t, 15, 2)), np.full((t, 15), 2)
    track = Track("posetrack15", 0, *blank, np.ones(t, bool), boxes)
    config = WindowConfig(model.config.size, offsets, alignment=model.config.alignment)
    windows = Windows([(Clip(Video("v", t, 80, 60), [track]), frames)], config)
    batch = windows.batch(range(t))
    distance = (batch["frames"] - batch["frames"][:, config.key, None]).abs()
    assert distance[0, : config.key].tolist() == [0] * config.key and distance[0, -1] == reach
    told = distance if method == "otpose" else distance[:, ::2]
    with torch.inference_mode():
        xy, confidence = model.decode(model(images=batch["images"], distance=told))
    back = geometry.invert(batch["affine"].double().numpy())

    found = Detections("posetrack15", blank[0], np.ones((t, 15)), boxes, frames=np.arange(t))
    made = estimate_people(estimator, frames, found)
    np.testing.assert_allclose(made.xy_frame, geometry.apply(back, xy.double().numpy()), atol=1e-2)
    np.testing.assert_allclose(made.confidence, confidence.numpy(), atol=1e-5)
    window = np.arange(1 - reach, 2 + reach).clip(0)
    apart = estimator.estimate(frames[window], boxes[1:2])
    assert np.abs(apart.confidence[0] - made.confidence[1]).max() > 1e-4


def test_a_video_is_estimated_from_five_frames_at_a_time(rng):
    estimator = ClipEstimator(build("otpose", tiny("otpose")))
    frames = rng.integers(0, 255, (4, 60, 80, 3), np.uint8)
    boxes = np.array([[5, 5, 40, 55], [30, 2, 70, 58], [0, 0, 0, 0]], np.float32)
    found = Detections(
        "posetrack15",
        np.zeros((3, 15, 2)),
        np.full((3, 15), 0.5),
        boxes,
        frames=np.array([0, 3, 3]),
        tracks=np.arange(3),
    )
    made = estimate_people(estimator, frames, found)
    assert made.replaced.all(1).tolist() == [True, True, False] and made.method == "otpose"
    numbers = [1, 2, 3, 3, 3]
    own = estimator.estimate(frames[numbers], boxes[1:2], numbers=numbers)
    np.testing.assert_allclose(made.xy_frame[1], own.xy_frame[0], atol=1e-3)
    np.testing.assert_array_equal(made.xy_frame[2], found.xy_frame[2])
    assert len(estimator.estimate(frames[[0, 0, 0, 1, 2]], boxes[:0])) == 0


class Prompt(PoseEstimator):
    """Answers at once, whatever it is shown."""

    reach = 2

    def estimate(self, frames, boxes, *, numbers):
        n, k = len(boxes), len(self.skeleton)
        return SimpleNamespace(xy_frame=np.zeros((n, k, 2)), confidence=np.ones((n, k)))


def test_people_of_a_long_video_cost_in_proportion_to_its_frames():
    estimator = Prompt(build("vissimcc", tiny("vissimcc")))

    def make(n):
        boxes = np.tile([0.0, 0, 9, 9], (n, 1))
        xy, confidence = np.zeros((n, 17, 2)), np.ones((n, 17))
        found = Detections("coco17", xy, confidence, boxes, frames=np.arange(n))
        frame = np.zeros((2, 2, 3), np.uint8)
        return lambda: estimate_people(estimator, (frame for _ in range(n)), found)

    assert growth(make, 200) < LINEAR


def test_transformers_and_we_read_the_same_joints_with_the_same_vitpose(tmp_path, rng):
    """Boxes (x, y, width, height there), their padding by 1.25 to the crop's aspect, and the warp
    of centres on centres are the same: crops differ by at most one grey level, where OpenCV rounds
    and scipy cuts off. On one crop the heatmaps agree to float32.

    What differs: transformers refines the highest pixel by DARK, we by a quarter of a pixel (0.25
    heatmap px, here 1.61 px of the picture); we take the mean with the mirror image unless told
    not to; and beyond the picture's border scipy has zeros at once, where OpenCV blends.
    """
    folder = save_vitpose(tmp_path / "vitpose", peaked())
    theirs = VitPose(f"transformers:{folder}")
    ours = load("vissimcc", weights=folder / "model.safetensors", skeleton="coco17")
    assert ours.padding == 1.25
    frame = rng.integers(0, 255, (81, 103, 3), np.uint8)
    boxes = np.array([[20.0, 8, 50, 48], [31.3, 15, 61.3, 53.6]])
    crops, _ = ours.crops(frame, boxes)
    boxes_xywh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    read = theirs.processor(frame, boxes=[boxes_xywh.tolist()], return_tensors="pt")
    grey = 255 * torch.tensor(theirs.processor.image_std)[:, None, None]
    assert ((crops - read["pixel_values"]) * grey).abs().max() < 1.01
    with torch.inference_mode():
        maps = ours.model(crops)["heatmaps"]
        other = theirs.model(crops, dataset_index=torch.zeros(2, dtype=torch.long)).heatmaps
    torch.testing.assert_close(maps, other, rtol=0, atol=1e-5)
    assert 0.6 < maps.amax() < 1.2
    ours.mirror = False
    one, two = ours.estimate(frame, boxes), theirs.estimate(frame, boxes)
    assert np.abs(one.xy_frame - two.xy_frame).max() < 0.5
    np.testing.assert_allclose(one.confidence, two.confidence, rtol=0, atol=1e-3)
