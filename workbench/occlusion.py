"""Occlusion made on purpose: masked joints, and occluders on pictures.

Occluders take frames and give new ones with a mask of what they cover; `cover` and `cover_clip`
turn that mask into visibility.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import uniform_filter1d

from .errors import BadParameter
from .records import Clip, Track
from .skeletons import Skeleton

Frames = UInt8[np.ndarray, "t h w 3"]
Covered = Bool[np.ndarray, "t h w"]
Rgba = UInt8[np.ndarray, "t a b 4"]
Masks = Bool[np.ndarray, "n k"]
Rng = np.random.Generator


def _check(good, problem: str, remedy: str | None = None):
    if not good:
        raise BadParameter(problem, remedy=remedy)


# --- masks over joints ----------------------------------------------------------------------------


def mask_joints(n: int, k: int, ratio: float, rng: Rng) -> Masks:
    """Masks of round(ratio * k) random joints of every pose (True = masked), as PORT Sec. III-D
    masks joints.

    Raises `BadParameter` for a ratio outside 0 to 1.
    """
    _check(0 <= ratio <= 1, f"masking ratio is {ratio}, expected 0 to 1")
    return rng.random((n, k)).argsort(1).argsort(1) < round(ratio * k)


def mask_runs(n: int, joints: Skeleton, ratio: float, rng: Rng) -> Masks:
    """Masks of round(ratio * k) joints that hang together along bones, as one occluder hides them
    (True = masked).

    From a random joint on, joints beside masked ones are added at random until the count is
    reached; a run that has swallowed all that hangs together goes on from a new seed. Raises
    `BadParameter` for a ratio outside 0 to 1.
    """
    _check(0 <= ratio <= 1, f"masking ratio is {ratio}, expected 0 to 1")
    k = len(joints)
    count = round(ratio * k)
    mask = mask_joints(n, k, min(1, count) / k, rng)
    for _ in range(count - 1):
        beside = (mask @ joints.adjacency > 0) & ~mask
        score = np.where(mask, -1.0, rng.random((n, k)) + beside)
        mask[np.arange(n), score.argmax(1)] = True
    return mask


# --- occluders on pictures ------------------------------------------------------------------------


def cover(
    visibility: Int[np.ndarray, "*#n k"],
    xy_frame: Float[np.ndarray, "*#n k 2"],
    covered: Bool[np.ndarray, "*#n h w"],
) -> Int[np.ndarray, "*m k"]:
    """Visibility once the pixels in `covered` show something else: a visible joint (2) under them
    becomes hidden (1).

    Nothing becomes 2; what is hidden, not labelled or outside the picture stays as it is. xy_frame:
    px, the joint lies in the pixel that it rounds to. Frames, and persons before them, broadcast:
    [p t k] under one cover [t h w].
    """
    h, w = covered.shape[-2:]
    x, y = np.moveaxis(np.rint(xy_frame).clip(-1, max(h, w)).astype(int), -1, 0)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    persons = (1,) * (x.ndim + 1 - covered.ndim)
    flat = covered.reshape(*persons, *covered.shape[:-2], h * w)
    under = np.take_along_axis(flat, np.where(inside, y * w + x, 0), -1) & inside
    return np.where(under & (visibility == 2), visibility.dtype.type(1), visibility)


def cover_clip(clip: Clip, covered: Covered) -> Clip:
    """The clip with `cover` applied to every track."""
    tracks = [replace(t, visibility=cover(t.visibility, t.xy_frame, covered)) for t in clip.tracks]
    return replace(clip, tracks=tracks)


def colour_patches(
    frames: Frames,
    xy_frame: Float[np.ndarray, "*people t k 2"],
    rng: Rng,
    *,
    labelled: Bool[np.ndarray, "*people t k"] | None = None,
    size_px: int = 30,
    probability: float = 0.02,
) -> tuple[Frames, Covered]:
    """Squares of a random colour centred on random joints: how PORT (Sec. IV-A) makes H36M_masked
    out of H36M.

    Every joint of every frame gets one with the same probability on its own, so that a frame has
    Binomial(k, probability) of them; the defaults are the paper's. Joints that are not `labelled`
    get none. Raises `BadParameter` for a probability outside 0 to 1.
    """
    _check(0 <= probability <= 1, f"probability is {probability}, expected 0 to 1")
    chosen = rng.random(xy_frame.shape[:-1]) < probability
    if labelled is not None:
        chosen &= labelled
    out = frames.copy()
    covered = np.zeros(frames.shape[:3], bool)
    for index in np.argwhere(chosen):
        corner = np.rint(xy_frame[tuple(index)]).astype(int) - size_px // 2
        (x0, y0), (x1, y1) = np.maximum([corner, corner + size_px], 0)
        place = (index[-2], slice(y0, y1), slice(x0, x1))
        out[place] = rng.integers(0, 256, 3)
        covered[place] = True
    return out, covered


def polygon_mask(polygon: Float[np.ndarray, "m 2"], size_wh: tuple[int, int]) -> np.ndarray:
    """Pixels [h w] of a picture inside a polygon of (x, y) px, its outline included: the mask of an
    object to cut out.
    """
    mask = np.zeros(size_wh[::-1], np.uint8)
    return cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 1) > 0


def cut_out(frames: Frames, mask: Covered) -> Rgba:
    """What the mask marks, as RGBA pictures of one size: the box around everything that is marked
    in any frame.

    A person comes out of a rendered clip by `rendered.owner == track_id`, an object out of a
    picture by `polygon_mask`. Raises `BadParameter` where nothing is marked.
    """
    _check(mask.any(), "the mask marks no pixel", "mark what is to be cut out")
    rgba = np.concatenate((frames, mask[..., None] * np.uint8(255)), -1)
    x, y, w, h = cv2.boundingRect(mask.any(0).astype(np.uint8))
    return rgba[:, y : y + h, x : x + w]


def crossing(
    n_frames: int,
    size_wh: tuple[int, int],
    rng: Rng,
    *,
    speed_px: tuple[float, float] = (2.0, 8.0),
) -> Float[np.ndarray, "t 2"]:
    """A straight way through the window, (x, y) px by frame: at a random point in mid-clip, any
    direction.

    speed_px: lowest and highest speed, px a frame (unstated; ours).
    """
    angle = rng.uniform(0, 2 * np.pi)
    step = rng.uniform(*speed_px) * np.array([np.cos(angle), np.sin(angle)])
    since_middle = np.arange(n_frames) - (n_frames - 1) / 2
    return rng.uniform(0, size_wh) + since_middle[:, None] * step


def paste(
    frames: Frames,
    cutout: UInt8[np.ndarray, "s a b 4"],
    centre_frame: Float[np.ndarray, "t 2"],
    *,
    scale: float = 1.0,
) -> tuple[Frames, Covered]:
    """An object (s = 1) or a moving person (s RGBA pictures, repeated) in front of everything.

    centre_frame: where the cutout's centre lies in each frame, px, also between pixels or outside.
    Covered is what is at least half opaque. Raises `BadParameter` for a scale that is not positive.
    """
    _check(scale > 0, f"scale is {scale}, expected above 0")
    _, h, w, _ = frames.shape
    layers = cutout.astype(np.float32)
    # weighted by opacity, so that no hidden colour bleeds in at the rim
    layers[..., :3] *= layers[..., 3:] / 255
    middle = scale * (np.array(cutout.shape[2:0:-1]) - 1) / 2
    out = np.empty_like(frames)
    covered = np.empty(frames.shape[:3], bool)
    for t, (frame, (x, y)) in enumerate(zip(frames, centre_frame - middle, strict=True)):
        affine = np.array([[scale, 0, x], [0, scale, y]])
        layer = cv2.warpAffine(layers[t % len(layers)], affine, (w, h))
        out[t] = np.rint(frame * (1 - layer[..., 3:] / 255) + layer[..., :3]).clip(0, 255)
        covered[t] = layer[..., 3] >= 127.5
    return out, covered


def cut_window(
    box_xyxy: Float[np.ndarray, "4"],
    size_wh: tuple[int, int],
    rng: Rng,
    *,
    keep: tuple[float, float] = (0.4, 0.8),
) -> tuple[int, int, int, int]:
    """A window (x0, y0, x1, y1 px) for `cut_frames` that leaves a share `keep` of the box, cut from
    a random side.

    Raises `BadParameter` where no part of the box lies in the picture, such as that of a frame
    without labels.
    """
    low, high = np.clip(box_xyxy, 0, np.tile(size_wh, 2)).reshape(2, 2)
    problem = "no part of the box lies in the picture"
    _check((high > low).all(), problem, "choose a frame that shows the person")
    axis = rng.integers(2)
    from_start = rng.integers(2)
    left_over = rng.uniform(*keep) * (high - low)[axis]
    window = [0, 0, *size_wh]
    if from_start:
        window[axis] = min(round(high[axis] - left_over), size_wh[axis] - 1)
    else:
        window[axis + 2] = max(round(low[axis] + left_over), 1)
    return tuple(map(int, window))


def cut_frames(
    clip: Clip, frames: Frames, window_xyxy: tuple[int, int, int, int]
) -> tuple[Clip, UInt8[np.ndarray, "t a b 3"]]:
    """Clip and frames seen through a window (px, the last column and row not included): who stands
    outside is cut off.

    A joint outside becomes not labelled, at (0, 0); boxes are clipped, and zeros where nothing is
    left. Ignore regions move along. Raises `BadParameter` for a window that does not lie in the
    picture.
    """
    _, h, w, _ = frames.shape
    x0, y0, x1, y1 = window_xyxy
    inside = 0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h
    _check(inside, f"window {window_xyxy} does not lie in a picture of {w}x{h} px")
    corner = np.array([x0, y0])
    size = np.array([x1 - x0, y1 - y0])

    def clipped(boxes):
        if boxes is None:
            return None
        moved = (boxes - np.tile(corner, 2)).clip(0, np.tile(size - 1, 2))
        return np.where((moved[:, 2:] > moved[:, :2]).all(1, keepdims=True), moved, 0)

    def cut(track: Track) -> Track:
        pixel = np.rint(track.xy_frame) - corner
        left = (track.visibility > 0) & ((pixel >= 0) & (pixel < size)).all(-1)
        return replace(
            track,
            xy_frame=np.where(left[..., None], track.xy_frame - corner, 0),
            visibility=np.where(left, track.visibility, 0),
            boxes_xyxy=clipped(track.boxes_xyxy),
            head_boxes_xyxy=clipped(track.head_boxes_xyxy),
        )

    pictures = [
        replace(p, size_wh=tuple(size.tolist()), ignore=[polygon - corner for polygon in p.ignore])
        for p in clip.pictures
    ]
    video = replace(clip.video, width=x1 - x0, height=y1 - y0)
    seen = replace(clip, video=video, tracks=[*map(cut, clip.tracks)], pictures=pictures)
    return seen, frames[:, y0:y1, x0:x1].copy()


def motion_blur(frames: Frames, angle_deg: float, length_px: float) -> Frames:
    """Every frame smeared along a line, as by a shaken camera; nobody is covered by it.

    angle_deg: from x towards y (clockwise on a screen). Raises `BadParameter` for a length below 1.
    """
    _check(length_px >= 1, f"blur length is {length_px} px, expected 1 or more")
    half = int(np.ceil(length_px / 2))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    angle = np.deg2rad(angle_deg)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kernel = ((length_px + 1) / 2 - np.abs(along)).clip(0, 1) * (1 - np.abs(across)).clip(0, 1)
    kernel /= kernel.sum()
    return np.stack([cv2.filter2D(f, -1, kernel, borderType=cv2.BORDER_REPLICATE) for f in frames])


def frame_blur(frames: Frames, n: int) -> Frames:
    """Every frame as the mean of n neighbouring ones, itself in the middle: what moves is smeared;
    borders repeat.

    Raises `BadParameter` where n is not an odd number from 1.
    """
    _check(n >= 1 and n % 2 == 1, f"n is {n}, expected an odd number of frames")
    mean = uniform_filter1d(frames, n, axis=0, output=np.float32, mode="nearest")
    return np.rint(mean).astype(np.uint8)
