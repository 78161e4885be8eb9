"""Joint names, bones, left/right pairs and OKS sigmas of every skeleton. Names only, no tensor
maths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import UnknownName, unknown


@dataclass(frozen=True)
class Skeleton:
    """One ordered set of joints.

    edges: bones as index pairs (parent first); a tree where the joints form one, never the 1-based
    lists of the files. flip_pairs: (left, right) index pairs that a mirrored picture exchanges.
    oks_sigmas: per-joint constants of object keypoint similarity (std of annotation error over
    object scale), or None.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    root: int = 0
    oks_sigmas: tuple[float, ...] | None = None
    sigma_source: str = "none published for this skeleton"
    order_source: str = ""

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Index of a joint by name; `UnknownName` with near matches otherwise."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise unknown(f"joint of {self.name}", joint, self.joints) from None

    @cached_property
    def adjacency(self) -> np.ndarray:
        """Binary symmetric bone matrix [k k], zero diagonal: A of PORT Sec. III-B."""
        a = np.zeros((len(self), len(self)), np.float32)
        for i, j in self.edges:
            a[i, j] = a[j, i] = 1
        a.setflags(write=False)
        return a

    @cached_property
    def chains(self) -> tuple[tuple[int, ...], ...]:
        """Fingers or limbs: what hangs together once joints with three or more bones are gone,
        each from its base outwards.
        """
        a = self.adjacency > 0
        left = set(np.flatnonzero(a.sum(1) < 3).tolist())
        hops = {self.root: 0}
        queue = [self.root]
        for i in queue:
            for j in np.flatnonzero(a[i]).tolist():
                if j not in hops:
                    hops[j] = hops[i] + 1
                    queue.append(j)
        chains = []
        while left:
            piece, queue = set(), [min(left)]
            while queue:
                i = queue.pop()
                piece.add(i)
                queue += [j for j in np.flatnonzero(a[i]).tolist() if j in left and j not in piece]
            left -= piece
            chains.append(tuple(sorted(piece, key=lambda i: (hops[i], i))))
        return tuple(chains)

    @cached_property
    def flip_index(self) -> np.ndarray:
        """Permutation [k]: joint i of the mirrored picture is joint flip_index[i] of the
        original.
        """
        index = np.arange(len(self))
        for left, right in self.flip_pairs:
            index[[left, right]] = right, left
        index.setflags(write=False)
        return index


def _make(name: str, joints: str, bones: str, root: str | None = None, **kw) -> Skeleton:
    """Bones are written as chains of names: "a-b-c d-e"; left/right pairs follow from the names."""
    names = tuple(joints.split())
    at = {n: i for i, n in enumerate(names)}
    edges = tuple(
        (at[a], at[b])
        for chain in bones.split()
        for a, b in zip(chain.split("-")[:-1], chain.split("-")[1:], strict=True)
    )
    pairs = tuple((at[n], at[n.replace("left", "right")]) for n in names if "left" in n)
    return Skeleton(name, names, edges, pairs, at[root or names[0]], **kw)


_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")

# std of repeated human annotation, COCO keypoint evaluation (cocodataset.org/#keypoints-eval), head
# to foot
_NOSE, _EYE, _EAR, _SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE, _ANKLE = (
    0.026,
    0.025,
    0.035,
    0.079,
    0.072,
    0.062,
    0.107,
    0.087,
    0.089,
)
_LIMBS = tuple(s for s in (_SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE, _ANKLE) for _ in "lr")
_COCO_SOURCE = "COCO keypoint evaluation (std of repeated annotations)"

_COCO_LIMBS = (
    "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_LIMB_BONES = (
    "left_shoulder-left_elbow-left_wrist right_shoulder-right_elbow-right_wrist "
    "left_hip-left_knee-left_ankle right_hip-right_knee-right_ankle"
)
_TORSO = "left_shoulder-right_shoulder left_shoulder-left_hip right_shoulder-right_hip left_hip-right_hip"
_COCO_BONES = (
    "nose-left_eye-left_ear nose-right_eye-right_ear left_ear-left_shoulder "
    "right_ear-right_shoulder "
    f"{_TORSO} {_LIMB_BONES}"
)

