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

from collections.abc import Sequence
from dataclasses import dataclass, fields

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


def join(parts: Sequence[Solids]) -> Solids:
    """All solids of several groups with the same instants, in order."""
    axis = {"centre": 1, "axes": 1}
    return Solids(
        *(
            np.concatenate([getattr(s, f.name) for s in parts], axis.get(f.name, 0))
            for f in fields(Solids)
        )
    )


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
        ball, ends = (kind == BALL)[:, None], []
        for sign in (-1.0, 1.0):
            r = np.where(kind == BALL, 1.0, np.where(kind == BOX, np.sqrt(2), 1 + sign * s))[
                :, None
            ]
            x, y, z = a[..., 0, :] * r, a[..., 1, :] * ball, a[..., 2, :] * r
            centre = c + np.where(ball, 0.0, sign) * a[..., 1, :]
            flat, deep = centre[..., :2], centre[..., 2:]
            dd = (x**2 + y**2 + z**2)[..., :2] - flat**2
            dz = (
                x[..., :2] * x[..., 2:]
                + y[..., :2] * y[..., 2:]
                + z[..., :2] * z[..., 2:]
                - flat * deep
            )
            spread = (x**2 + y**2 + z**2)[..., 2:]
            zz = np.minimum(spread - deep**2, -1.0)
            root = np.sqrt(np.maximum(dz**2 - dd * zz, 0))
            ends.append(((dz + root) / zz, (dz - root) / zz, (deep - np.sqrt(spread))[..., 0]))
        low, high, near = zip(*ends)
        middle, size = self.view.middle, np.array(self.view.size_wh)
        self.box = np.concatenate(
            [np.minimum(*low), np.maximum(*high)], -1
        ) * self.view.focal + np.tile(middle, 2)
        first, last = np.ceil(self.box[..., :2]), np.floor(self.box[..., 2:]) + 1
        self.rect = np.concatenate([np.clip(first, 0, size), np.clip(last, 0, size)], -1).astype(
            int
        )
        self.drawn &= (np.minimum(*near) > NEAR_MM) & (self.rect[..., 2:] > self.rect[..., :2]).all(
            -1
        )

    def person_box(self, owner: int, which=True) -> Float[np.ndarray, "t 4"]:
        """xyxy px around all of a person's solids (or some), hidden or not, clipped to the
        picture; zeros outside it.
        """
        part = self.drawn & (self.solids.owner == owner) & which
        low = np.where(part[..., None], self.box[..., :2], np.inf).min(1)
        high = np.where(part[..., None], self.box[..., 2:], -np.inf).max(1)
        size = np.array(self.view.size_wh) - 1.0
        box = np.concatenate([np.clip(low, 0, size), np.clip(high, 0, size)], -1)
        # px; unstated, ours
        return np.where(((box[:, 2:] - box[:, :2]) >= 2).all(1)[:, None], box, 0.0)

    def raster(
        self, t: int, w: np.ndarray, ids: np.ndarray, first: int = 0, shift=(0.0, 0.0)
    ) -> None:
        """Draws the solids of instant t into an inverse depth buffer and their numbers, from
        `first`, into `ids`.

        shift: px by which the rays are moved inside their pixels.
        """
        order = np.flatnonzero(self.drawn[t])
        rect = self.rect[t, order]
        move = np.tile(np.eye(3), (len(order), 1, 1))
        # polynomials about each rectangle's corner
        move[:, :2, 2] = rect[:, :2] + np.asarray(shift)
        h, off, k = (
            np.einsum("pij,pjk->pik", self.h[t, order], move),
            self.off[t, order],
            self.k[order],
        )
        # On a ray (x, y, 1) the front surface is at w = b (x, y, 1) + sqrt((x, y, 1) e (x, y, 1)).
        c2 = np.where(self.c2[t, order] > 0, self.c2[t, order], 1.0)[:, None]
        b = (self.solids.taper[order, None] * h[:, 1] - np.einsum("pi,pia->pa", k * off, h)) / c2
        e = b[:, :, None] * b[:, None] - np.einsum("pia,pib,pi->pab", h, h, k) / c2[..., None]
        h, off, b, e = (v.astype(np.float32) for v in (h, off, b, e))
        ramp = np.arange(max(self.view.size_wh), dtype=np.float32)
        ramp2 = ramp * ramp
        kinds = self.solids.kind[order].tolist()
        with np.errstate(invalid="ignore", divide="ignore"):
            for i, (p, (x0, y0, x1, y1)) in enumerate(zip(order.tolist(), rect.tolist())):
                x, y = ramp[: x1 - x0], ramp[: y1 - y0, None]
                if kinds[i] == BOX:
                    new, mask = _box(h[i], off[i], x, y)
                else:
                    (_, e01, e02), (_, e11, e12), (_, _, e22) = e[i]
                    new = x * ((e01 + e01) * y)
                    new += (e[i, 0, 0] * ramp2[: x1 - x0] + (e02 + e02) * x) + e22
                    new += e11 * ramp2[: y1 - y0, None] + (e12 + e12) * y
                    np.sqrt(new, out=new)  # NaN where the ray misses, which is nearer than nothing
                    new += b[i, 0] * x + b[i, 2]
                    new += b[i, 1] * y
                    mask = None
                    if kinds[i] == LIMB:
                        along = off[i, 1] * new
                        along += h[i, 1, 0] * x + h[i, 1, 2]
                        along += h[i, 1, 1] * y
                        mask = np.abs(along, out=along) <= new
                seen = w[y0:y1, x0:x1]
                nearer = new > seen
                if mask is not None:
                    nearer &= mask
                np.copyto(seen, new, where=nearer)
                np.copyto(ids[y0:y1, x0:x1], first + p, where=nearer)

    def shade(
        self, t: int, pixels, ids, w, surfaces: Surfaces, light: Light, shift=(0.0, 0.0)
    ) -> np.ndarray:
        """Linear colours [n 3] of pixels (flat indices) that see solids `ids` at inverse depth
        w, at instant t.
        """
        solids, single = self.solids, np.float32
        y, x = np.divmod(pixels, self.view.size_wh[0])
        z = 1 / w
        x, y = (x.astype(single) + single(shift[0])) * z, (y.astype(single) + single(shift[1])) * z
        h, off, size = (v[t].astype(single) for v in (self.h, self.off, self.size))
        local = [
            h[:, i, 0][ids] * x + h[:, i, 1][ids] * y + h[:, i, 2][ids] * z + off[:, i][ids]
            for i in range(3)
        ]

        taper, kind = solids.taper.astype(single)[ids], solids.kind[ids]
        normal = [
            local[0].copy(),
            np.where(kind == LIMB, -taper * (1 + taper * local[1]), local[1]),
            local[2].copy(),
        ]
        flat = np.flatnonzero(kind == BOX)
        sides = np.stack(local)[:, flat]
        sides *= np.abs(sides) >= np.abs(sides).max(0)
        for v, side in zip(normal, sides):
            v[flat] = side
        length = np.sqrt(sum((v / size[:, i][ids]) ** 2 for i, v in enumerate(normal)))
        # light and up
        camera = np.stack([light.direction, [0.0, 1.0, 0.0]]) @ self.view.rotation[t].T
        facing = np.einsum("pij,kj->kip", self.g[t], camera).astype(single)
        lit, up = (sum(v * f[i][ids] for i, v in enumerate(normal)) / length for f in facing)
        # light wraps a little; unstated, ours
        lit = np.maximum(lit * single(0.85) + single(0.15), 0)
        up = single(0.72) + single(0.28) * up

        surface = np.where(local[1] < solids.cut.astype(single)[ids], *solids.surface.T[:, ids])
        mm = [v * size[:, i][ids] for i, v in enumerate(local)]
        phases = (
            sum(v * wave[i][surface] for i, v in enumerate((*mm, single(1))))
            for wave in surfaces.waves
        )
        one, two = (phase - np.floor(phase) < single(0.5) for phase in phases)
        fine = surfaces.fine[surface]
        x, y, z = (
            (np.floor(v * fine).astype(np.int32) + 7 * ids) & (len(surfaces.noise) - 1) for v in mm
        )
        albedo = 1 + surfaces.noise[x, y, z] * surfaces.grain[surface]
        colour = np.empty((len(pixels), 3), single)
        for i, (a, b) in enumerate(surfaces.colours):
            ray = lit * single(light.diffuse[i]) + up * single(light.ambient[i])
            colour[:, i] = np.where(one ^ two, b[surface], a[surface]) * albedo * ray
        return colour


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
