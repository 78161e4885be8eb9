"""The room around a scene, and shadows on its floor: against closed forms."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from workbench.made.render import Light, View
from workbench.made.rooms import SHADOW_EDGE, SHADOW_MM, Room, room_pixels, shadow_map

W, H = 61, 47


def room():
    texture = np.arange(6 * 4, dtype=np.float32).repeat(3).reshape(-1, 3) / 24
    level = np.stack([[(4 * face, 2), (4 * face, 1)] for face in range(6)])
    turn = Rotation.from_euler("y", 0.7).as_matrix()
    return Room(
        np.array([100.0, 0, -50]),
        np.array([3000.0, 2500, 4000]),
        turn,
        texture,
        level,
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
    faces = np.unique((colour[..., 0].ravel() * 24).round().astype(int) // 4)
    assert 4 in faces and len(faces) >= 3
    assert (colour.reshape(-1, 3)[floor, 0] * 24 // 4 == 4).all()


def test_a_shadow_lies_where_the_light_throws_it():
    ends = np.array([[[0.0, 1000, 0], [0.0, 1000, 600]]])
    light = Light(np.array([0.6, 0.8, 0.0]), np.ones(3), np.ones(3))
    dark = shadow_map(ends, np.array([100.0]), np.zeros(2), light)
    z, x = np.nonzero(dark > 200)
    middle = SHADOW_EDGE / 2
    # 1000 * 0.6 / 0.8, away from the light
    assert abs((x.mean() - middle) * SHADOW_MM + 750) < 60
    assert abs((z.mean() - middle) * SHADOW_MM - 300) < 60 and (dark[:40] == 0).all()
