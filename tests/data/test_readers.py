from __future__ import annotations

import gzip
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
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.data.seeds import SEEDS, as_csv, as_json, coco, picture, put
from workbench.data import readers
from workbench.data.describe import describe
from workbench.data.manifest import manifests
from workbench.data.readers import (
    Contents,
    File,
    all_readers,
    read,
    reader,
    recognise,
)
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
from workbench.records import Reading


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Set names must not be found below the folder that a test runs in."""
    monkeypatch.chdir(tmp_path)


# --- which reader ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
def test_every_format_is_recognised(name, tmp_path):
    seed = SEEDS[name]
    assert recognise(put(tmp_path, seed.file, seed.raw))[1].name == seed.reader


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif", "bvh", "coco", "zip", "tar", "npy"])
def test_first_bytes_do_without_a_suffix(name, tmp_path):
    seed = SEEDS[name]
    assert recognise(put(tmp_path, "noname", seed.raw))[1].name == seed.reader


def test_every_data_set_has_a_reader_that_the_door_can_call(tmp_path):
    for found in manifests().values():
        if found.kind == "dataset":
            function = recognise(tmp_path, found.name)[1].function
            assert "on_bad" in inspect.signature(function).parameters, found.name


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


def test_videos(tmp_path):
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
    cut = put(tmp_path, "cut.gif", b"GIF89a")
    with pytest.raises(BadFile):
        read(cut)
    grey = [Image.fromarray(np.full((6, 8), 20 * i, np.uint8)) for i in range(4)]
    grey[0].save(tmp_path / "walk.gif", save_all=True, append_images=grey[1:])
    assert (describe(tmp_path / "walk.gif")["kind"], read(tmp_path / "walk.gif").reader) == (
        "video",
        "video",
    )
    grey[0].save(tmp_path / "one.gif")
    assert describe(tmp_path / "one.gif")["kind"] == "picture"
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
    code = f"""if True:
        import sys
        from workbench.data.describe import describe
        print("scipy" in sys.modules)
        describe({str(path)!r})
        print({{"torch", "scipy.stats", "pandas"}} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "set()"]


# --- the register: what each states, and that their order is stated too ---------------------------


def test_every_reader_says_what_it_reads_and_when():
    known = all_readers()
    for entry in known.values():
        assert callable(entry.function)
        assert entry.reads and entry.recognised and entry.kind
    orders = [entry.order for entry in known.values()]
    assert orders == sorted(set(orders)) and orders[0] > 0
    used = {seed.reader for seed in SEEDS.values()}
    assert set(known) - used == {"video", "pictures", "folder"}


def test_dialects_are_tried_before_what_they_are_dialects_of():
    names = list(all_readers())
    for dialect in ("jhmdb", "posetrack", "rhd", "panoptic"):
        assert names.index(dialect) < names.index("coco")
    assert names.index("person_boxes") < names.index("detections")
    assert names[-1] == "folder"


def test_a_reader_is_one_function_and_one_decorator(tmp_path, monkeypatch):
    # a copy, so that the toy leaves with the test
    monkeypatch.setattr(readers, "REGISTERED", all_readers())
    fields = {"kind": "annotations", "reads": "toys", "recognised": "TOY", "order": 5}

    @reader("toy", fits=lambda file: file.starts(b"TOY"), **fields)
    def read_toy(path, *, on_bad="raise"):
        return Reading("toy", str(path))

    path = put(tmp_path, "a.jpg", b"TOY")
    file, chosen = recognise(path)
    assert (chosen.name, chosen.address) == ("toy", f"{__name__}:read_toy")
    assert isinstance(file, File) and read(path).reader == "toy"
    with pytest.raises(ValueError, match="train and toy have the same order, 5"):
        reader("train", fits=lambda file: False, **fields)(read_toy)


def test_every_module_with_a_reader_is_imported():
    folder = Path(readers.__file__).parent
    files = [path for path in folder.rglob("*.py") if "\n@reader(" in path.read_text()]
    written = {path.relative_to(folder).with_suffix("").parts[0] for path in files}
    assert written == {*readers.MODULES, "readers"}
