"""A made video, and files of sparse labels of it, as people bring them."""

from __future__ import annotations

import json

import cv2
import numpy as np

from workbench.data.frames import open_frames
from workbench.data.labels import read_labels
from workbench.records import Clip, Track, Video
from workbench.skeletons import skeleton

K = 15


def texture(seed=3, w=120, h=90):
    noise = np.random.default_rng(seed).integers(0, 256, (h // 4, w // 4), dtype=np.uint8)
    return cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC)


def moving(step=(2, 1), t=9):
    """A textured picture that moves by whole pixels, and joints that move with it."""
    big = texture(w=200, h=160)
    frames = np.stack(
        [np.dstack([big[40 - step[1] * i :, 40 - step[0] * i :][:90, :120]] * 3) for i in range(t)]
    )
    start = np.random.default_rng(1).uniform((40, 30), (80, 60), (K, 2))
    return frames, start + np.arange(t)[:, None, None] * np.array(step)


def clip_of(xy, labelled, visibility=None, joints="posetrack15"):
    at = np.isin(np.arange(len(xy)), labelled)
    flags = (np.full(xy.shape[:2], 2) if visibility is None else visibility) * at[:, None]
    boxes = np.concatenate((xy.min(1) - 5, xy.max(1) + 5), -1) * at[:, None]
    track = Track(joints, 4, xy * at[:, None, None], flags, at, boxes)
    return Clip(Video("made", len(xy), 120, 90), [track], name="made")


def pictures(folder):
    """The moving picture as a folder of pictures, and its joints."""
    frames, xy = moving()
    folder.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i:06d}.jpg"), frame)
    return folder, xy


def film(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 90))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame))
    writer.release()
    return path


def labels(xy, at, **image):
    names = list(skeleton("posetrack15").joints)
    content = {
        "info": {"by": "me"},
        "categories": [{"id": 5, "name": "person", "keypoints": names, "skeleton": []}],
        "images": [
            {"id": 10 + i, "file_name": f"clip/{i:06d}.jpg"} | {k: v(i) for k, v in image.items()}
            for i in at
        ],
        "annotations": [
            {
                "id": 70 + i,
                "image_id": 10 + i,
                "category_id": 5,
                "track_id": 4,
                "note": "mine",
                "keypoints": np.concatenate((xy[i], np.full((K, 1), 2)), 1)
                .round(2)
                .ravel()
                .tolist(),
                "bbox": [*(xy[i].min(0) - 5).tolist(), *(np.ptp(xy[i], axis=0) + 10).tolist()],
            }
            for i in at
        ],
    }
    return content


def read(source, content, **options):
    path = source.parent / "labels.json"
    path.write_text(json.dumps(content))
    with open_frames(source) as frames:
        return read_labels(path, frames, **options)


def new(made):
    return [a for a in made["annotations"] if a.get("propagated")]


def labelled(given):
    return {t.track_id: np.flatnonzero(t.visibility.any(1)).tolist() for t in given.clip.tracks}
