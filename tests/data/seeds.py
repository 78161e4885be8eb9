"""Small valid files of every format that the readers know, made here in the published layouts; none
is anybody's data.

A seed is a tree of dicts, lists, arrays and plain values with an encoder, or bytes: trees can be
damaged before they are encoded, bytes after.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.files import ragged
from workbench.skeletons import skeleton


@dataclass(frozen=True)
class Seed:
    file: str  # its name, of which readers take the suffix and sometimes more
    tree: object
    encode: Callable[[object], bytes]
    reader: str  # that must recognise it

    @property
    def raw(self) -> bytes:
        return self.encode(self.tree)


def put(folder: Path, name: str, raw: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def as_json(tree) -> bytes:
    return json.dumps(tree, default=lambda a: a.tolist()).encode()


def as_npz(tree) -> bytes:
    stream = io.BytesIO()
    np.savez(
        stream,
        **{k: v for k, v in tree.items() if type(k) is str and k}
        if type(tree) is dict
        else {"a": tree},
    )
    return stream.getvalue()


def as_npy(tree) -> bytes:
    stream = io.BytesIO()
    np.save(stream, tree)
    return stream.getvalue()


def as_mat(tree) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, tree if type(tree) is dict else {"a": tree})
    return stream.getvalue()


def as_csv(tree) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows(row if isinstance(row, list) else [row] for row in tree)
    return stream.getvalue().encode()


def as_text(tree) -> bytes:
    return "\n".join(
        " ".join(map(str, row)) if isinstance(row, list) else str(row) for row in tree
    ).encode()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(13 * 17 * 3, dtype=np.uint8).reshape(13, 17, 3)).save(stream, kind)
    return stream.getvalue()


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("a/b.txt", "x" * 300)
            opened.writestr("c.txt", "y")
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as opened:
            info = tarfile.TarInfo("a/b.txt")
            info.size = 5
            opened.addfile(info, io.BytesIO(b"hello"))
    return stream.getvalue()


def joints(name: str, flag: float = 2) -> list:
    return [v for j in range(len(skeleton(name))) for v in (10.0 + j, 20.0 + 2 * j, flag)]


def coco(
    name: str, image: dict | None = None, annotation: dict | None = None, flag: float = 2
) -> dict:
    """Two pictures with a person each."""
    names = ["a_01_l.jpg", "b_01_r.jpg"]
    both = range(2)
    return {
        "images": [
            {
                "id": i,
                "file_name": f"00{i}{names[i][1:]}",
                "width": 97,
                "height": 89,
                **(image or {}),
            }
            for i in both
        ],
        "annotations": [
            {
                "id": 5 + i,
                "image_id": i,
                "category_id": 1,
                "bbox": [3, 5, 31, 37],
                "area": 500.5,
                "iscrowd": 0,
                "keypoints": joints(name, flag),
                "num_keypoints": 3,
                **(annotation or {}),
            }
            for i in both
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(skeleton(name).joints)}],
    }


def posetrack() -> dict:
    tree = coco(
        "posetrack17",
        {"vid_id": "000001", "nframes": 3, "is_labeled": True},
        {"track_id": 0, "bbox_head": [4, 5, 6, 7]},
    )
    for i, image in enumerate(tree["images"]):
        image |= {"frame_id": 10000010000 + i, "file_name": f"images/val/000001_x/00000{i}.jpg"}
        image |= {"ignore_regions_x": [[1, 2, 3]], "ignore_regions_y": [[4, 5, 7]]}
    return tree


def annolist() -> dict:
    points = [
        {"id": [i], "x": [10.0 + i], "y": [20.0 + 2 * i], "is_visible": [1]} for i in range(15)
    ]
    head = {
        "x1": [1],
        "y1": [2],
        "x2": [9],
        "y2": [11],
        "track_id": [0],
        "annopoints": [{"point": points}],
    }
    return {
        "annolist": [
            {"image": [{"name": f"images/v/0000{i}.jpg"}], "imgnum": [i + 1], "annorect": [head]}
            for i in range(2)
        ]
    }


def camera() -> dict:
    return {
        "R": np.eye(3),
        "T": np.zeros((3, 1)),
        "f": np.full((2, 1), 1145.0),
        "c": np.full((2, 1), 512.0),
        "k": np.zeros((3, 1)),
        "p": np.zeros((2, 1)),
        "w": 1000,
        "h": 1002,
        "name": "x",
        "id": "1",
    }


HAND = np.column_stack((np.arange(42) / 100 - 0.1, np.zeros(42), np.full(42, 0.5)))
BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 90 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.0333333
0 90 0 1 2 3 4 5 6
1 90 0 1 2 3 4 5 6
2 90 0 1 2 3 4 5 6
"""
_BATCH = {
    "preds": np.ones((2, 21, 3), np.float32),
    "boxes": np.ones((2, 6), np.float32),
    "image_paths": ["a.jpg", "b.jpg"],
    "bbox_ids": [0, 1],
    "output_heatmap": None,
}
_H36M = {
    "imgname": np.array(["S1_Directions_1.54138969_000001.jpg"] * 2),
    "center": np.full((2, 2), 500.0),
    "scale": np.ones(2),
    "part": np.tile([300.0, 301.0, 1.0], (2, 17, 1)),
    "S": np.ones((2, 17, 4)),
}
_THREEDPW = {
    "sequence": "walk_00",
    "jointPositions": [np.ones((3, 72))],
    "cam_poses": np.tile(np.eye(4), (3, 1, 1)),
    "cam_intrinsics": np.array([[1960.0, 0, 540], [0, 1960, 960], [0, 0, 1]]),
    "campose_valid": [np.ones(3)],
    "img_frame_ids": np.arange(3),
    "poses2d": [np.ones((3, 3, 18))],
    "genders": ["m"],
    "poses": [np.zeros((3, 72))],
    "trans": [np.zeros((3, 3))],
    "betas": [np.zeros(10)],
}
_RESULT = {
    "image_id": 1,
    "category_id": 1,
    "keypoints": joints("coco17", 0.5),
    "score": 0.9,
    "bbox": [1, 2, 30, 40],
}
_INSTANCE = {
    "keypoints": [[1.5 * j, 2.0 * j] for j in range(17)],
    "keypoint_scores": [0.5] * 17,
    "bbox": [[1, 2, 9, 11]],
}
_GT = {"imgname": ragged(np.array(["a/1.png"] * 2)), "joints_3d": ragged(np.ones((2, 51)))}

