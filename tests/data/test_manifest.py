from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.models.test_published import VIT_SIMPLE, estimator, transformers
from workbench import load
from workbench.cli import app
from workbench.data import manifest as m
from workbench.data.downloads import transfer
from workbench.errors import (
    BadFile,
    BadParameter,
    ChecksumMismatch,
    MissingData,
    MissingFile,
    UnknownName,
    UnsafeFile,
)
from workbench.resources import resource

PAYLOAD = {"a.txt": b"seven bytes"[:7], "sub/b.bin": b"\0" * 11}


def sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def plain(name="toy", url="http://127.0.0.1:9", **changes) -> dict:
    files = {
        "first": {
            "path": "a.txt",
            "url": f"{url}/a.txt",
            "bytes": 7,
            "sha256": sha(PAYLOAD["a.txt"]),
        },
        "second": {"path": "sub/b.bin", "url": f"{url}/sub/b.bin", "bytes": None, "sha256": None},
    }
    return {
        "schema_version": 1,
        "name": name,
        "title": "Toy",
        "kind": "dataset",
        "licence": "CC0",
        "access": "direct",
        "layout": {"root": "toys/toy", "files": {key: file["path"] for key, file in files.items()}},
        "downloads": list(files.values()),
        "skeleton": "coco17",
        **changes,
    }


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Manifests, cache and served files under a folder of the test's own; `add` writes a
    manifest.
    """
    folders = {name: tmp_path / name for name in ("manifests", "cache", "served")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setattr(m, "resource", lambda name: folders["manifests"])
    monkeypatch.setattr("pooch.os_cache", lambda project: folders["cache"])
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    for name, raw in PAYLOAD.items():
        (folders["served"] / name).parent.mkdir(exist_ok=True)
        (folders["served"] / name).write_bytes(raw)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folders["served"])
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def add(value=None, **changes):
        value = value or plain(url=f"http://127.0.0.1:{server.server_port}", **changes)
        (folders["manifests"] / f"{value['name']}.yaml").write_text(yaml.safe_dump(value))
        return value

    yield add, folders
    server.shutdown()
    server.server_close()


def fetch(name):
    return m.fetch(name, unverified=True, progress=False)


def statuses(checks):
    return {c.path.name: c.status for c in checks}


def test_the_shipped_manifests_are_whole():
    known = m.manifests()
    assert {"port_panoptic", "synthetic"} <= set(known)
    assert (
        m.manifest("synthetic").layout is None
        and m.verify("synthetic") == []
        and m.fetch("synthetic") == []
    )
    assert m.locate("synthetic") == (known["synthetic"], Path())
    port = known["port_panoptic"]
    assert all(
        "aa17778263274417815ead29ac61dbf43de01fb5" in d.url and d.sha256 for d in port.downloads
    )
    assert port.skeleton == "hand21"
    with pytest.raises(UnknownName, match="did you mean 'port_panoptic'"):
        m.locate("port_panoptc")
    with pytest.raises(BadParameter, match="reads no files"):
        m.locate("synthetic:here")
    with pytest.raises(MissingFile, match="no_such_thing"):
        resource("no_such_thing")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
        ({"name": "Toy Set"}, "name"),
        ({"title": 7}, "title"),
        ({"kind": "film"}, "kind"),
        ({"access": "begging"}, "access"),
        ({"access": "request"}, "instructions"),
        ({"skeleton": "coco71"}, "did you mean 'coco17'"),
        ({"layout": None}, "layout"),
        ({"layout": {"root": "../up", "files": {}}}, r"layout\.root"),
        ({"layout": {"root": "r", "files": {"x": "/etc/passwd"}}}, r"layout\.files\.x"),
        ({"layout": {"root": "r", "files": {"x": "a"}, "optional": ["y"]}}, "optional names"),
        ({"reader": "os:system"}, "reader"),
        ({"downloads": []}, "direct access needs downloads"),
        (
            {"downloads": [{"path": "a", "url": "ftp://x", "bytes": 1, "sha256": None}]},
            r"downloads\.0\.url",
        ),
        (
            {"downloads": [{"path": "a", "url": "https://x", "bytes": -1, "sha256": None}]},
            r"downloads\.0\.bytes",
        ),
        (
            {"downloads": [{"path": "a", "url": "https://x", "bytes": 1, "sha256": "F" * 64}]},
            r"downloads\.0\.sha256",
        ),
        ({"downloads": [{"path": "a", "url": "https://x", "bytes": 1}]}, r"downloads\.0\.sha256"),
        (
            {"downloads": [{"path": "../a", "url": "https://x", "bytes": 1, "sha256": None}]},
            r"downloads\.0\.path",
        ),
        (
            {
                "downloads": [
                    {"path": "a", "url": "https://x", "bytes": 1, "sha256": None, "unpack": True}
                ]
            },
            "has no suffix",
        ),
    ],
)
def test_what_the_schema_does_not_know_is_refused_by_field(tmp_path, change, field):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(plain(**change)))
    with pytest.raises(BadFile, match=field) as caught:
        m.read_manifest(path)
    assert caught.value.file == str(path)


@pytest.mark.parametrize(
    "text",
    [
        "title: 2020-99-99",
        "title: " + "9" * 5000,
        "title: !!int ''",
        "title: !!bool x",
        "title: !!timestamp x",
        "? [1]",
    ],
)
def test_values_that_yaml_cannot_make(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    with pytest.raises(BadFile, match=r"toy\.yaml: not YAML"):
        m.read_manifest(path)


def test_manifests_that_are_not_there_or_say_a_thing_twice(tmp_path):
    path = tmp_path / "toy.yaml"
    with pytest.raises(MissingFile, match=r"toy\.yaml"):
        m.read_manifest(path)
    with pytest.raises(BadFile, match="cannot be read"):
        m.read_manifest(tmp_path)
    path.write_text(yaml.safe_dump(plain()) + "licence: other\n")
    with pytest.raises(BadFile, match="the key licence stands twice"):
        m.read_manifest(path)


@pytest.mark.parametrize(
    "text", ["", "- 1", "a: [", "!!python/object/apply:os.system [true]", "\xff: \x00"]
)
def test_files_that_are_no_manifest(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(BadFile, match=r"toy\.yaml"):
        m.read_manifest(path)


def test_a_manifest_is_named_as_its_file(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(plain()))
    with pytest.raises(BadFile, match="name is 'toy'"):
        m.read_manifest(path)


def test_places_are_tried_in_order(world, tmp_path, monkeypatch):
    add, folders = world
    add()

    def lay(root):
        for name, raw in PAYLOAD.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(raw)
        return root

    with pytest.raises(MissingData, match=r"lacks a\.txt, sub/b\.bin.*workbench data fetch toy"):
        m.locate("toy")
    cached = lay(folders["cache"] / "toys" / "toy")
    assert m.locate("toy")[1] == cached
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "shared"))
    assert m.locate("toy")[1] == cached
    shared = lay(tmp_path / "shared" / "toys" / "toy")
    assert m.locate("toy")[1] == shared
    own = lay(tmp_path / "own")
    assert m.locate(f"toy:{own}")[1] == own
    # the folder above layout.root will do too
    assert m.locate(f"toy:{tmp_path / 'shared'}")[1] == shared
    (own / "a.txt").unlink()
    # a named place is never left for another
    with pytest.raises(MissingData, match=r"own lacks a\.txt"):
        m.locate(f"toy:{own}")
    with pytest.raises(MissingFile, match="no such folder"):
        m.locate("toy:")


def test_places_are_absolute_whatever_the_current_folder(world, tmp_path, monkeypatch):
    add, _ = world
    add(layout={"root": "toy", "files": {"x": "a.txt"}})
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.txt").write_bytes(PAYLOAD["a.txt"])
    monkeypatch.chdir(tmp_path)
    assert m.locate("toy:own")[1] == tmp_path / "own"
    for path in ("~nouser_at_all", "x" * 5000, "a\0b"):
        with pytest.raises(MissingFile, match="no such folder"):
            m.locate(f"toy:{path}")
    for path in ("own", "~nouser_at_all/own"):
        monkeypatch.setenv("WORKBENCH_DATA", path)
        with pytest.raises(BadParameter, match=r"WORKBENCH_DATA: .* is not an absolute path"):
            m.locate("toy")
    monkeypatch.setenv("WORKBENCH_DATA", "/" + "x" * 5000)
    with pytest.raises(MissingData):
        m.locate("toy")


def test_a_folder_is_no_file(world, tmp_path):
    add, folders = world
    add()
    root = folders["cache"] / "toys" / "toy"
    (root / "a.txt").mkdir(parents=True)
    (root / "sub").mkdir()
    (root / "sub" / "b.bin").write_bytes(b"")
    assert statuses(m.verify("toy")) == {"a.txt": "mismatch", "b.bin": "unverified"}
    with pytest.raises(MissingData, match=r"lacks a\.txt"):
        m.locate("toy")
    with pytest.raises(BadFile, match=r"a\.txt: a folder stands where"):
        fetch("toy")


def test_a_file_that_may_not_be_read_does_not_verify(world, monkeypatch):
    add, _ = world
    add()
    fetch("toy")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(m, "sha256_of", refuse)
    check = m.verify("toy")[0]
    assert (check.status, check.detail) == ("mismatch", "cannot be read: Permission denied")


def test_one_of_several_alternatives_and_optional_files(world, tmp_path):
    add, _ = world
    layout = {
        "root": "toy",
        "files": {"d": ["d.pkl", "d.npz"], "train": "t.json"},
        "optional": ["train"],
    }
    add(layout=layout)
    (tmp_path / "own").mkdir()
    with pytest.raises(MissingData, match=r"lacks d\.pkl or d\.npz"):
        m.locate(f"toy:{tmp_path / 'own'}")
    (tmp_path / "own" / "d.npz").write_bytes(b"x")
    assert m.locate(f"toy:{tmp_path / 'own'}")[1] == tmp_path / "own"
    checks = m.verify(f"toy:{tmp_path / 'own'}")
    assert statuses(checks) == {
        "d.npz": "unverified",
        "t.json": "missing",
        "a.txt": "missing",
        "b.bin": "missing",
    }
    assert [c.bad for c in checks] == [False, False, True, True]


def test_published_weights_are_fetched_and_read_by_their_name(world):
    add, folders = world
    model = estimator(replace(VIT_SIMPLE, widths=(384, 12), depths=(1,)))
    file = folders["served"] / "model.safetensors"
    save_file(transformers(model), file)
    shipped = resource("data_manifests") / "vitpose_base_simple.yaml"
    value = yaml.safe_load(shipped.read_text())
    served = add(name="vitpose_base_simple")["downloads"][0]["url"].rpartition("/")[0]
    (item,) = value["downloads"]
    item |= {"url": f"{served}/model.safetensors", "sha256": sha(file.read_bytes())}
    add(value)
    with pytest.raises(MissingData, match="workbench data fetch vitpose_base_simple"):
        load("vissimcc", weights="vitpose_base_simple")
    fetched = CliRunner().invoke(app, ["data", "fetch", "vitpose_base_simple"])
    assert fetched.exit_code == 0, fetched.output
    loaded = load("vissimcc", weights="vitpose_base_simple")
    torch.testing.assert_close(loaded.model.state_dict(), model.state_dict(), rtol=0, atol=1e-7)
    assert loaded.skeleton.name == "coco17"


def test_fetch_and_verify(world):
    add, folders = world
    add()
    assert statuses(m.verify("toy")) == {"a.txt": "missing", "b.bin": "missing"}
    checks = fetch("toy")
    assert statuses(checks) == {"a.txt": "ok", "b.bin": "unverified"}
    root = folders["cache"] / "toys" / "toy"
    # nothing of the way there is left
    assert {p.name for p in root.rglob("*")} == {"a.txt", "sub", "b.bin", ".b.bin.sha256"}
    (folders["served"] / "a.txt").unlink()
    # what is there stays
    assert statuses(fetch("toy")) == {"a.txt": "ok", "b.bin": "unverified"}

    (root / "a.txt").write_bytes(b"SEVEN b")
    checks = m.verify("toy")
    assert (
        statuses(checks)["a.txt"] == "mismatch" and "sha256" in checks[0].detail and checks[0].bad
    )
    (root / "a.txt").write_bytes(b"short")
    assert m.verify("toy")[0].detail == "5 bytes, 7 expected"


@pytest.mark.parametrize("served", [b"SEVEN b", b"short", b""])
def test_a_download_that_differs_leaves_nothing(world, served):
    add, folders = world
    add()
    (folders["served"] / "a.txt").write_bytes(served)
    with pytest.raises(ChecksumMismatch, match=r"a\.txt.*expected"):
        fetch("toy")
    assert {p.name for p in folders["cache"].rglob("*") if p.is_file()} <= {".toy.lock"}


def test_a_source_that_does_not_answer(world):
    add, folders = world
    add(plain())  # port 9, where nobody listens
    with pytest.raises(MissingData, match="could not be fetched"):
        fetch("toy")
    add()
    (folders["served"] / "a.txt").unlink()
    with pytest.raises(MissingData, match="404"):
        fetch("toy")
    assert {p.name for p in folders["cache"].rglob("*") if p.is_file()} <= {".toy.lock"}


def test_what_nobody_could_state_a_checksum_of_is_asked_for_and_held_to_its_first_sum(world):
    add, folders = world
    add()
    with pytest.raises(MissingData, match=r"checksum of http://.*b\.bin.*--unverified"):
        m.fetch("toy", progress=False)
    refused = CliRunner().invoke(app, ["data", "fetch", "toy"])
    assert isinstance(refused.exception, MissingData)
    assert CliRunner().invoke(app, ["data", "fetch", "toy", "--unverified"]).exit_code == 0
    m.fetch("toy", progress=False)  # what is there is not asked for again
    check = m.verify("toy")[1]
    assert (check.status, check.detail[:17]) == ("unverified", "as it was fetched")
    (folders["cache"] / "toys" / "toy" / "sub" / "b.bin").write_bytes(b"another")
    check = m.verify("toy")[1]
    assert check.bad and "not what was fetched" in check.detail


class Answers(http.server.BaseHTTPRequestHandler):
    """/to/URL redirects; /endless goes on; /breaks ends halfway, and goes on where asked to."""

    asked = ()

    def do_GET(self):
        kind, _, rest = self.path[1:].partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("location", rest)
            return self.end_headers()
        Answers.asked = (*Answers.asked, self.headers.get("range"))
        start = int((self.headers.get("range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if kind == "breaks":
            self.send_header("content-length", str(200_000 - start))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for _ in range(100 if kind == "endless" else 10):
                self.wfile.write(bytes(10_000))

    def log_message(self, *args):
        pass


@pytest.fixture
def answers():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Answers.asked = ()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_redirect_leads_away_from_https(answers, tmp_path):
    part, options = tmp_path / "p", {"goes_on": False, "progress": False}
    for there in ("http://example.invalid/x", "ftp://127.0.0.1/x", "file:///etc/passwd"):
        with pytest.raises(UnsafeFile, match="is not https, nothing was asked"):
            transfer(f"{answers}/to/{there}", part, None, **options)
    with pytest.raises(MissingData, match="redirects"):
        transfer(f"{answers}/to/" * 30 + f"{answers}/endless", part, None, **options)
    value = plain(url="http://example.invalid")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(BadFile, match="url"):
        m.read_manifest(tmp_path / "toy.yaml")
    assert not part.exists()


def test_stated_bytes_bound_a_transfer(answers, tmp_path):
    with pytest.raises(UnsafeFile, match="more than the 15000 bytes"):
        transfer(f"{answers}/endless", tmp_path / "p", 15_000, goes_on=False, progress=False)
    assert (tmp_path / "p").stat().st_size <= 15_000


def test_a_transfer_that_broke_off_goes_on(answers, tmp_path):
    part, options = tmp_path / "p", {"goes_on": True, "progress": False}
    with pytest.raises(MissingData, match=r"could not be fetched"):
        transfer(f"{answers}/breaks", part, 200_000, **options)
    there = part.stat().st_size
    assert 0 < there < 200_000
    with contextlib.suppress(MissingData):  # this source breaks off again
        transfer(f"{answers}/breaks", part, 200_000, **options)
    assert part.stat().st_size > there and Answers.asked == (None, f"bytes={there}-")


def test_access_that_only_the_user_has(world):
    add, _ = world
    add(access="registration", instructions="sign the form at the publisher's page")
    for act in (m.fetch, m.locate):
        with pytest.raises(MissingData, match="sign the form"):
            act("toy")


def test_a_fetched_archive_is_unpacked_beside(world):
    add, folders = world
    with zipfile.ZipFile(folders["served"] / "v1.2.zip", "w") as z:
        z.writestr("in/x.txt", "hello")
    raw = (folders["served"] / "v1.2.zip").read_bytes()
    value = add()
    item = {"path": "v1.2.zip", "url": value["downloads"][0]["url"].replace("a.txt", "v1.2.zip")}
    add(
        {
            **value,
            "layout": {"root": "toy", "files": {"x": "v1.2/in/x.txt"}},
            "downloads": [{**item, "bytes": len(raw), "sha256": sha(raw), "unpack": True}],
        }
    )
    assert statuses(fetch("toy")) == {"x.txt": "unverified", "v1.2.zip": "ok"}
    root = m.locate("toy")[1]
    (root / "v1.2.zip").unlink()
    # unpacked once, the archive may go
    assert not any(c.bad for c in fetch("toy"))
    assert not (root / "v1.2.zip").exists()


def test_sha256_in_pieces(tmp_path):
    raw = bytes(range(251)) * 8363  # 2 MiB and a bit, two pieces and a rest
    (tmp_path / "x").write_bytes(raw)
    assert m.sha256_of(tmp_path / "x") == sha(raw)


@pytest.mark.realdata
def test_the_published_hands_verify(data_root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(data_root))
    checks = m.verify("port_panoptic")
    assert statuses(checks)["panoptic_test.json"] == "ok"
    assert statuses(checks)["mobilenetv2_panoptic_256x256_test.pkl"] == "ok"
    assert not any(c.bad for c in checks)


def test_patterns_folders_and_several_roots(world, tmp_path):
    add, _ = world
    files = {"annotations": "annotations/*.json", "pictures": "images/"}
    layout = {"root": ["published", "sample/part"], "files": files}
    add(layout=layout)
    layout = m.Layout(**layout)
    assert layout.root == ["published", "sample/part"]
    root = tmp_path / "own"
    assert layout.missing(root) == ["annotations/*.json", "images/"]
    (root / "annotations").mkdir(parents=True)
    (root / "images").write_text("a file is no folder")
    assert layout.missing(root) == ["annotations/*.json", "images/"]
    for name in ("a.json", "b.json", "c.txt"):
        (root / "annotations" / name).write_text("{}")
    assert layout.missing(root) == ["images/"]
    checks = [(c.path.name, c.status) for c in m.verify(f"toy:{root}")][:3]
    assert checks == [("a.json", "unverified"), ("b.json", "unverified"), ("images", "missing")]
