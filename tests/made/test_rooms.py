"""The room around a scene, and shadows on its floor: against closed forms."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from workbench.made.render import Light, View
from workbench.made.rooms import (
    EDGE,
    LEVELS,
    SHADOW_EDGE,
    SHADOW_MM,
    Room,
    Sky,
    Texture,
    Wall,
    room_pixels,
    shadow_map,
)

W, H = 61, 47


def room():
    texture = Texture([Sky(np.full(3, face / 6)) for face in range(6)], np.ones((6, 3)))
    turn = Rotation.from_euler("y", 0.7).as_matrix()
    return Room(
        np.array([100.0, 0, -50]),
        np.array([3000.0, 2500, 4000]),
        turn,
        texture,
        np.full(6, 500.0),
    )


def test_the_room_surrounds_the_camera_and_its_floor_is_where_the_camera_says():
    upright = np.diag([1.0, -1.0, -1.0])[None]
    view = View(
        upright @ Rotation.from_euler("xy", [0.2, 0.4]).as_matrix(),
        np.array([[200.0, 1500, 300]]),
        40.0,
        (W, H),
    )
    colour, floor, world = room_pixels(room(), view, 0)
    assert colour.shape == (H, W, 3) and np.isfinite(colour).all() and len(floor) > 100
    xyz = np.stack([world[:, 0], 0 * world[:, 0], world[:, 1]], -1)[None]
    xy = view.to_frame(view.to_camera(xyz))[0]
    np.testing.assert_allclose(xy, np.stack([floor % W, floor // W], -1), atol=0.01)
    faces = np.unique((colour[..., 0].ravel() * 6).round().astype(int))
    assert 4 in faces and len(faces) >= 3
    assert (colour.reshape(-1, 3)[floor, 0] == np.float32(4 / 6)).all()


def test_a_shadow_lies_where_the_light_throws_it():
    ends = np.array([[[0.0, 1000, 0], [0.0, 1000, 600]]])
    light = Light(np.array([0.6, 0.8, 0.0]), np.ones(3), np.ones(3))
    dark = shadow_map(ends, np.array([100.0]), np.zeros(2), light)
    z, x = np.nonzero(dark > 200)
    middle = SHADOW_EDGE / 2
    # 1000 * 0.6 / 0.8, away from the light
    assert abs((x.mean() - middle) * SHADOW_MM + 750) < 60
    assert abs((z.mean() - middle) * SHADOW_MM - 300) < 60 and (dark[:40] == 0).all()


def test_a_level_is_the_mean_of_the_finer_texels_and_lit():
    wall = Wall(np.random.default_rng(0), ground=False)
    light = np.array([[0.5, 1.0, 1.5]])
    texture = Texture([wall], light)
    assert wall.linear.shape == (3, EDGE, EDGE) and wall.linear.dtype == np.float32
    for k in range(LEVELS):
        n = EDGE >> k
        blocks = wall.linear.astype(float).reshape(3, n, 1 << k, n, 1 << k).mean((2, 4))
        np.testing.assert_allclose(texture.level(0, k), blocks * light.T[..., None], atol=1e-6)


def test_a_wall_is_a_matter_of_its_draws_alone_and_repeats_without_a_seam():
    one, again = (Wall(np.random.default_rng(5), ground=True).linear for _ in range(2))
    np.testing.assert_array_equal(one, again)
    plain = next(
        wall
        for wall in (Wall(np.random.default_rng(seed), ground=True) for seed in range(50))
        if not wall.tiles
    )
    steps = np.abs(np.diff(plain.linear, axis=2, append=plain.linear[..., :1])).mean((0, 1))
    assert steps[-1] < 2 * steps.mean()  # from the last column to the first
