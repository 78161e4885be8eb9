"""Solids before a pinhole camera: which one each pixel sees and how deep, its texture, light and
shadow. Reads no file.

Balls, tapered limbs and boxes are intersected with the rays in closed form. Along a ray, inverse
depth w = 1 / z solves a quadratic whose terms are polynomials of the pixel, so a solid costs a
dozen array operations over its own rectangle; the nearest wins; what is seen is shaded once, by
looking the solid's parameters up. World: mm, y up, floor at y = 0. Camera: x right, y down, z away.
Light is linear until `develop`. Over pixels there is nothing but + - * / sqrt and comparisons,
which every machine rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BALL, LIMB, BOX = 0, 1, 2
BACKGROUND, OCCLUDER = -1, -2  # owners that are nobody
NEAR_MM = 150.0  # what comes closer to the camera is not drawn


@dataclass(frozen=True, eq=False)
class Surfaces:
    """m surfaces: two linear colours mixed by up to two square waves fixed to the solid, and
    grain. All float32.
    """

    colours: Float[np.ndarray, "3 2 m"]  # channel, one of two
    waves: Float[np.ndarray, "2 4 m"]  # cycles a mm along the solid's three axes, and a phase
    grain: Float[np.ndarray, "m"]  # contrast of the noise
    fine: Float[np.ndarray, "m"]  # its cells a mm
    noise: Float[np.ndarray, "e e e"]  # -0.5 to 0.5; e is a power of 2


@dataclass(frozen=True, eq=False)
class Solids:
    """p solids through t instants. `axes` are orthogonal half-axes, mm; a limb runs along the
    second one.

    A limb's section grows from 1 - taper to 1 + taper times the other two axes, and has no caps.
    Its surface is the first of two up to `cut` along the second axis (-1 to 1), the other beyond.
    """

    kind: Int[np.ndarray, "p"]
    centre: Float[np.ndarray, "t p 3"]
    axes: Float[np.ndarray, "t p 3 3"]
    taper: Float[np.ndarray, "p"]
    surface: Int[np.ndarray, "p 2"]
    cut: Float[np.ndarray, "p"]
    owner: Int[np.ndarray, "p"]  # a person from 0, or OCCLUDER
    meets: Int[np.ndarray, "p"]  # bits of the joints at which this limb meets others
    # mm by which its surface may lie before such a joint that counts as seen
    reach: Float[np.ndarray, "p"]


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera through t instants; its principal point is the middle of the picture."""

    rotation: Float[np.ndarray, "t 3 3"]  # world to camera
    position: Float[np.ndarray, "t 3"]  # mm
    focal: float  # px
    size_wh: tuple[int, int]

    def repeat(self, t: int) -> View:
        """The same camera at t instants, where it has only one."""
        still = (np.broadcast_to(v, (t, *v.shape[1:])) for v in (self.rotation, self.position))
        return View(*still, self.focal, self.size_wh)

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        return (np.array(self.size_wh) - 1) / 2

    def to_camera(self, xyz: Float[np.ndarray, "t *k 3"]) -> Float[np.ndarray, "t *k 3"]:
        """World points in the camera's space, mm."""
        shape = (len(xyz), *(1,) * (xyz.ndim - 2), 3)
        return np.einsum("tij,t...j->t...i", self.rotation, xyz - self.position.reshape(shape))

    def to_frame(self, xyz_camera: Float[np.ndarray, "*k 3"]) -> Float[np.ndarray, "*k 2"]:
        """Camera points in px; meaningless for z <= 0."""
        return self.focal * xyz_camera[..., :2] / xyz_camera[..., 2:] + self.middle


@dataclass(frozen=True, eq=False)
class Light:
    """Sun or lamp far away, and the sky around."""

    direction: Float[np.ndarray, "3"]  # unit, towards the light
    diffuse: Float[np.ndarray, "3"]
    ambient: Float[np.ndarray, "3"]


class Projected:
    """Solids as one camera sees them: rays' coefficients, and rectangles in px (exact bounds of
    the silhouettes).
    """

    def __init__(self, solids: Solids, view: View):
        self.solids, self.view = solids, view
        c = view.to_camera(solids.centre)
        a = np.einsum("tij,tpkj->tpki", view.rotation, solids.axes)
        size2 = (a**2).sum(-1)
        g = a / size2[..., None]  # local coordinates of a camera point X: g X + off
        off = -np.einsum("tpij,tpj->tpi", g, c)
        pixel = np.eye(3) / view.focal  # px to ray
        pixel[:2, 2], pixel[2, 2] = -view.middle / view.focal, 1.0
        h = g @ pixel  # the same along a pixel's ray: (h (x, y, 1) + off w) / w
        self.g, self.off, self.h, self.size = g, off, h, np.sqrt(size2)

        # Surfaces: x'x + z'z = (1 + s y')^2 for limbs, x'x + y'y + z'z = 1 for balls; c2 is left
        # minus right at the camera.
        s = solids.taper
        self.k = np.stack([np.ones(len(s)), (solids.kind == BALL) - s * s, np.ones(len(s))], -1)
        self.c2 = (self.k * off**2).sum(-1) - 1 - 2 * s * off[..., 1]
        # else the camera is inside the surface's extension
        self.drawn = (self.c2 > 0) | (solids.kind == BOX)
        self._bound(c, a)

    def _bound(self, c, a):
        """Rectangles from dual conics: of balls, of the end discs of limbs, of ellipses around
        the ends of boxes.
        """
        s, kind = self.solids.taper, self.solids.kind
        is_ball = (kind == BALL)[:, None]
        lows, highs, near = [], [], []
        for sign in (-1.0, 1.0):
            r = np.select([kind == BALL, kind == BOX], [1.0, np.sqrt(2)], 1 + sign * s)[:, None]
            x, y, z = a[..., 0, :] * r, a[..., 1, :] * is_ball, a[..., 2, :] * r
            centre = c + np.where(is_ball, 0.0, sign) * a[..., 1, :]
            flat, deep = centre[..., :2], centre[..., 2:]
            spread = x**2 + y**2 + z**2
            dd = spread[..., :2] - flat**2
            dz = sum(v[..., :2] * v[..., 2:] for v in (x, y, z)) - flat * deep
            zz = np.minimum(spread[..., 2:] - deep**2, -1.0)
            root = np.sqrt(np.maximum(dz**2 - dd * zz, 0))
            lows.append((dz + root) / zz)
            highs.append((dz - root) / zz)
            near.append((deep - np.sqrt(spread[..., 2:]))[..., 0])
        bounds = np.concatenate([np.minimum(*lows), np.maximum(*highs)], -1)
        self.box = bounds * self.view.focal + np.tile(self.view.middle, 2)
        size = np.tile(self.view.size_wh, 2)
        corners = [np.ceil(self.box[..., :2]), np.floor(self.box[..., 2:]) + 1]
        self.rect = np.clip(np.concatenate(corners, -1), 0, size).astype(int)
        in_picture = (self.rect[..., 2:] > self.rect[..., :2]).all(-1)
        self.drawn &= (np.minimum(*near) > NEAR_MM) & in_picture

    def person_box(self, owner: int, which=True) -> Float[np.ndarray, "t 4"]:
        """xyxy px around all of a person's solids (or some), hidden or not, clipped to the
        picture; zeros outside it.
        """
        part = self.drawn & (self.solids.owner == owner) & which
        low = np.where(part[..., None], self.box[..., :2], np.inf).min(1)
        high = np.where(part[..., None], self.box[..., 2:], -np.inf).max(1)
        size = np.tile(self.view.size_wh, 2) - 1.0
        box = np.clip(np.concatenate([low, high], -1), 0, size)
        # px; unstated, ours
        return np.where(((box[:, 2:] - box[:, :2]) >= 2).all(1)[:, None], box, 0.0)

    def raster(self, t: int, w, ids, first: int, shift=(0.0, 0.0)) -> None:
        """Draws the solids of instant t into an inverse depth buffer and their numbers, from
        `first`, into `ids`.

        shift: px by which the rays are moved inside their pixels.
        """
        order = np.flatnonzero(self.drawn[t])
        rects = self.rect[t, order]
        h, off, b, e = self._polynomials(t, order, rects[:, :2] + np.asarray(shift))
        ramp = np.arange(max(self.view.size_wh), dtype=np.float32)
        kinds = self.solids.kind[order].tolist()
        with np.errstate(invalid="ignore", divide="ignore"):
            for i, (number, (x0, y0, x1, y1)) in enumerate(zip(order.tolist(), rects.tolist())):
                x, y = ramp[: x1 - x0], ramp[: y1 - y0, None]
                seen = w[y0:y1, x0:x1]
                if kinds[i] == BOX:
                    new, entered = _box(h[i], off[i], x, y)
                    nearer = (new > seen) & entered
                else:
                    new = _front(b[i], e[i], x, y)
                    nearer = new > seen  # never where it is NaN
                if kinds[i] == LIMB:  # between its ends
                    along = off[i, 1] * new
                    along += h[i, 1, 0] * x + h[i, 1, 2]
                    along += h[i, 1, 1] * y
                    nearer &= np.abs(along, out=along) <= new
                np.copyto(seen, new, where=nearer)
                np.copyto(ids[y0:y1, x0:x1], first + number, where=nearer)

    def _polynomials(self, t: int, order, corners):
        """Coefficients in x, y (px from each rectangle's corner) and 1, float32: local coordinates
        on a ray are (h (x, y, 1) + off w) / w; its front surface is at
        w = b (x, y, 1) + sqrt((x, y, 1) e (x, y, 1)).
        """
        move = np.tile(np.eye(3), (len(order), 1, 1))
        move[:, :2, 2] = corners
        h = np.einsum("pij,pjk->pik", self.h[t, order], move)
        off, k = self.off[t, order], self.k[order]
        c2 = np.where(self.c2[t, order] > 0, self.c2[t, order], 1.0)[:, None]
        b = (self.solids.taper[order, None] * h[:, 1] - np.einsum("pi,pia->pa", k * off, h)) / c2
        e = b[:, :, None] * b[:, None] - np.einsum("pia,pib,pi->pab", h, h, k) / c2[..., None]
        return (v.astype(np.float32) for v in (h, off, b, e))

    def shade(
        self, t: int, pixels, ids, w, surfaces: Surfaces, light: Light, shift=(0.0, 0.0)
    ) -> Float[np.ndarray, "n 3"]:
        """Linear colours of pixels (flat indices) that see solids `ids` at inverse depth w, at
        instant t.
        """
        h, off, size = (v[t].astype(np.float32) for v in (self.h, self.off, self.size))
        y, x = np.divmod(pixels, self.view.size_wh[0])
        z = 1 / w
        x, y = ((v.astype(np.float32) + np.float32(by)) * z for v, by in zip((x, y), shift))
        local = [
            h[:, i, 0][ids] * x + h[:, i, 1][ids] * y + h[:, i, 2][ids] * z + off[:, i][ids]
            for i in range(3)
        ]
        size = [size[:, i][ids] for i in range(3)]
        normal = self._normals(local, ids)
        length = np.sqrt(sum((v / s) ** 2 for v, s in zip(normal, size)))
        # light and up
        camera = np.stack([light.direction, [0.0, 1.0, 0.0]]) @ self.view.rotation[t].T
        facing = np.einsum("pij,kj->kip", self.g[t], camera).astype(np.float32)
        lit, up = (sum(v * f[i][ids] for i, v in enumerate(normal)) / length for f in facing)
        # light wraps a little; unstated, ours
        lit = np.maximum(lit * np.float32(0.85) + np.float32(0.15), 0)
        up = np.float32(0.72) + np.float32(0.28) * up
        mm = [v * s for v, s in zip(local, size)]
        surface = np.where(
            local[1] < self.solids.cut.astype(np.float32)[ids], *self.solids.surface.T[:, ids]
        )
        painted = _painted(mm, surface, ids, surfaces)
        sun, sky = light.diffuse.astype(np.float32), light.ambient.astype(np.float32)
        return np.stack([painted[i] * (lit * sun[i] + up * sky[i]) for i in range(3)], -1)

    def _normals(self, local, ids):
        """Normals at local places, in local coordinates, of any length."""
        x, y, z = local
        taper, kind = self.solids.taper.astype(np.float32)[ids], self.solids.kind[ids]
        normal = [x.copy(), np.where(kind == LIMB, -taper * (1 + taper * y), y), z.copy()]
        flat = np.flatnonzero(kind == BOX)
        sides = np.stack(local)[:, flat]
        sides *= np.abs(sides) >= np.abs(sides).max(0)
        for v, side in zip(normal, sides):
            v[flat] = side
        return normal


def _painted(mm, surface, ids, surfaces: Surfaces):
    """Three channels of the surfaces at places `mm` along their solids' axes: pattern and grain."""
    phases = (
        sum(v * wave[i][surface] for i, v in enumerate((*mm, np.float32(1))))
        for wave in surfaces.waves
    )
    one, two = (phase - np.floor(phase) < np.float32(0.5) for phase in phases)
    fine = surfaces.fine[surface]
    cells = len(surfaces.noise)
    x, y, z = ((np.floor(v * fine).astype(np.int32) + 7 * ids) & (cells - 1) for v in mm)
    grain = 1 + surfaces.noise[x, y, z] * surfaces.grain[surface]
    return [np.where(one ^ two, b[surface], a[surface]) * grain for a, b in surfaces.colours]


def _front(b, e, x, y):
    """Inverse depth of the front surface of a ball or endless limb; NaN where the ray misses."""
    (e00, e01, e02), (_, e11, e12), (_, _, e22) = e
    w = x * ((e01 + e01) * y)
    w += (e00 * (x * x) + (e02 + e02) * x) + e22
    w += e11 * (y * y) + (e12 + e12) * y
    np.sqrt(w, out=w)
    w += b[0] * x + b[2]
    w += b[1] * y
    return w


def _box(h, off, x, y):
    """Inverse depth at which rays enter the cube |local| <= 1, and whether they do."""
    entry = exit_ = None
    for i in range(3):
        slope = h[i, 0] * x + h[i, 2] + h[i, 1] * y
        for sign in (-1.0, 1.0):
            gap = np.float32(sign) - off[i]
            w = slope / gap
            if sign * off[i] > 1:  # the camera is on this side
                entry = w if entry is None else np.minimum(entry, w)
            else:
                exit_ = w if exit_ is None else np.maximum(exit_, w)
    return entry, (entry > exit_) & (entry > 0)
