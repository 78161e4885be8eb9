"""Detections in, `Prediction` out: the one straight line from px to px.

`base` holds what every method shares, `poses` PORT, `sequences` HANet, `estimate` the three that
read pictures, `weights` how they are loaded, `own_video` the way of a user's video through them.
"""

from .base import Predictor
from .estimate import (
    ClipEstimator,
    Estimated,
    PoseEstimator,
    Propagator,
    between_inputs,
    estimate_people,
    frame_windows,
    poses_between,
    windows_between,
)
from .own_video import VideoResult, recorded, refined_people, video
from .poses import (
    PortRefiner,
    RefineRule,
    place_missing,
    pose_frame,
    pose_weights,
    refine_people,
)
from .sequences import SequenceRefiner, SequenceStream, refine_tracks
from .weights import OF_PICTURES, SHIPPED, described, load, weights_path

__all__ = [
    "OF_PICTURES",
    "SHIPPED",
    "ClipEstimator",
    "Estimated",
    "PortRefiner",
    "PoseEstimator",
    "Predictor",
    "Propagator",
    "RefineRule",
    "SequenceRefiner",
    "SequenceStream",
    "VideoResult",
    "between_inputs",
    "described",
    "estimate_people",
    "frame_windows",
    "load",
    "place_missing",
    "pose_frame",
    "pose_weights",
    "poses_between",
    "recorded",
    "refine_people",
    "refine_tracks",
    "refined_people",
    "video",
    "weights_path",
    "windows_between",
]
