"""How far poses are from the truth, and how well they find people; no plotting.

`distances`: errors of poses that are paired with the truth, and scores by visibility. `coco`:
average precision by object keypoint similarity. `posetrack`: PoseTrack's average precision.
Files of results are scored in `data.scoring`.
"""

from .coco import (
    STATS,
    ignored,
    keypoint_ap,
    match,
    oks,
    paired_oks,
    person_areas,
    uses_box,
)
from .distances import (
    JOINTS,
    LEVEL,
    PCK_THRESHOLD,
    Calibration,
    accel,
    bootstrap_interval,
    box_sizes,
    calibration,
    epe,
    hits,
    joint_distances,
    joints_of,
    p_epe,
    pck,
    pck_by_visibility,
    procrustes,
    torso_sizes,
    visibility_accuracy,
)
from .posetrack import head_sizes, in_ignored, pckh_ap, posetrack_ap, posetrack_ap_draws
