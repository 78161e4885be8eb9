"""COCO's ten numbers are the same from both evaluators."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from workbench.metrics.evaluators import by_faster_coco_eval, by_pycocotools, coco_stats


def some_pictures(rng, n=13):
    """People, detections by falling score and their similarities: with ties of score and of
    similarity, groups, people who are left out, sizes at the edges, pictures without one or both.
    """
    people, found, similarity = [], [], []
    person_ids, found_ids = iter(range(1, 1000)), iter(range(1, 10_000))
    for _ in range(n):
        crowds = rng.random(rng.integers(0, 7)) < 0.2
        areas = rng.choice([900, 32**2, 2000.5, 96**2, 20_000], (2, 20))
        people.append(
            [
                {
                    "id": next(person_ids),
                    "area": float(area),
                    "ignore": bool(crowd or rng.random() < 0.2),
                    "iscrowd": int(crowd),
                }
                for crowd, area in zip(crowds, areas[0])
            ]
        )
        scores = sorted(rng.integers(0, 11, rng.integers(0, 21)).tolist(), reverse=True)
        found.append(
            [
                {"id": next(found_ids), "score": score, "area": float(area)}
                for score, area in zip(scores, areas[1])
            ]
        )
        similarity.append(rng.integers(40, 101, (len(scores), len(crowds))) / 100)
    return people, found, similarity


@pytest.mark.parametrize("seed", range(7))
def test_both_evaluators_say_the_same(seed):
    pytest.importorskip("faster_coco_eval")
    pictures = some_pictures(np.random.default_rng(seed))
    fast = by_faster_coco_eval(*pictures)
    np.testing.assert_allclose(fast, by_pycocotools(*pictures), rtol=0, atol=1e-9)
    assert 0.05 < fast[0] < 0.95
    nobody = [[]] * 3, [[]] * 3, [np.zeros((0, 0))] * 3
    assert set(by_faster_coco_eval(*nobody)) == set(by_pycocotools(*nobody)) == {-1}


def test_pycocotools_steps_in_where_the_other_is_missing(monkeypatch, rng):
    pictures = some_pictures(rng)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert (coco_stats(*pictures) == by_pycocotools(*pictures)).all()


def test_the_faster_one_is_taken_where_it_is_there(monkeypatch, rng):
    pytest.importorskip("faster_coco_eval")
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    assert coco_stats(*some_pictures(rng))[0] > 0