_PREDICTIONS = coco("coco17", None, {"score": 0.5}, 0.75)
_META = {"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": [_INSTANCE]}]}
_OPENPOSE = {"version": 1.3, "people": [{"pose_keypoints_2d": [30.5, 40.5, 0.5] * 25}]}
_COLUMNS = ["frame", "person", "landmark", "x_px", "y_px", "visibility"]
_LANDMARKS = [_COLUMNS, *([f, 0, j, 5.0, 6.0, 0.5] for f in range(2) for j in range(33))]
_UV_VIS = np.column_stack((HAND[:, :2] * 100 + 50, np.ones(42)))
_RHD = {i: {"xyz": HAND, "uv_vis": _UV_VIS, "K": np.eye(3)} for i in range(2)}

_PARTS = [(joint, kind) for joint in skeleton("coco17").joints for kind in ("x", "y", "likelihood")]
_DEEPLABCUT = [
    ["scorer", *["net"] * 51],
    ["individuals", *["one"] * 51],
    ["bodyparts", *(joint for joint, _ in _PARTS)],
    ["coords", *(kind for _, kind in _PARTS)],
    *([f, *[5.5, 6.0, 0.5] * 17] for f in range(2)),
]
_ULTRALYTICS = {
    "name": "person",
    "class": 0,
    "confidence": 0.8,
    "box": {"x1": 3.0, "y1": 4.0, "x2": 60.0, "y2": 70.0},
    "track_id": 1,
    "keypoints": {"x": [5.5] * 17, "y": [6.5] * 17, "visible": [0.5] * 17},
}
_LINE = [0, 0.5, 0.5, 0.25, 0.75, *[0.4, 0.6, 0.9] * 17, 0.8, 2]
_DUMPED = {
    "img_path": "walk/000001.jpg",
    "img_id": 1,
    "pred_instances": {
        "keypoints": np.ones((1, 17, 2), np.float32),
        "keypoint_scores": np.ones((1, 17), np.float32),
        "bboxes": np.array([[1, 2, 9, 11]], np.float32),
        "bbox_scores": np.ones(1, np.float32),
    },
}
NOBODY = {"id": 9, "image_id": 0, "category_id": 1, "bbox": [3, 5, 0, 7], "keypoints": []}

