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
