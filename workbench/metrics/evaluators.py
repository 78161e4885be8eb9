"""COCO's ten numbers of people, detections and similarities that are given instead of read and
computed: by faster-coco-eval, or where it is missing by pycocotools, which is some ten times
slower and whose numbers are the same to 1e-9.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
from jaxtyping import Float

Records = list[list[dict]]  # of each picture, in the order of its similarities
Similarities = list[Float[np.ndarray, "_ _"]]  # of each picture, detections by people


def coco_stats(
    people: Records, found: Records, similarity: Similarities
) -> Float[np.ndarray, "10"]:
    """AP and AR in COCO's order, -1 where nobody counts.

    people: {id, area, ignore, iscrowd}, ids from 1; found: {id, score, area}, by falling score, at
    most 20 a picture; areas px^2.
    """
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError:
        return by_pycocotools(people, found, similarity)
    return by_faster_coco_eval(people, found, similarity)


def by_faster_coco_eval(
    people: Records, found: Records, similarity: Similarities
) -> Float[np.ndarray, "10"]:
    """`coco_stats` in C++."""
    from faster_coco_eval import COCOeval_faster

    class Evaluation(COCOeval_faster):
        def _prepare(self):
            for dataset, records in ((self.gt_dataset, people), (self.dt_dataset, found)):
                for picture, of_picture in enumerate(records):
                    for record in of_picture:
                        dataset.append_ref(picture, 0, record)

        def computeOks(self, picture, category):
            oks = similarity[picture]
            return oks.tolist() if oks.size else []  # none also where only one side has anybody

    evaluation = Evaluation(iouType="keypoints", print_function=lambda line: None)
    return _evaluated(evaluation, len(similarity))


def by_pycocotools(
    people: Records, found: Records, similarity: Similarities
) -> Float[np.ndarray, "10"]:
    """`coco_stats` in Python."""
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):
        def _prepare(self):
            self._gts = {(picture, 0): records for picture, records in enumerate(people)}
            self._dts = {(picture, 0): records for picture, records in enumerate(found)}

        def computeOks(self, picture, category):
            return similarity[picture]

    with redirect_stdout(io.StringIO()):
        return _evaluated(Evaluation(iouType="keypoints"), len(similarity))


def _evaluated(evaluation: object, n_pictures: int) -> Float[np.ndarray, "10"]:
    evaluation.params.imgIds = list(range(n_pictures))
    evaluation.params.catIds = [0]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats
