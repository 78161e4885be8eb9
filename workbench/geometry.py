"""Frame <-> crop <-> heatmap transforms and boxes. The only home of a half pixel.

Points are (x, y) px, integer = pixel centre. Boxes are xyxy. Affine maps are [2 3], applied to
column vectors (x, y, 1). Alignments say how a picture of W pixels covers a box of width w, and how
a heatmap covers a crop:
    centre   edges on edges: the box's left edge is half a pixel left of pixel 0's centre
    udp      centres on centres: the box's edges fall on the centres of the first and last pixel
        (Huang et al. 2020)
    msra     one scale W / w from the corner, as SimpleBaseline and HRNet were trained (Xiao et al.
        2018)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from .errors import BadParameter
from .records import Camera

Alignment = str  # "centre", "udp" or "msra"
Boxes = Num[np.ndarray, "*n 4"]
Affine = Float[np.ndarray, "*#n 2 3"]


def xywh_to_xyxy(boxes: Boxes) -> Boxes:
    """(x, y, width, height) -> (x0, y0, x1, y1)."""
    return np.concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), -1)


def cxcywh_to_xyxy(boxes: Boxes) -> Boxes:
    """(centre x, centre y, width, height) -> (x0, y0, x1, y1)."""
    half = boxes[..., 2:] / 2
    return np.concatenate((boxes[..., :2] - half, boxes[..., :2] + half), -1)


def box_of_points(xy: Num[np.ndarray, "*n k 2"], use: np.ndarray | None = None) -> Boxes:
    """Tightest box around the points in `use` (all by default)."""
    if use is None:
        return np.concatenate((xy.min(-2), xy.max(-2)), -1)
    use = np.asarray(use)[..., None]
    return np.concatenate(
        (np.where(use, xy, np.inf).min(-2), np.where(use, xy, -np.inf).max(-2)), -1
    )


def enlarge(boxes: Boxes, factor: float, aspect: float | None = None) -> Boxes:
    """Box about its own centre, first grown to the aspect ratio width / height if given, then
    times factor.
    """
    boxes = np.asarray(boxes, np.float64)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    if aspect is not None:
        w, h = size[..., 0], size[..., 1]
        size = np.stack((np.maximum(w, h * aspect), np.maximum(h, w / aspect)), -1)
    return cxcywh_to_xyxy(np.concatenate((centre, size * factor), -1))


def _axis(extent, pixels: int, alignment: str):
    """Scale and shift that map [0, extent] of a box onto `pixels` pixels."""
    if alignment == "centre":
        return pixels / extent, -0.5
    if alignment == "udp":
        return (pixels - 1) / extent, 0.0
    if alignment == "msra":
        return pixels / extent, 0.0
    raise BadParameter(f"alignment is {alignment!r}", remedy="choose centre, udp or msra")


def frame_to_crop(
    boxes: Boxes,
    size: tuple[int, int],
    alignment: Alignment = "centre",
    angle: float = 0.0,
    mirror: bool = False,
) -> Affine:
    """Affine map xy_frame -> xy_crop that fills a crop of size (width, height) px with each box.

    angle: radians by which the picture then turns about the crop's middle, from x towards y;
    mirror: left and right change sides first. Both want boxes of the crop's aspect, or shapes
    shear.
    """
    boxes = np.asarray(boxes, np.float64)
    extent = boxes[..., 2:] - boxes[..., :2]
    if not (extent > 0).all():
        raise BadParameter("a box has no area", remedy="drop boxes of width or height <= 0")
    affine = np.zeros((*boxes.shape[:-1], 2, 3))
    for axis in (0, 1):
        scale, shift = _axis(extent[..., axis], size[axis], alignment)
        # In `centre`, box coordinates are those of edges: x0 - 0.5 is the edge left of pixel x0's
        # centre.
        origin = boxes[..., axis] - (0.5 if alignment == "centre" else 0.0)
        affine[..., axis, axis] = scale
        affine[..., axis, 2] = shift - scale * origin
    if angle or mirror:
        linear = rotation(angle) * (-1.0 if mirror else 1.0, 1.0)
        middle = np.array(size) / 2 - (0.0 if alignment == "msra" else 0.5)
        affine = compose(np.concatenate((linear, (middle - linear @ middle)[:, None]), -1), affine)
    return affine


def crop_to_heatmap(
    crop: tuple[int, int], heatmap: tuple[int, int], alignment: Alignment = "centre"
) -> Affine:
    """Affine map xy_crop -> xy_heatmap between two grids over the same area; sizes are (width,
    height).
    """
    affine = np.zeros((2, 3))
    for axis in (0, 1):
        if alignment == "udp":
            affine[axis, axis] = (heatmap[axis] - 1) / (crop[axis] - 1)
        else:
            scale, shift = _axis(crop[axis], heatmap[axis], alignment)
            affine[axis, axis] = scale
            affine[axis, 2] = shift + (0.5 * scale if alignment == "centre" else 0.0)
    return affine


def invert(affine: Affine) -> Affine:
    """The affine map that undoes this one."""
    inverse = np.linalg.inv(affine[..., :2])
    return np.concatenate((inverse, -inverse @ affine[..., 2:]), -1)


def compose(second: Affine, first: Affine) -> Affine:
    """The map that applies `first`, then `second`."""
    linear = second[..., :2] @ first[..., :2]
    return np.concatenate((linear, second[..., :2] @ first[..., 2:] + second[..., 2:]), -1)


def apply(affine: Affine, xy: Num[np.ndarray, "*#n k 2"]) -> Float[np.ndarray, "*m k 2"]:
    """The points after the map."""
    return xy @ affine[..., :2].swapaxes(-1, -2) + affine[..., None, :, 2]


def rotation(angle: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n 2 2"]:
    """Matrices that turn (x, y) by an angle in radians, from x towards y (clockwise on a screen,
    where y points down).
    """
    c, s = np.cos(angle), np.sin(angle)
    return np.stack((np.stack((c, -s), -1), np.stack((s, c), -1)), -2)


def project(
    camera: Camera, xyz_mm: Num[np.ndarray, "*n 3"], space: str = "camera"
) -> Float[np.ndarray, "*n 2"]:
    """Where points in mm, given in the camera's space or in the "world", appear: px in the frame,
    also outside of it.

    The lens model is that of Human3.6M's own code (`ProjectPointRadial`; also in 3d-pose-baseline
    and MMPose): with x, y at unit depth and d = p1 y + p2 x,
        x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6 + d) + p2 r^2,   y' = y (1 + k1 r^2 + k2 r^4 + k3 r^6 +
        d) + p1 r^2
    OpenCV has 2 d where this has d. On real Human3.6M labels this errs by 4e-5 px, OpenCV's by up
    to 0.22 px; without tangential terms they are one. `BadParameter` for another space, or where a
    point does not lie in front of the camera.
    """
    if space not in ("camera", "world"):
        raise BadParameter(f"space is {space!r}", remedy="choose camera or world")
    if space == "world":
        xyz_mm = (xyz_mm - camera.position_mm) @ camera.rotation.T
    if not (depth := xyz_mm[..., 2:] > 0).all():
        raise BadParameter(
            f"{(~depth).sum()} points are not in front of the camera", remedy="leave them out"
        )
    xy = xyz_mm[..., :2] / xyz_mm[..., 2:]
    r2 = (xy**2).sum(-1, keepdims=True)
    k1, k2, k3 = camera.radial
    factor = (
        1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + (xy * camera.tangential[::-1]).sum(-1, keepdims=True)
    )
    return camera.focal * (xy * factor + r2 * camera.tangential[::-1]) + camera.centre