# COCO-WholeBody (Jin et al., ECCV 2020), left-hand keypoints, in the order wrist, thumb to little
# finger from the palm out
_HAND_SIGMAS = (
    0.029,
    0.022,
    0.035,
    0.037,
    0.047,
    0.026,
    0.025,
    0.024,
    0.035,
    0.018,
    0.024,
    0.022,
    0.026,
    0.017,
    0.021,
    0.021,
    0.032,
    0.020,
    0.019,
    0.022,
    0.031,
)
# RHD counts each finger from the tip inwards: its index i is this index of the Panoptic order.
RHD_FROM_HAND21 = (0, *(4 * f + 4 - i for f in range(5) for i in range(4)))


def _hand(name: str, outwards: bool, order_source: str) -> Skeleton:
    palm_out = ["wrist"] + [f"{f}{i}" for f in _FINGERS for i in (1, 2, 3, 4)]
    order = range(21) if outwards else RHD_FROM_HAND21
    bones = " ".join("-".join(["wrist", *(f"{f}{i}" for i in (1, 2, 3, 4))]) for f in _FINGERS)
    return _make(
        name,
        " ".join(palm_out[i] for i in order),
        bones,
        oks_sigmas=tuple(_HAND_SIGMAS[i] for i in order),
        sigma_source="COCO-WholeBody, left hand (set for hands as parts of people)",
        order_source=order_source,
    )


