"""How far poses are from the truth, and how well they find people; no plotting.

`distances`: errors of poses that are paired with the truth. `coco`: average precision by object
keypoint similarity. `visibility`: scores by visibility. `posetrack`: PoseTrack's average precision.
Files of results are scored in `data.scoring`.
"""

from .coco import STATS, ignored, keypoint_ap, match, oks, person_areas, uses_box
from .distances import (
    accel,
    bootstrap_interval,
    box_sizes,
    epe,
    hits,
    joint_distances,
    p_epe,
    pck,
    procrustes,
    torso_sizes,
)
from .posetrack import head_sizes, in_ignored, pckh_ap, posetrack_ap, posetrack_ap_draws
from .visibility import (
    JOINTS,
    PCK_THRESHOLD,
    Calibration,
    calibration,
    joints_of,
    pck_by_visibility,
    visibility_accuracy,
)
