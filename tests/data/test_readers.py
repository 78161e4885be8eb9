from __future__ import annotations

import gzip
import importlib
import inspect
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.data.seeds import SEEDS, as_csv, as_json, coco, picture
from workbench.data import readers
from workbench.data.manifest import manifests
from workbench.data.readers import READERS, Contents, describe, read, recognise
from workbench.errors import (
    BadFile,
    BadParameter,
    BadRecord,
    EmptyFile,
    MissingFile,
    UnknownName,
    UnsafeFile,
    WorkbenchError,
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Set names must not be found below the folder that a test runs in."""
    monkeypatch.chdir(tmp_path)


def put(folder, name: str, raw: bytes | str):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


# --- which reader ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
def test_every_format_is_recognised(name, tmp_path):
    seed = SEEDS[name]
    assert recognise(put(tmp_path, seed.file, seed.raw))[1].name == seed.reader


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif", "bvh", "coco", "zip", "tar", "npy"])
def test_first_bytes_do_without_a_suffix(name, tmp_path):
    seed = SEEDS[name]
    assert recognise(put(tmp_path, "noname", seed.raw))[1].name == seed.reader


def test_every_reader_has_its_function_and_a_line(tmp_path):
    for reader in READERS.values():
        module, _, name = reader.function.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert reader.reads and reader.recognised and reader.kind
    used = {seed.reader for seed in SEEDS.values()}
    assert set(READERS) - used == {"video", "pictures", "folder"}


def test_every_data_set_has_a_reader_that_the_door_can_call():
    for found in manifests().values():
        if found.kind == "dataset":
            module, _, name = found.reader.partition(":")
            assert (
                "on_bad"
                in inspect.signature(getattr(importlib.import_module(module), name)).parameters
            ), found.name


def test_a_reader_may_be_named(tmp_path):
    path = put(tmp_path, "a.json", as_json(coco("hand21", None, {"head_size": 1}, 1)))
    assert read(path).reader == "panoptic" and read(path, "coco").reader == "coco"
    with pytest.raises(UnknownName, match="did you mean 'coco'"):
        read(path, "cocoo")
    with pytest.raises(BadParameter, match="on_bad is 'skip'"):
        read(path, on_bad="skip")
    with pytest.raises(WorkbenchError):
        read(path, "picture")
    with pytest.raises(WorkbenchError):
        read(tmp_path, "bvh")


def test_what_nobody_knows(tmp_path):
    for name, raw in {
        "a.xyz": b"\x01\x02\x03",
        "a.json": b'{"x": 1}',
        "a.md": b"# text",
        "b.json": b"17",
        "c.json": b"{}",
    }.items():
        with pytest.raises(BadFile, match=r"nothing that a reader knows.*name the reader"):
            read(put(tmp_path, name, raw))
    with pytest.raises(
        MissingFile, match=r"check the path, or name a data set: .*port_panoptic"
    ) as caught:
        read(tmp_path / "none")
    assert "torchvision" not in caught.value.remedy  # weights are not read
    with pytest.raises(BadFile, match="not a picture"):
        read(put(tmp_path, "a.heic", b"\0\0\0\x18ftypheic" + bytes(99)))
    with pytest.raises(MissingFile):
        read("a\0b")
    with pytest.raises(WorkbenchError):
        read("x" * 5000)
    with pytest.raises(EmptyFile):
        read(put(tmp_path, "empty", b""))
    with pytest.raises(BadParameter, match="synthetic"):
        read("synthetic")


def test_devices_and_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/zero", "/dev/null"):
        with pytest.raises(BadFile, match="a device, pipe or socket"):
            read(path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(WorkbenchError):
        read(tmp_path / "loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path):
    path = put(tmp_path, "a.json", b"{}")
    path.chmod(0)
    with pytest.raises(BadFile, match="cannot be read: permission denied"):
        read(path)


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_with_a_data_sets_layout(tmp_path, monkeypatch):
    root = tmp_path / "sets" / "port_panoptic"
    image = {"file_name": "hand_labels/t/000001_01_l.jpg"}
    tree = coco("hand21", image, None, 1)
    tree["images"], tree["annotations"] = tree["images"][:1], tree["annotations"][:1]
    put(root, "annotations/panoptic_test.json", as_json(tree))
    batch = {
        "preds": np.ones((1, 21, 3)),
        "boxes": np.ones((1, 6)),
        "image_paths": [image["file_name"]],
        "bbox_ids": [0],
    }
    put(root, "mobilenetv2_panoptic_256x256_test.pkl", pickle.dumps([batch]))
    found = describe(root)
    assert found["kind"] == "data set" and found["reader"] == "port_panoptic"
    assert (
        found["people"] == found["detections"]["people"] == 1 and found["occlusion_known"] is False
    )
    assert read(f"port_panoptic:{root}").reader == "port_panoptic"
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "sets"))
    assert read("port_panoptic").source == str(root)
    assert read(root, "port_panoptic").reader == "port_panoptic"


def test_a_folder_of_pictures_and_one_of_openpose_files(tmp_path):
    for i in (2, 10, 1):
        put(tmp_path / "p", f"{i}.png", picture("PNG"))
    found = describe(tmp_path / "p")
    assert (found["kind"], found["frames"], found["size"]["width"]) == (
        "video",
        3,
        {"min": 17, "max": 17},
    )
    Image.new("RGB", (23, 29)).save(tmp_path / "p" / "3.png")
    found = describe(tmp_path / "p")
    assert (found["images"], found["labelled_images"]) == (4, 0)
    assert found["size"] == {"width": {"min": 17, "max": 23}, "height": {"min": 13, "max": 29}}
    put(tmp_path / "p", "4.png", picture("PNG")[:-12])
    put(tmp_path / "p", "5.png", b"")
    with pytest.raises(BadFile, match=r"4\.png: truncated"):
        describe(tmp_path / "p")
    found = describe(tmp_path / "p", on_bad="report")
    assert [w["error"] for w in found["warnings"]["records"]] == ["BadFile", "EmptyFile"]
    for i in range(3):
        put(tmp_path / "o", f"v_{i:012d}_keypoints.json", SEEDS["openpose"].raw)
    assert describe(tmp_path / "o")["detections"]["frames"] == 3


def test_any_other_folder_is_listed(tmp_path):
    put(tmp_path, "a.json", SEEDS["coco"].raw)
    put(tmp_path, "b.jpg", picture("JPEG"))
    put(tmp_path, "c.json", b"{")
    put(tmp_path, "d.txt", b"x")
    (tmp_path / "sub").mkdir()
    found = read(tmp_path)
    assert isinstance(found, Contents) and found.n_members == 5
    assert found.members == (
        "a.json: coco",
        "b.jpg: picture",
        "c.json: BadFile",
        "d.txt: unknown",
        "sub/",
    )
    assert len(found.warnings) == 1 and found.warnings[0].file.endswith("c.json")
    with pytest.raises(BadFile, match="an empty folder"):
        read(tmp_path / "sub")


# --- archives -------------------------------------------------------------------------------------


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_archives_are_listed_and_never_unpacked(tmp_path):
    found = read(zipped(tmp_path / "a.zip", **{"x/y.txt": b"1", "z": b"2"}))
    assert found.members == ("x/y.txt", "z") and found.n_members == 2
    assert read(zipped(tmp_path / "empty.zip")).n_members == 0
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "empty.zip"]


def test_unsafe_archives_are_refused_as_a_whole(tmp_path):
    for name in ("../x", "/etc/x", "a/../../x", "C:\\x"):
        with pytest.raises(UnsafeFile, match="leaves the target folder"):
            read(zipped(tmp_path / "a.zip", **{"fine": b"1", name: b"2"}))
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeFile, match="is a link or device"):
        read(tmp_path / "link.zip")
    with pytest.raises(UnsafeFile, match="times the archive"):
        read(zipped(tmp_path / "bomb.zip", big=b"\0" * 2**24))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("../../x")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UnsafeFile, match="leaves the target folder"):
        read(tmp_path / "a.tar")
    put(tmp_path, "zeros.tar.gz", gzip.compress(bytes(2**27)))
    with pytest.raises(BadFile, match="follow the last member"):
        read(tmp_path / "zeros.tar.gz")
    raw = zipped(tmp_path / "cut.zip", a=os.urandom(500)).read_bytes()
    with pytest.raises(BadFile, match="cannot be unpacked") as caught:
        read(put(tmp_path, "cut.zip", raw[:300]))
    assert "method gz" not in str(caught.value) and "Remedy: get or export the file again" in str(
        caught.value
    )


# --- damaged files --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_truncated_pictures(kind, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (97, 89, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    raw = stream.getvalue()
    read(put(tmp_path, f"a.{kind.lower()}", raw))
    for part in (0.9, 0.5, 0.01):
        with pytest.raises(BadFile):
            read(put(tmp_path, f"a.{kind.lower()}", raw[: int(len(raw) * part)]))


def test_videos(tmp_path, monkeypatch):
    path = tmp_path / "a.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 7, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    found = describe(path)
    assert (found["kind"], found["frames"], found["fps"]) == ("video", 5, {"min": 7.0, "max": 7.0})
    raw = path.read_bytes()
    cut = put(tmp_path, "cut.webm", raw[: raw.rfind(b"\xa3")])
    assert describe(cut, on_bad="report")["frames"] < 5
    (warning,) = describe(cut, on_bad="report")["warnings"]["records"]
    assert "5 frames by its header" in warning["problem"]
    monkeypatch.setattr(readers, "_DECODED", 3)
    assert [w["problem"] for w in describe(path)["warnings"]["records"]] == [
        "frames after 3 of 5 were not tried"
    ]
    writer = cv2.VideoWriter(
        str(tmp_path / "none.webm"), cv2.VideoWriter_fourcc(*"VP80"), 7, (64, 48)
    )
    writer.release()  # a header and no frame
    for name, raw in {
        "none.webm": None,
        "cut.webm": path.read_bytes()[:200],
        "text.mp4": b"hello",
    }.items():
        with pytest.raises((BadFile, EmptyFile), match=r"no frames|zero bytes"):
            read(tmp_path / name if raw is None else put(tmp_path, name, raw))


def test_encodings_of_json(tmp_path):
    text = json.dumps(coco("coco17"))
    assert len(read(put(tmp_path, "bom.json", text.encode("utf-8-sig"))).poses) == 2
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(BadFile, match=r"not UTF-8|not JSON"):
            read(put(tmp_path, "a.json", text.encode(encoding)))
    for raw in ("[" * 100_000, '{"images": ' * 9999, "[1" + "0" * 9999 + "]", "{", "nul", '"x'):
        with pytest.raises(BadFile):
            read(put(tmp_path, "a.json", raw))


def test_a_bad_record_is_an_error_or_reported(tmp_path):
    tree = coco("coco17")
    tree["annotations"][1]["bbox"] = [0, 0, -5, 7]
    path = put(tmp_path, "a.json", as_json(tree))
    with pytest.raises(BadRecord, match=r"annotation 6: bbox width <= 0.*1 of 2 annotations"):
        describe(path)
    orphans = coco("coco17")
    del orphans["images"][0]["file_name"]
    with pytest.raises(BadRecord, match="2 of 3 records are bad"):  # the picture and who is in it
        read(put(tmp_path, "b.json", as_json(orphans)))
    found = describe(path, on_bad="report")
    # and the pictures that are not there
    assert found["people"] == 1 and found["warnings"]["count"] == 2
    assert found["warnings"]["records"][0]["record"] == "annotation 6"


def test_pictures_that_are_not_there(tmp_path):
    path = put(tmp_path, "annotations/a.json", as_json(coco("coco17")))
    assert [w["problem"] for w in describe(path)["warnings"]["records"]] == [
        "none of its 2 pictures is here"
    ]
    put(tmp_path, "images/000_01_l.jpg", b"x")
    (warning,) = describe(path)["warnings"]["records"]
    assert warning["record"] == "001_01_r.jpg" and "1 of 2 pictures" in warning["problem"]
    put(tmp_path, "images/001_01_r.jpg", b"x")
    assert describe(path)["warnings"] == {"count": 0, "records": []}
    away = put(
        tmp_path,
        "annotations/b.json",
        as_json(coco("coco17", {"file_name": "../images/000_01_l.jpg"})),
    )
    (warning,) = describe(away)["warnings"]["records"]
    assert warning["problem"] == "the picture's name leaves the folder"


def test_objects_in_arrays_are_not_built(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    objects = np.empty(1, object)
    objects[0] = Harm()
    np.savez(tmp_path / "a.npz", x=objects)
    np.save(tmp_path / "a.npy", objects)
    put(tmp_path, "a.pkl", pickle.dumps({"x": Harm()}))
    for name in ("a.npz", "a.npy", "a.pkl"):
        with pytest.raises((UnsafeFile, BadFile)):
            read(tmp_path / name)
    assert not (tmp_path / "harm").exists()
    with pytest.raises(BadFile, match="not an npy array"):
        read(put(tmp_path, "text.npy", b"hello"))
    lists = np.empty(2, object)
    lists[:] = [np.arange(3), [1, "x"]]
    np.savez(tmp_path / "b.npz", x=lists, y=np.ones(3))
    assert read(tmp_path / "b.npz").members == ("x list of 2", "y float64 (3,)")


def test_tables_with_wrong_columns(tmp_path):
    for rows in (
        [["a", "b"], [1, 2]],
        [["frame"]],
        [["frame", "landmark", "x_px", "y_px", "visibility"], [0, "x", 1, 2, 3]],
    ):
        with pytest.raises(WorkbenchError):
            read(put(tmp_path, "a.csv", as_csv(rows)))
    fractions = [
        ["frame", "landmark", "x", "y", "visibility"],
        *([0, j, 0.5, 0.25, 1] for j in range(33)),
    ]
    found = read(put(tmp_path, "a.csv", as_csv(fractions)))
    assert len(found.detections) == 1 and "fractions" in found.warnings[0].problem


def test_a_picture_needs_no_torch(tmp_path):
    path = put(tmp_path, "a.jpg", picture("JPEG"))
    code = (
        "import sys; from workbench.data.readers import describe; "
        f"describe({str(path)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- what is said ---------------------------------------------------------------------------------


def test_the_counts(tmp_path):
    tree = coco("crowdpose14", {"crowdIndex": 0.3})
    tree["images"][1]["crowdIndex"] = 0.8
    tree["annotations"][0]["keypoints"][:6] = [0, 0, 0, 5, 5, 1]
    tree["annotations"][1]["keypoints"] = [0] * 42
    tree["annotations"][1]["iscrowd"] = 1
    found = describe(put(tmp_path, "a.json", as_json(tree)))
    assert (found["schema_version"], found["skeletons"], found["images"]) == (1, ["crowdpose14"], 2)
    assert (found["people"], found["labelled"], found["crowds"]) == (2, 1, 1)
    assert found["joints"] == {"0": 15, "1": 1, "2": 12} and found["occlusion_known"] is True
    assert found["crowd_index"] == {"easy": 0, "medium": 1, "hard": 1, "edges": [0.2, 0.8]}
    assert "labelled but not visible" in found["visibility"]
    assert found["sequences"] is None  # stills


def test_tracks_and_motions(tmp_path):
    found = describe(put(tmp_path, "a.json", SEEDS["posetrack18"].raw))
    assert (found["sequences"], found["frames"], found["tracks"], found["people"]) == (1, 3, 1, 2)
    (warning,) = found["warnings"]["records"]
    assert warning["problem"].startswith("3 of the 3 pictures of its sequences are missing, ")
    found = describe(put(tmp_path, "b.bvh", SEEDS["bvh"].raw))
    assert (found["kind"], found["frames"], found["in_space"]) == ("motion", 3, True)
    assert found["motion"]["joints"] == [2] and found["motion"]["seconds"] == pytest.approx(
        0.1, abs=1e-4
    )


def test_the_keys_are_the_same_for_everything(tmp_path):
    keys = {tuple(describe(put(tmp_path, seed.file, seed.raw))) for seed in SEEDS.values()}
    assert len(keys) == 1


# --- real samples ---------------------------------------------------------------------------------

FACTS = {  # as the samples' own description states them
    "mmpose_samples/coco/test_coco.json": {
        "reader": "coco",
        "images": 3,
        "people": 9,
        "labelled": 7,
    },
    "mmpose_samples/coco/test_coco_det_AP_H_56.json": {"boxes": {"people": 81, "images": 3}},
    "mmpose_samples/crowdpose/test_crowdpose.json": {
        "reader": "crowdpose",
        "images": 1,
        "people": 3,
        "labelled": 2,
    },
    "mmpose_samples/crowdpose/test_crowdpose_det_AP_40.json": {"boxes": {"people": 3, "images": 1}},
    "mmpose_samples/posetrack18": {
        "reader": "posetrack",
        "sequences": 2,
        "tracks": 12,
        "labelled_images": 2,
    },
    "mmpose_samples/posetrack18/annotations/val/003418_mpii_test.json": {
        "sequences": 1,
        "people": 1,
    },
    "mmpose_samples/posetrack18/annotations/val/012834_mpii_test.json": {
        "sequences": 1,
        "people": 11,
    },
    "mmpose_samples/posetrack18/annotations/test_posetrack18_val.json": {
        "sequences": 2,
        "people": 12,
    },
    "mmpose_samples/posetrack18/annotations/test_posetrack18_human_detections.json": {
        "boxes": {"people": 200, "images": 2}
    },
    "mmpose_samples/posetrack18/videos/000001_mpiinew_test/000001_mpiinew_test.mp4": {"frames": 5},
    "mmpose_samples/jhmdb/test_jhmdb_sub1.json": {
        "skeletons": ["jhmdb15"],
        "people": 2,
        "occlusion_known": False,
    },
    "mmpose_samples/h36m/test_h36m_body3d.npz": {
        "skeletons": ["h36m17"],
        "people": 3,
        "in_space": True,
        "cameras": 44,
    },
    "mmpose_samples/h36m/h36m_coco.json": {"skeletons": ["h36m17"], "people": 3},
    "mmpose_samples/h36m/cameras.pkl": {"cameras": 44},
    "mmpose_samples/h36m/cameras.json": {"cameras": 44},
    "mmpose_samples/h36m/test_h36m_2d_detection.npy": {
        "members": {"count": 1, "names": ["float64 (3, 17, 3)"]}
    },
    "mmpose_samples/panoptic/test_panoptic.json": {
        "skeletons": ["hand21"],
        "people": 2,
        "sequences": 1,
    },
    "mmpose_samples/rhd/test_rhd.json": {
        "skeletons": ["hand21_rhd"],
        "people": 2,
        "in_space": True,
    },
    "mmpose_samples/rhd/00111.png": {
        "size": {"width": {"min": 320, "max": 320}, "height": {"min": 320, "max": 320}}
    },
    "port_panoptic": {
        "reader": "port_panoptic",
        "people": 846,
        "sequences": 220,
        "joints": {"0": 0, "1": 0, "2": 17766},
    },
    "crowdpose/annotations/crowdpose_val.json": {
        "images": 2000,
        "people": 8527,
        "crowds": 106,
        "joints": {"0": 40747, "1": 51590, "2": 27041},
        "crowd_index": {"easy": 411, "medium": 1240, "hard": 349, "edges": [0.2, 0.8]},
    },
    "coco_mini": {
        "images": 42,
        "people": 118,
        "labelled": 68,
        "crowds": 1,
        "joints": {"0": 1354, "1": 92, "2": 560},
    },
    "eval_examples/coco_gt.json": {"images": 3, "people": 9},
    "eval_examples/crowdpose_gt.json": {"images": 2, "people": 4},
    "bandai_namco": {"sequences": 40, "frames": 8508, "fps": {"min": 30.0, "max": 30.0}},
    "clips/two_people_hug.mp4": {
        "frames": 72,
        "size": {"width": {"min": 1920, "max": 1920}, "height": {"min": 1080, "max": 1080}},
    },
    "clips/street_pedestrians.mp4": {"frames": 5, "fps": {"min": 5.0, "max": 5.0}},
    "bad/control_ok.json": {"images": 1, "people": 1, "joints": {"0": 0, "1": 0, "2": 17}},
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", FACTS)
def test_real_samples_are_what_their_description_says(name, data_root):
    found = describe(data_root / name)
    assert {key: found[key] for key in FACTS[name]} == FACTS[name]


@pytest.mark.realdata
@pytest.mark.parametrize("name, people", [("coco", 55), ("crowdpose", 6)])
def test_real_predictions(name, people, data_root):
    assert (
        describe(data_root / "eval_examples" / f"{name}_preds.json")["detections"]["people"]
        == people
    )
