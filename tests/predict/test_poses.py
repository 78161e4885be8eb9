"""PORT around its model: frame of coordinates, delta, mirror, missing joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench import load
from workbench.errors import BadParameter
from workbench.geometry import rotation
from workbench.models import build
from workbench.predict import (
    PortRefiner,
    RefineRule,
    as_simulated,
    place_missing,
    pose_frame,
    pose_weights,
    poses,
    refine_people,
)
from workbench.recipes import port as recipe
from workbench.records import Detections
from workbench.skeletons import skeleton


def detections(rng, n=5, skeleton="hand21", k=21):
    return Detections(
        skeleton,
        rng.normal(300, 40, (n, k, 2)),
        rng.random((n, k)),
        np.tile([0.0, 0, 9, 9], (n, 1)),
    )


def test_the_frame_follows_visible_joints_only():
    xy = np.array([[[0.0, 0], [2, 0], [0, 2], [2, 2], [99, 99]]])
    hidden = np.array([[False, False, False, False, True]])
    centre, size = pose_frame(xy, pose_weights(hidden, np.ones((1, 5)), "visible"))
    np.testing.assert_allclose(centre[0, 0], [1, 1])
    assert size.item() == pytest.approx(np.sqrt(2))
    few = np.array([[False, False, True, True, True]])
    assert pose_weights(few, np.ones((1, 5)), "visible").tolist() == [[1.0] * 5], (
        "two joints make no frame"
    )
    weights = pose_weights(hidden, np.array([[1.0, 1, 1, 1, 0]]), "confidence")
    np.testing.assert_allclose(pose_frame(xy, weights)[0][0, 0], [1, 1], atol=1e-3)


@pytest.mark.parametrize("config", ["paper", "denoise"])
def test_refinement_moves_and_scales_with_the_picture(rng, config):
    """Coordinates are normalised and back: a shifted, enlarged picture gives the shifted,
    enlarged answer.
    """
    torch.manual_seed(1)
    refiner = PortRefiner(build("port", config), RefineRule((0.4,) * 21))
    one = detections(rng)
    other = Detections("hand21", 3 * one.xy_frame + (50, -20), one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame, refiner.refine(other).xy_frame
    np.testing.assert_allclose(b, 3 * a + (50, -20), atol=0.05)


def test_the_mirror_makes_the_answer_symmetric(rng):
    torch.manual_seed(1)
    refiner = PortRefiner(build("port"), RefineRule((0.4,) * 21, mirror=True))
    one = detections(rng)
    flipped = Detections("hand21", one.xy_frame * (-1, 1), one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame, refiner.refine(flipped).xy_frame
    np.testing.assert_allclose(b, a * (-1, 1), atol=0.01)
    plain = PortRefiner(refiner.model, RefineRule((0.4,) * 21))
    assert np.abs(plain.refine(flipped).xy_frame - plain.refine(one).xy_frame * (-1, 1)).max() > 0.1


def test_blend_stops_on_the_way(rng):
    torch.manual_seed(1)
    model, one = build("port"), detections(rng)
    whole, half = (
        PortRefiner(model, RefineRule((0.4,) * 21, blend=b)).refine(one).xy_frame
        for b in (1.0, 0.5)
    )
    np.testing.assert_allclose(half, (one.xy_frame + whole) / 2, atol=1e-3)


def test_batches_do_not_matter(rng):
    refiner, one = load("port"), detections(rng, 11)
    mask = refiner.mask(one)
    whole = refiner.reconstruct(one, mask)
    refiner.batch = 3
    np.testing.assert_allclose(refiner.reconstruct(one, mask), whole, atol=1e-2)
    nobody = one.select([])
    assert refiner.refine(nobody).xy_frame.shape == (0, 21, 2)


def test_delta_given_by_hand_wins(rng):
    refiner, one = load("port"), detections(rng)
    assert (
        not refiner.refine(one, delta=0.0).replaced.any()
        and refiner.refine(one, delta=1.0).replaced.all()
    )
    chosen = np.zeros((5, 21), bool)
    chosen[2, 7] = True
    np.testing.assert_array_equal(refiner.refine(one, mask=chosen).replaced, chosen)


def test_another_skeleton_is_refused_by_name(rng):
    with pytest.raises(BadParameter, match="detections are coco17, the model knows hand21"):
        load("port").refine(detections(rng, skeleton="coco17", k=17))
    with pytest.raises(BadParameter, match="3 deltas"):
        PortRefiner(build("port"), RefineRule((0.1,) * 3))


def test_a_mirrored_body_exchanges_left_and_right(rng):
    refiner, other = load("port", skeleton="coco17"), skeleton("coco17").flip_index
    assert refiner.rule.mirror
    one = detections(rng, skeleton="coco17", k=17)
    flipped = (one.xy_frame * [-1, 1])[:, other]
    mirrored = Detections("coco17", flipped, one.confidence[:, other], one.boxes_xyxy)
    mask = refiner.mask(one)
    answer = refiner.reconstruct(mirrored, mask[:, other])
    np.testing.assert_allclose(
        answer[:, other] * [-1, 1], refiner.reconstruct(one, mask), atol=2e-2
    )


def test_a_joint_without_confidence_has_no_say(rng):
    refiner, one = load("port"), detections(rng)
    confidence, far = one.confidence.copy(), one.xy_frame.copy()
    confidence[:, 4], far[:, 4] = 0, -9999
    lost = [Detections("hand21", xy, confidence, one.boxes_xyxy) for xy in (one.xy_frame, far)]
    near, away = (refiner.reconstruct(d, refiner.mask(d)) for d in lost)
    np.testing.assert_allclose(near, away, atol=0.5)


def test_rotation_is_learned_not_built_in(rng):
    """A turned picture gives a nearly turned answer: the recipe turns its training hands."""
    refiner, one = load("port"), detections(rng)
    turn = rotation(0.7).T
    turned = Detections("hand21", one.xy_frame @ turn, one.confidence, one.boxes_xyxy)
    a, b = refiner.refine(one).xy_frame @ turn, refiner.refine(turned).xy_frame
    assert (
        np.linalg.norm(a - b, axis=-1).mean()
        < 0.2 * np.linalg.norm(one.xy_frame @ turn - a, axis=-1).max()
    )


def _hands_with_a_lost_finger(rng):
    hands = load("port")
    found = recipe.pairs("synthetic", n=3, seed=1)[1]
    xy, confidence = found.xy_frame.copy(), found.confidence.clip(0.01)
    finger = [5, 6, 7, 8]  # forefinger, from the palm out
    xy[0, finger], confidence[0, finger] = 0, 0
    confidence[2, 2:] = 0
    return hands, replace(found, xy_frame=xy, confidence=confidence), finger


def test_missing_joints_start_from_their_neighbours(rng):
    _, found, finger = _hands_with_a_lost_finger(rng)
    placed = place_missing(found)
    np.testing.assert_allclose(
        placed.xy_frame[0, finger], np.tile(found.xy_frame[0, 0], (4, 1)), rtol=1e-6
    )  # the wrist's
    np.testing.assert_array_equal(placed.xy_frame[1], found.xy_frame[1])
    middle = found.select([1])
    gap = np.where(np.arange(21) == 6, 0, middle.confidence)
    between = (middle.xy_frame[0, 5] + middle.xy_frame[0, 7]) / 2
    np.testing.assert_allclose(
        place_missing(replace(middle, confidence=gap)).xy_frame[0, 6], between, rtol=1e-6
    )
    nothing = replace(middle, confidence=np.zeros((1, 21)))
    np.testing.assert_array_equal(place_missing(nothing).xy_frame, middle.xy_frame)


def test_missing_joints_are_refined_and_their_old_place_does_not_matter(rng):
    hands, found, finger = _hands_with_a_lost_finger(rng)
    refined = refine_people(hands, found)
    assert refined.replaced[0, finger].all() and refined.detections is found
    assert not refined.replaced[2].any()  # two known joints are too few
    np.testing.assert_array_equal(
        refined.xy_frame[~refined.replaced], found.xy_frame[~refined.replaced]
    )
    np.testing.assert_array_equal(refined.xy_frame[1], hands.refine(found).xy_frame[1])
    elsewhere = found.xy_frame.copy()
    elsewhere[0, finger] = 5000
    again = refine_people(hands, replace(found, xy_frame=elsewhere))
    np.testing.assert_array_equal(again.xy_frame[0], refined.xy_frame[0])
    assert len(refine_people(hands, found.select([]))) == 0


# --- detectors that nobody has measured -----------------------------------------------------------


def judging(margin=0.0, share=0.4):
    torch.manual_seed(1)
    rule = RefineRule((0.5,) * 17, mirror=True, share=share, margin=margin)
    return PortRefiner(build("port", "abstain"), rule)


def half_judging(found):
    """Replaces half of the joints below delta; the gains that it expects of all, and the mask."""
    refiner = judging().fitted(found)
    mask = refiner.mask(found)
    gain = refiner.judged(found, mask).gain
    return judging(float(np.median(gain[mask]))), gain, mask


def body_detections(rng, n=23):
    found = detections(rng, n, "coco17", 17)
    return replace(found, confidence=found.confidence.clip(0.01), scores=None)


def test_confidences_are_read_by_their_rank(rng):
    confidence = np.array([[0.1, 0.9, 0.0], [0.3, 0.3, 0.5]], np.float32)
    known = np.sort(confidence[confidence > 0])
    found = as_simulated(confidence, known)
    # of five: the middles of the ranks, 0.1, 0.9, and 0.4 twice for the tie; Beta(2.08, 2.08)
    assert found[0, 2] == 0 and found[1, 0] == found[1, 1]
    assert found[0, 0] + found[0, 1] == pytest.approx(1, abs=1e-6)
    assert 0.15 < found[0, 0] < found[1, 0] < 0.5 < found[1, 2] < found[0, 1] < 0.85
    warped = as_simulated(confidence**3, np.sort(known**3))
    np.testing.assert_array_equal(warped, found)


def test_another_scale_of_confidence_changes_nothing(rng):
    one = body_detections(rng)
    refiner = half_judging(one)[0]
    other = replace(one, confidence=one.confidence**4 / 2, scores=None)
    a, b = refiner.refine(one), refiner.refine(other)
    assert a.replaced.any()
    np.testing.assert_array_equal(a.replaced, b.replaced)
    np.testing.assert_allclose(a.xy_frame, b.xy_frame, atol=1e-3)
    hands = load("port")
    assert hands.fitted(one) is hands, "hands have a delta of their own"


def test_delta_is_a_share_of_the_file(rng):
    refiner, one = judging(), body_detections(rng)
    fitted = refiner.fitted(one)
    assert fitted.mask(one).mean() == pytest.approx(0.4, abs=0.01)
    assert fitted.fitted(one.select([0])) is fitted and refiner.known is None
    whole = refiner.reconstruct(one, fitted.mask(one))
    part = one.select([5])
    alone = fitted.reconstruct(part, fitted.mask(part))
    np.testing.assert_allclose(alone, whole[[5]], atol=1e-2)
    own = refiner.reconstruct(part, fitted.mask(part))
    assert np.abs(own - whole[[5]]).max() > 0.1, "one pose is another file"


def test_what_is_not_expected_to_be_closer_is_left_alone(rng):
    one = body_detections(rng)
    refiner, gain, mask = half_judging(one)
    found = refiner.refine(one)
    np.testing.assert_array_equal(found.replaced, mask & (gain > refiner.rule.margin))
    np.testing.assert_array_equal(found.xy_frame[~found.replaced], one.xy_frame[~found.replaced])
    assert found.replaced.sum() == mask.sum() // 2
    assert not judging(2.0).refine(one).replaced.any()
    np.testing.assert_array_equal(refiner.refine(one, abstain=False).replaced, mask)


def test_a_detector_that_port_agrees_with_is_left_alone(rng):
    one = body_detections(rng)
    refiner, _, mask = half_judging(one)
    judged = refiner.judged(one, mask)
    size = pose_frame(
        one.xy_frame, np.square(as_simulated(one.confidence, refiner.fitted(one).known))
    )
    away = np.linalg.norm(judged.xy_frame - one.xy_frame, axis=-1) / size[1][..., 0]
    expected = np.quantile(away / refiner.model.judge.tolerance.numpy(), 0.8)
    found = judged.disagreement(one.confidence > 0)
    assert found == pytest.approx(expected, rel=1e-3)
    for floor, some in ((found * 0.99, True), (found * 1.01, False)):
        rule = replace(refiner.rule, floor=floor)
        assert PortRefiner(refiner.model, rule).refine(one).replaced.any() == some


def test_the_paper_s_rule_stays(rng):
    """A delta or a mask that is given replaces all of it (Eq. 13 and 14)."""
    refiner, one = judging(2.0), body_detections(rng)
    below = one.confidence < 0.3
    np.testing.assert_array_equal(refiner.refine(one, delta=0.3).replaced, below)
    np.testing.assert_array_equal(refiner.refine(one, mask=below).replaced, below)
    np.testing.assert_array_equal(refine_people(refiner, one, delta=0.3).replaced, below)
    assert not refine_people(refiner, one).replaced.any()


def test_missing_joints_are_filled_in_whatever_the_judge_says(rng):
    refiner, one = judging(2.0), body_detections(rng)
    confidence = one.confidence.copy()
    confidence[3, [4, 9]] = 0
    found = refine_people(refiner, replace(one, confidence=confidence, scores=None))
    assert np.argwhere(found.replaced).tolist() == [[3, 4], [3, 9]]


def test_a_missing_limb_is_looked_for_along_the_trunk():
    """A lost left shin is as long as the right one, also of a person who lies."""
    kin = skeleton("coco17")
    rng = np.random.default_rng(0)
    truth = np.zeros((1, 17, 2))
    for joint, (x, y) in {
        "shoulder": (20, 0),
        "elbow": (28, 30),
        "wrist": (30, 60),
        "hip": (14, 60),
        "knee": (16, 100),
        "ankle": (15, 140),
    }.items():
        truth[0, kin.index(f"left_{joint}")] = x, y
        truth[0, kin.index(f"right_{joint}")] = -x, y
    truth[0, :5] = rng.normal(0, 4, (5, 2)) - (0, 20)
    lying = truth[..., ::-1]
    lost = [kin.index("left_knee"), kin.index("left_ankle")]
    for xy in (truth, lying):
        confidence = np.where(np.isin(np.arange(17), lost), 0, 0.9)
        given = np.where(confidence[:, None] > 0, xy + 200, 0)
        boxes = np.array([[0.0, 0, 400, 400]])
        detections = Detections("coco17", given, confidence[None], boxes)
        placed = place_missing(detections).xy_frame - 200
        assert np.abs(placed[0, lost] - xy[0, lost]).max() < 5
        others = np.delete(placed, lost, 1)
        np.testing.assert_allclose(others, np.delete(given - 200, lost, 1), atol=1e-4)


@pytest.mark.parametrize("lost", [[13, 15], [9], [1, 3]])
def test_missing_joints_are_read_where_they_are_looked_for(lost, monkeypatch):
    """PORT makes less of them where all start at the pose's centre."""
    refiner = load("port", skeleton="coco17")
    truth, detected = recipe.pairs("synthetic", n=300, seed=11, skeleton="coco17")
    gone = np.isin(np.arange(17), lost)
    confidence = np.where(gone, 0, detected.confidence).astype(np.float32)
    people = replace(detected, confidence=confidence)
    errors = []
    for least in (poses.LEAST, 0.0):
        monkeypatch.setattr(poses, "LEAST", least)
        xy = refine_people(refiner, people, missing_alone=True).xy_frame
        errors.append(np.linalg.norm(xy - truth.xy_frame, axis=-1)[:, gone].mean())
    assert errors[0] < 0.97 * errors[1]
