"""People and detections by hand, for scores of both."""

from __future__ import annotations

import numpy as np

from workbench.records import Detections, Pose
from workbench.skeletons import skeleton


def people(flags, images, **fields):
    """100 px tall, 50 px wide people side by side, their joints on a diagonal; px."""
    flags = np.array(flags)
    left = 200 * np.arange(len(flags)).reshape(-1, 1)
    boxes = np.concatenate((left, 0 * left, left + 50, 0 * left + 100), 1)
    step = np.linspace(0, 1, flags.shape[1])
    xy = np.stack((left + 50 * step, 0 * left + 100 * step), -1) * (flags > 0)[..., None]
    fields = {"areas": np.full(len(flags), 2500), **fields}
    name = "coco17" if flags.shape[1] == 17 else "crowdpose14"
    return Pose(name, xy, flags, boxes, images=images, **fields)


def whole(truth):
    """Where all joints of `people` are, also those that are not labelled."""
    step = np.linspace(0, 1, truth.xy_frame.shape[1])
    return truth.boxes_xyxy[:, None, :2] + step[:, None] * np.array((50.0, 100.0))


def detections(xy, scores, images, name="coco17"):
    xy = np.asarray(xy, float).reshape(-1, len(skeleton(name)), 2)
    return Detections(name, xy, np.ones(xy.shape[:2]), np.zeros((len(xy), 4)), scores, images)