SKELETONS: dict[str, Skeleton] = {
    s.name: s
    for s in (
        _make(
            "coco17",
            f"nose left_eye right_eye left_ear right_ear {_COCO_LIMBS}",
            _COCO_BONES,
            oks_sigmas=(_NOSE, _EYE, _EYE, _EAR, _EAR, *_LIMBS),
            sigma_source=_COCO_SOURCE,
            order_source="COCO person_keypoints categories; AIST++ and torchvision's keypoint detector use the same order",
        ),
        _make(
            "posetrack17",
            f"nose head_bottom head_top left_ear right_ear {_COCO_LIMBS}",
            "nose-head_bottom nose-head_top head_bottom-left_shoulder head_bottom-right_shoulder "
            "nose-left_ear nose-right_ear "
            f"{_TORSO} {_LIMB_BONES}",
            oks_sigmas=(_NOSE, _EYE, _EYE, _EAR, _EAR, *_LIMBS),
            sigma_source="COCO values by position, as common PoseTrack18 configurations use them; "
            "PoseTrack's own evaluation is head-normalised PCK and uses none",
            order_source="PoseTrack18 json categories; both ears are never labelled",
        ),
        _make(
            "posetrack15",
            f"nose head_bottom head_top {_COCO_LIMBS}",
            "nose-head_bottom nose-head_top head_bottom-left_shoulder head_bottom-right_shoulder "
            f"{_TORSO} {_LIMB_BONES}",
            oks_sigmas=(_NOSE, _EYE, _EYE, *_LIMBS),
            sigma_source="COCO values by position, as common PoseTrack18 configurations use them; "
            "PoseTrack's own evaluation is head-normalised PCK and uses none",
            order_source="PoseTrack18 order without the ears, the 15 joints that carry labels",
        ),
        _make(
            "crowdpose14",
            f"{_COCO_LIMBS} head neck",
            f"head-neck neck-left_shoulder neck-right_shoulder {_TORSO} {_LIMB_BONES}",
            root="neck",
            oks_sigmas=(*_LIMBS, _SHOULDER, _SHOULDER),
            sigma_source="CrowdPose API evaluation",
            order_source="CrowdPose json categories (head is the top of the head)",
        ),
        _make(
            "jhmdb15",
            "neck belly head right_shoulder left_shoulder right_hip left_hip right_elbow "
            "left_elbow "
            "right_knee left_knee right_wrist left_wrist right_ankle left_ankle",
            "belly-neck-head neck-right_shoulder-right_elbow-right_wrist "
            "neck-left_shoulder-left_elbow-left_wrist "
            "belly-right_hip-right_knee-right_ankle belly-left_hip-left_knee-left_ankle",
            root="belly",
            order_source="JHMDB puppet annotation, right before left",
        ),
        _make(
            "h36m17",
            "root left_hip left_knee left_foot right_hip right_knee right_foot spine thorax "
            "neck_base head "
            "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist",
            "root-left_hip-left_knee-left_foot root-right_hip-right_knee-right_foot "
            "root-spine-thorax-neck_base-head "
            "thorax-left_shoulder-left_elbow-left_wrist "
            "thorax-right_shoulder-right_elbow-right_wrist",
            order_source="Human3.6M, the 17 joints used by 2D-to-3D work, left leg first as in MMPose's files",
        ),
        _make(
            "smpl24",
            "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle "
            "spine3 left_foot right_foot "
            "neck left_collar right_collar head left_shoulder right_shoulder left_elbow "
            "right_elbow left_wrist right_wrist "
            "left_hand right_hand",
            "pelvis-left_hip-left_knee-left_ankle-left_foot "
            "pelvis-right_hip-right_knee-right_ankle-right_foot "
            "pelvis-spine1-spine2-spine3-neck-head "
            "spine3-left_collar-left_shoulder-left_elbow-left_wrist-left_hand "
            "spine3-right_collar-right_shoulder-right_elbow-right_wrist-right_hand",
            order_source="SMPL kinematic tree (3DPW pose parameters)",
        ),
        _make(
            "3dpw14",
            "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist "
            "right_elbow right_shoulder "
            "left_shoulder left_elbow left_wrist neck head",
            f"head-neck neck-left_shoulder neck-right_shoulder {_TORSO} {_LIMB_BONES}",
            root="neck",
            order_source="LSP order, the 14 joints on which 3DPW is evaluated",
        ),
        _make(
            "mpii16",
            "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax neck "
            "head_top "
            "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist",
            "pelvis-right_hip-right_knee-right_ankle pelvis-left_hip-left_knee-left_ankle "
            "left_hip-right_hip "
            "pelvis-thorax-neck-head_top thorax-right_shoulder-right_elbow-right_wrist "
            "thorax-left_shoulder-left_elbow-left_wrist",
            root="pelvis",
            order_source="MPII Human Pose",
        ),
        _hand(
            "hand21",
            True,
            "CMU Panoptic, FreiHAND and FPHB as PORT uses them: wrist, then each finger from the "
            "palm outwards",
        ),
        _hand("hand21_rhd", False, "RHD: wrist, then each finger from the tip inwards"),
    )
}

# Other names under which the same order is known.
ALIASES = {"aist17": "coco17", "fphb21": "hand21", "panoptic21": "hand21", "rhd21": "hand21_rhd"}


def skeleton(name: str) -> Skeleton:
    """The skeleton of that name or alias; `UnknownName` with near matches otherwise."""
    try:
        return SKELETONS[ALIASES.get(name, name)]
    except KeyError:
        raise unknown("skeleton", name, [*SKELETONS, *ALIASES]) from None


def skeleton_of_joints(joints: tuple[str, ...] | list[str]) -> Skeleton:
    """The skeleton whose joint names are these in its order, as annotation files state them; "Left
    Shoulder" is left_shoulder.

    Errors: `UnknownName`, which says if they are a skeleton's in another order.
    """
    plain = tuple("_".join(re.split(r"[\W_]+", str(joint).strip().lower())) for joint in joints)
    for s in SKELETONS.values():
        if s.joints in (tuple(joints), plain):
            return s
    for s in SKELETONS.values():
        if sorted(s.joints) == sorted(plain):
            raise UnknownName(
                f"{s.name}'s joints in another order", remedy=f"write them as {', '.join(s.joints)}"
            )
    raise UnknownName(
        f"no known skeleton has these {len(joints)} joints: {', '.join(map(str, joints[:5]))}, ...",
        remedy=f"name one of {', '.join(SKELETONS)} explicitly",
    )
