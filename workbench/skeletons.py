"""Joint names, bones, left/right pairs and OKS sigmas of every skeleton. Names only, no tensor
maths.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

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
    def _walk(self) -> dict[int, int]:
        """Joints from the root outwards, the nearest first, and the parent of each."""
        parents = {self.root: -1}
        queue = [self.root]
        for i in queue:
            new = [j for j in np.flatnonzero(self.adjacency[i]).tolist() if j not in parents]
            parents.update(dict.fromkeys(new, i))
            queue += new
        return parents

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Each joint's parent on the shortest way to the root; -1 at the root, and where no way of
        bones leads there.
        """
        return tuple(self._walk.get(i, -1) for i in range(len(self)))

    @cached_property
    def chains(self) -> tuple[tuple[int, ...], ...]:
        """Fingers or limbs: what hangs together once joints with three or more bones are gone,
        each from its base outwards.
        """
        inner = self.adjacency.sum(1) < 3
        base, chains = {}, {}
        for joint, parent in self._walk.items():
            if inner[joint]:
                base[joint] = base.get(parent, joint)
                chains.setdefault(base[joint], []).append(joint)
        return tuple(tuple(chain) for chain in sorted(chains.values(), key=min))

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


def _both(text: str) -> str:
    """Words of joints, or chains of them, with a star twice: once left, once right."""
    words = []
    for word in text.split():
        sides = ("left_", "right_") if "*" in word else ("",)
        words += [word.replace("*", side) for side in sides]
    return " ".join(words)


def _make(
    name: str,
    joints: str,
    bones: str,
    root: str | None = None,
    sigmas: Mapping[str, float] | None = None,
    **source,
) -> Skeleton:
    """Bones are written as chains of names, "a-b-c d-e"; "*hip" is left_hip and right_hip.
    Left/right pairs follow from the names, sigmas from names without left and right.
    """
    names = tuple(_both(joints).split())
    at = {joint: i for i, joint in enumerate(names)}
    chains = [[at[joint] for joint in chain.split("-")] for chain in _both(bones).split()]
    edges = tuple(bone for chain in chains for bone in pairwise(chain))
    pairs = tuple((at[n], at[n.replace("left", "right")]) for n in names if "left" in n)
    values = None
    if sigmas:
        values = tuple(sigmas[re.sub("^(left|right)_", "", joint)] for joint in names)
    return Skeleton(name, names, edges, pairs, at[root or names[0]], values, **source)


# std of repeated human annotation, COCO keypoint evaluation (cocodataset.org/#keypoints-eval)
_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    # PoseTrack's two stand where COCO has eyes; CrowdPose's two as its API has them
    "head_bottom": 0.025,
    "head_top": 0.025,
    "head": 0.079,
    "neck": 0.079,
}
_POSETRACK_SIGMAS = (
    "COCO values by position, as common PoseTrack18 configurations use them; "
    "PoseTrack's own evaluation is head-normalised PCK and uses none"
)

_COCO_LIMBS = "*shoulder *elbow *wrist *hip *knee *ankle"
_COCO_BONES = (
    "left_shoulder-right_shoulder *shoulder-*hip left_hip-right_hip "
    "*shoulder-*elbow-*wrist *hip-*knee-*ankle"
)
_LSP_LEGS = "right_ankle right_knee right_hip left_hip left_knee left_ankle"
_LSP_ARMS = "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"

# COCO-WholeBody (Jin et al., ECCV 2020), left-hand keypoints, each finger from the palm out
_FINGER_SIGMAS = {
    "thumb": (0.022, 0.035, 0.037, 0.047),
    "forefinger": (0.026, 0.025, 0.024, 0.035),
    "middle_finger": (0.018, 0.024, 0.022, 0.026),
    "ring_finger": (0.017, 0.021, 0.021, 0.032),
    "pinky_finger": (0.020, 0.019, 0.022, 0.031),
}
_HAND_SIGMAS = {"wrist": 0.029} | {
    f"{finger}{i}": sigma
    for finger, sigmas in _FINGER_SIGMAS.items()
    for i, sigma in enumerate(sigmas, 1)
}
# RHD counts each finger from the tip inwards: its index i is this index of the Panoptic order.
RHD_FROM_HAND21 = (0, *(4 * f + 4 - i for f in range(5) for i in range(4)))