SEEDS: dict[str, Seed] = {
    name: Seed(*rest)
    for name, *rest in (
        ("jpeg", "a.jpg", picture("JPEG"), bytes, "picture"),
        ("png", "a.png", picture("PNG"), bytes, "picture"),
        ("webp", "a.webp", picture("WEBP"), bytes, "picture"),
        ("tiff", "a.tif", picture("TIFF"), bytes, "picture"),
        ("gif", "a.gif", picture("GIF"), bytes, "picture"),
        ("bvh", "a.bvh", BVH.encode(), bytes, "bvh"),
        (
            "bvh_named_end",
            "a.bvh",
            BVH.replace("End Site", "End Site Spine end").replace("0 1 2", ".0 1e0 -2.5").encode(),
            bytes,
            "bvh",
        ),
        ("coco", "a.json", coco("coco17"), as_json, "coco"),
        (
            "coco_without_joints",
            "a.json",
            {**coco("coco17"), "annotations": [*coco("coco17", flag=1)["annotations"], NOBODY]},
            as_json,
            "coco",
        ),
        ("crowdpose", "a.json", coco("crowdpose14", {"crowdIndex": 0.3}), as_json, "coco"),
        ("h36m_json", "a.json", coco("h36m17"), as_json, "coco"),
        (
            "panoptic",
            "a.json",
            coco("hand21", None, {"head_size": 9.0, "center": [1, 2]}, 1),
            as_json,
            "panoptic",
        ),
        (
            "rhd_json",
            "a.json",
            coco("hand21", None, {"joint_cam": (HAND[:21] * 1000).tolist()}, 1),
            as_json,
            "rhd",
        ),
        (
            "jhmdb_json",
            "a.json",
            coco("jhmdb15", {"vid_id": "1", "frame_id": 1, "nframes": 2}),
            as_json,
            "jhmdb",
        ),
        ("posetrack18", "a.json", posetrack(), as_json, "posetrack"),
        ("posetrack17", "a.json", annolist(), as_json, "posetrack"),
        (
            "boxes",
            "a.json",
            [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}] * 2,
            as_json,
            "person_boxes",
        ),
        ("cameras", "a.json", {"S1.5": camera()}, as_json, "cameras"),
        ("cmu", "a_l.json", {"hand_pts": np.ones((21, 3)), "is_left": 1}, as_json, "cmu_hands"),
        (
            "cmu_root",
            "a.json",
            {"root": [{"joint_self": np.ones((21, 3)), "img_paths": "imgs/0.jpg"}]},
            as_json,
            "cmu_hands",
        ),
        ("predictions", "a.json", _PREDICTIONS, as_json, "predictions"),
        ("results", "a.json", [_RESULT, _RESULT | {"image_id": 2}], as_json, "detections"),
        (
            "mmpose",
            "a.json",
            [{"frame_id": i, "instances": [_INSTANCE]} for i in range(2)],
            as_json,
            "detections",
        ),
        ("mmpose_meta", "a.json", _META, as_json, "detections"),
        ("openpose", "v_000000000001_keypoints.json", _OPENPOSE, as_json, "detections"),
        ("csv", "a.csv", _LANDMARKS, as_csv, "detections"),
        ("deeplabcut", "a.csv", _DEEPLABCUT, as_csv, "detections"),
        ("ultralytics", "a.json", [_ULTRALYTICS, _ULTRALYTICS], as_json, "detections"),
        ("ultralytics_frames", "a.json", [[], [_ULTRALYTICS]], as_json, "detections"),
        ("yolo", "a.txt", [_LINE, [*_LINE[:-1], 3]], as_text, "detections"),
        ("dump", "a.pkl", [_DUMPED], pickle.dumps, "detections"),
        ("rhd", "anno_x.pickle", _RHD, pickle.dumps, "rhd"),
        ("cameras_pickle", "a.pkl", {("S1", "5"): camera()}, pickle.dumps, "cameras"),
        ("threedpw", "a.pkl", _THREEDPW, pickle.dumps, "threedpw"),
        (
            "aist",
            "a.pkl",
            {"keypoints3d": np.ones((3, 17, 3)), "keypoints3d_optim": np.ones((3, 17, 3))},
            pickle.dumps,
            "aist",
        ),
        ("batches", "a.pkl", [_BATCH], pickle.dumps, "detections"),
        ("batches_2", "a.pkl", [_BATCH], lambda tree: pickle.dumps(tree, 2), "detections"),
        (
            "pickle",
            "a.pkl",
            {"a": [1, 2.5, "x", None, b"y"], "b": np.arange(5)},
            pickle.dumps,
            "contents",
        ),
        (
            "batches_npz",
            "a.npz",
            {k: np.array(v) for k, v in _BATCH.items() if v is not None},
            as_npz,
            "detections",
        ),
        ("h36m", "a.npz", _H36M, as_npz, "h36m"),
        ("deciwatch", "h36m_gt_test.npz", _GT, as_npz, "deciwatch"),
        ("npz", "a.npz", {"x": np.arange(5), "y": np.ones((2, 3))}, as_npz, "contents"),
        ("npy", "a.npy", np.ones((3, 17, 3)), as_npy, "contents"),
        (
            "jhmdb",
            "joint_positions.mat",
            {"pos_img": np.ones((2, 15, 3)), "scale": np.ones((1, 3))},
            as_mat,
            "jhmdb",
        ),
        ("mat", "a.mat", {"x": np.ones((2, 3)), "s": {"t": "text"}}, as_mat, "contents"),
        (
            "fphb",
            "skeleton.txt",
            [[i, *np.tile([3.0, 4.0, 400.0], 21).tolist()] for i in range(3)],
            as_text,
            "fphb",
        ),
        ("zip", "a.zip", archive("zip"), bytes, "archive"),
        ("tar", "a.tar.gz", archive("tar"), bytes, "archive"),
    )
}
