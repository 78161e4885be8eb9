"""Solids before a camera: against closed forms and brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from workbench.made.render import (
    BALL,
    BOX,
    LIMB,
    Light,
    Projected,
    Solids,
    Surfaces,
    View,
)

W, H = 61, 47
# looks along +z; y of the world points down here
VIEW = View(np.eye(3)[None], np.zeros((1, 3)), 53.0, (W, H))
DARK = Light(np.array([0.0, 1.0, 0.0]), np.zeros(3), np.ones(3))


def solids(*rows):
    """Rows of (kind, centre, axes, taper)."""
    kind, centre, axes, taper = zip(*rows)
    n = len(rows)
    return Solids(
        np.array(kind),
        np.array(centre, float)[None],
        np.array(axes, float)[None],
        np.array(taper, float),
        np.zeros((n, 2), int),
        np.full(n, 9.0),
        np.zeros(n, int),
        np.zeros(n, int),
        np.full(n, np.inf),
    )


def draw(what, view=VIEW):
    w, ids = np.zeros((H, W), np.float32), np.zeros((H, W), np.int32)
    Projected(what, view).raster(0, w, ids, 1)
    return np.divide(1, w, out=np.full(w.shape, np.inf), where=w > 0), ids


def test_a_ball_is_as_large_and_as_near_as_geometry_says():
    r, d = 300.0, 1000.0
    ball = solids((BALL, (0, 0, d), np.eye(3) * r, 0))
    z, ids = draw(ball)
    assert z[H // 2, W // 2] == pytest.approx(d - r, rel=1e-5)
    radius = 53 * np.tan(np.arcsin(r / d))
    np.testing.assert_allclose(
        Projected(ball, VIEW).box[0, 0], [30 - radius, 23 - radius, 30 + radius, 23 + radius]
    )
    y, x = np.nonzero(ids)
    assert np.abs(np.hypot(x - 30, y - 23).max() - radius) < 1
    np.testing.assert_allclose(
        Projected(ball, VIEW).person_box(0)[0], [30 - radius, 23 - radius, 30 + radius, 23 + radius]
    )
    assert not Projected(ball, VIEW).person_box(1).any()


@pytest.mark.parametrize("kind", [BALL, LIMB, BOX])
def test_every_solid_agrees_with_marching_along_the_rays(kind, rng):
    steps = np.linspace(600, 1900, 1001)
    y, x = np.mgrid[:H:2, :W:2]
    ray = np.stack([(x - 30) / 53, (y - 23) / 53, np.ones(x.shape)], -1)
    compared = 0
    for turned in Rotation.from_quat(rng.standard_normal((3, 4))).as_matrix():
        size, centre = rng.uniform(90, 300, 3), np.append(rng.uniform(-150, 150, 2), 1250)
        size, taper = (size[[0, 1, 0]], rng.uniform(-0.5, 0.5)) if kind == LIMB else (size, 0.0)
        what = solids((kind, centre, turned * size[:, None], taper))
        z = draw(what)[0][::2, ::2]
        local = (steps[:, None, None, None] * ray - centre) @ turned.T / size
        inside = {
            BALL: (local**2).sum(-1) <= 1,
            BOX: np.abs(local).max(-1) <= 1,
            LIMB: (np.hypot(local[..., 0], local[..., 2]) <= 1 + taper * local[..., 1])
            & (np.abs(local[..., 1]) <= 1),
        }[kind]
        first = inside.argmax(0)
        along = np.take_along_axis(local[..., 1], first[None], 0)[0]
        # a limb has no caps
        sure, drawn = inside.any(0) & ((kind != LIMB) | (np.abs(along) < 0.97)), np.isfinite(z)
        assert (sure & ~drawn).sum() <= 0.02 * sure.sum() + 1 and (
            drawn & ~inside.any(0)
        ).sum() <= 0.02 * sure.sum() + 1
        error = np.abs(z - steps[first])[sure & drawn]
        assert np.median(error) < 1 and np.quantile(error, 0.98) < 8
        box = Projected(what, VIEW).box[0, 0]
        assert (box[:2] <= [x[drawn].min(), y[drawn].min()]).all() and (
            box[2:] >= [x[drawn].max(), y[drawn].max()]
        ).all()
        compared += len(error)
    assert compared > 150


def test_the_nearest_wins_whatever_the_order():
    near, far = (BALL, (0, 0, 900), np.eye(3) * 60, 0), (BOX, (0, 0, 1400), np.eye(3) * 300, 0)
    for order in ([near, far], [far, near]):
        z, ids = draw(solids(*order))
        assert (
            ids[23, 30] == order.index(near) + 1
            and ids[23, 38] == order.index(far) + 1
            and ids[0, 0] == 0
        )
        assert z[23, 30] == pytest.approx(840, rel=1e-5) and z[23, 38] == pytest.approx(
            1100, rel=1e-5
        )


def test_what_is_behind_or_around_the_camera_is_not_drawn():
    for centre, size in (((0, 0, -900), 60), ((0, 0, 0), 600), ((0, 0, 200), 100)):
        for kind in (BALL, LIMB, BOX):
            assert not draw(solids((kind, centre, np.eye(3) * size, 0)))[1].any()


def surfaces(waves=((0, 0, 0, 0), (0, 0, 0, 0))):
    colours = np.array([[[0.2, 0.8]], [[0.4, 0.1]], [[0.6, 0.3]]], np.float32).transpose(0, 2, 1)
    zero = np.zeros(1, np.float32)
    return Surfaces(
        colours,
        np.array(waves, np.float32)[..., None],
        zero,
        zero + 1,
        np.zeros((2, 2, 2), np.float32),
    )


def shaded(what, view, surface, light=DARK):
    w, ids = np.zeros((H, W), np.float32), np.zeros((H, W), np.int32)
    projected = Projected(what, view)
    projected.raster(0, w, ids, 1)
    seen = np.flatnonzero(ids)
    return seen, projected.shade(0, seen, ids.ravel()[seen] - 1, w.ravel()[seen], surface, light)


def test_stripes_stay_where_they_are_on_a_solid_that_moves_with_its_camera(rng):
    what = solids(
        (LIMB, (40, 0, 1000), np.diag([150.0, 400.0, 150.0]), 0.2),
        (BOX, (300, 0, 1500), np.eye(3) * 200, 0),
    )
    seen, before = shaded(what, VIEW, surfaces(((0, 0.01, 0, 0.3), (0.004, 0, 0, 0))))
    turn, shift = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), np.array([500.0, -70.0, 30.0])
    moved = replace(what, centre=what.centre @ turn.T + shift, axes=what.axes @ turn.T)
    view = replace(VIEW, rotation=turn.T[None], position=shift[None])
    again, after = shaded(moved, view, surfaces(((0, 0.01, 0, 0.3), (0.004, 0, 0, 0))))
    assert len(np.intersect1d(seen, again)) > 0.99 * len(seen)
    both = np.isin(seen, again), np.isin(again, seen)
    # the sky's share differs, colours do not
    hue = [v[k][:, 0] / v[k][:, 1] for v, k in zip((before, after), both)]
    assert (np.abs(hue[0] - hue[1]) < 1e-3).mean() > 0.99
    assert {round(float(h), 2) for h in hue[0]} == {0.5, 8.0}


def test_light_falls_on_the_side_that_faces_it():
    ball = solids((BALL, (0, 0, 1000), np.eye(3) * 300, 0))
    sun = Light(np.array([1.0, 0.0, 0.0]), np.ones(3), np.zeros(3))
    seen, colour = shaded(ball, VIEW, surfaces(), sun)
    x = seen % W
    assert colour[x > 40].mean() > 3 * colour[x < 20].mean() and (colour[x < 16] == 0).all()