def _hand(name: str, order: Sequence[int]) -> Skeleton:
    palm_out = tuple(_HAND_SIGMAS)
    return _make(
        name,
        " ".join(palm_out[i] for i in order),
        " ".join("-".join(("wrist", *palm_out[i : i + 4])) for i in range(1, 21, 4)),
        sigmas=_HAND_SIGMAS,
        sigma_source="COCO-WholeBody, left hand (set for hands as parts of people)",
    )


_ALL = (
    # COCO person_keypoints categories; AIST++ and torchvision's keypoint detector have the same
    _make(
        "coco17",
        f"nose *eye *ear {_COCO_LIMBS}",
        f"nose-*eye-*ear *ear-*shoulder {_COCO_BONES}",
        sigmas=_SIGMAS,
        sigma_source="COCO keypoint evaluation (std of repeated annotations)",
    ),
    # PoseTrack18 json categories; both ears are never labelled
    _make(
        "posetrack17",
        f"nose head_bottom head_top *ear {_COCO_LIMBS}",
        f"nose-head_bottom nose-head_top head_bottom-*shoulder nose-*ear {_COCO_BONES}",
        sigmas=_SIGMAS,
        sigma_source=_POSETRACK_SIGMAS,
    ),
    # PoseTrack18 order without the ears, the 15 joints that carry labels
    _make(
        "posetrack15",
        f"nose head_bottom head_top {_COCO_LIMBS}",
        f"nose-head_bottom nose-head_top head_bottom-*shoulder {_COCO_BONES}",
        sigmas=_SIGMAS,
        sigma_source=_POSETRACK_SIGMAS,
    ),
    # CrowdPose json categories (head is the top of the head)
    _make(
        "crowdpose14",
        f"{_COCO_LIMBS} head neck",
        f"head-neck neck-*shoulder {_COCO_BONES}",
        root="neck",
        sigmas=_SIGMAS,
        sigma_source="CrowdPose API evaluation",
    ),
    # JHMDB puppet annotation, right before left
    _make(
        "jhmdb15",
        "neck belly head right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow "
        "right_knee left_knee right_wrist left_wrist right_ankle left_ankle",
        "belly-neck-head neck-right_shoulder-right_elbow-right_wrist "
        "neck-left_shoulder-left_elbow-left_wrist "
        "belly-right_hip-right_knee-right_ankle belly-left_hip-left_knee-left_ankle",
        root="belly",
    ),
    # Human3.6M, the 17 joints used by 2D-to-3D work, left leg first as in MMPose's files
    _make(
        "h36m17",
        "root left_hip left_knee left_foot right_hip right_knee right_foot spine thorax "
        "neck_base head left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist",
        "root-*hip-*knee-*foot root-spine-thorax-neck_base-head thorax-*shoulder-*elbow-*wrist",
    ),
    # SMPL kinematic tree (3DPW pose parameters)
    _make(
        "smpl24",
        "pelvis *hip spine1 *knee spine2 *ankle spine3 *foot neck *collar head *shoulder *elbow "
        "*wrist *hand",
        "pelvis-*hip-*knee-*ankle-*foot pelvis-spine1-spine2-spine3-neck-head "
        "spine3-*collar-*shoulder-*elbow-*wrist-*hand",
    ),
    # LSP order, the 14 joints on which 3DPW is evaluated
    _make(
        "3dpw14",
        f"{_LSP_LEGS} {_LSP_ARMS} neck head",
        f"head-neck neck-*shoulder {_COCO_BONES}",
        root="neck",
    ),
    # MPII Human Pose
    _make(
        "mpii16",
        f"{_LSP_LEGS} pelvis thorax neck head_top {_LSP_ARMS}",
        "pelvis-right_hip-right_knee-right_ankle pelvis-left_hip-left_knee-left_ankle "
        "left_hip-right_hip pelvis-thorax-neck-head_top "
        "thorax-right_shoulder-right_elbow-right_wrist thorax-left_shoulder-left_elbow-left_wrist",
        root="pelvis",
    ),
    # CMU Panoptic, FreiHAND and FPHB as PORT uses them: each finger from the palm outwards
    _hand("hand21", range(21)),
    # RHD: wrist, then each finger from the tip inwards
    _hand("hand21_rhd", RHD_FROM_HAND21),
)
SKELETONS: dict[str, Skeleton] = {s.name: s for s in _ALL}

# Other names under which the same order is known.
ALIASES = {"aist17": "coco17", "fphb21": "hand21", "panoptic21": "hand21", "rhd21": "hand21_rhd"}


def skeleton(name: str) -> Skeleton:
    """The skeleton of that name or alias; `UnknownName` with near matches otherwise."""
    name = ALIASES.get(name, name)
    found = SKELETONS.get(name) or _OWN.get(name)
    if found is None:
        raise unknown("skeleton", name, [*SKELETONS, *ALIASES])
    return found


_OWN: dict[str, Skeleton] = {}  # of files with joints of their own, by name


def own_skeleton(names: Sequence[str], edges: Sequence[tuple[int, int]] = ()) -> Skeleton:
    """A skeleton of the joints and bones that a file states (an animal's, say), under a name that
    is the same for the same joints and bones; from then on `skeleton` knows it. No method has
    weights for it.

    Names are written as ours are ("L_Ear" is left_ear), left and right are pairs. Errors:
    `UnknownName` for two joints of one name, or none.
    """
    joints = tuple(_plain(name)[:80] for name in names)
    twice = [joint for joint in joints if joints.count(joint) > 1 or not joint]
    if twice or not joints:
        what = f"two joints are called {twice[0]!r}" if twice else "no joints"
        raise UnknownName(what, remedy="give every joint a name of its own")
    at = {joint: i for i, joint in enumerate(joints)}
    sides = ((i, at.get(re.sub("^left_", "right_", joint))) for joint, i in at.items())
    pairs = tuple((i, other) for i, other in sides if other not in (None, i))
    inside = range(len(joints))
    bones = tuple((i, j) for i, j in edges if i in inside and j in inside and i != j)
    digest = hashlib.sha256(repr((joints, bones)).encode()).hexdigest()[:8]
    name = f"own{len(joints)}_{digest}"
    return _OWN.setdefault(name, Skeleton(name, joints, bones, pairs))


def titled(name: str) -> str:
    """A skeleton's name for messages; of a file's own joints what they are."""
    if name not in _OWN:
        return name
    joints = _OWN[name].joints
    return f"the file's own {len(joints)} joints ({', '.join(joints[:3])}, ...)"


# Words that others have for joints: MPII's and CrowdPose's in MMPose.
_WORDS = {"upper_neck": "neck", "top_head": "head"}


def _plain(name: object) -> str:
    """A joint's name as ours are written: "Left Shoulder", "leftShoulder" and "L_Shoulder" are
    left_shoulder.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    plain = re.sub(r"[\W_]+", "_", parted).strip("_").lower()
    for short, side in (("l", "left"), ("r", "right")):
        plain = re.sub(rf"^{short}_|^(.*)_{short}$", rf"{side}_\1", plain)
        plain = re.sub(rf"^(.+)_{side}$", rf"{side}_\1", plain)
    return _WORDS.get(plain, plain)


def chosen_joints(
    names: Sequence[str], wanted: Skeleton | None = None
) -> tuple[Skeleton, list[int]]:
    """The skeleton all of whose joints are among these names, in any order, and where they stand;
    of several the one of the most joints, in the order of the names if it can be. wanted: this one.

    Errors: `UnknownName` where a name of `wanted` is missing, or there is none.
    """
    place = {_plain(name): i for i, name in reversed([*enumerate(names)])}
    fitting = [s for s in ([wanted] if wanted else SKELETONS.values()) if {*s.joints} <= {*place}]
    if not fitting:
        listed = ", ".join(map(str, names[:5])) + ", ..." * (len(names) > 5)
        if wanted:
            lacking = [joint for joint in wanted.joints if joint not in place]
            problem = f"no {', '.join(lacking[:5])} of {wanted.name} among its joints: {listed}"
            raise UnknownName(problem, remedy="name a skeleton whose joints it has")
        problem = f"no known skeleton has its {len(names)} joints: {listed}"
        raise UnknownName(problem, remedy=f"known are {', '.join(SKELETONS)}")
    best = max(fitting, key=lambda s: (len(s), [place[j] for j in s.joints] == [*range(len(s))]))
    return best, [place[joint] for joint in best.joints]


def known_joints(joints: Sequence[str]) -> bool:
    """Whether these joints are a known skeleton's, in whatever order."""
    plain = sorted(map(_plain, joints))
    return any(plain == sorted(map(_plain, s.joints)) for s in SKELETONS.values())


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
