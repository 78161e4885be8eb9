from __future__ import annotations

import os

import pytest
from torch import nn
from typer.testing import CliRunner

from workbench import caches, checkpoint, cli, outputs
from workbench.errors import BadFile, Busy, UnknownName
from workbench.made.worlds import cached_clips
from workbench.outputs import alone

from .test_outputs import dead_process


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache with two clips, a model, and what a killed process has left."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path)
    cached_clips("synthetic_tiny", "test", 2, progress=False)
    checkpoint.save(tmp_path / "trained" / "port" / "abc" / caches.MODEL, nn.Linear(3, 2))
    left = tmp_path / "trained" / "port" / f".workbench-{outputs.HOST}-{dead_process()}-x"
    left.mkdir()
    (left / "half").write_bytes(bytes(1000))
    return tmp_path


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def run(*arguments):
    return CliRunner().invoke(cli.app, ["cache", *arguments])


def test_every_flipped_bit_of_a_clip_is_seen_at_its_first_reading(root):
    clips = cached_clips("synthetic_tiny", "test", 2, progress=False)
    for name in ("frames.npy", "tracks.npz", "sums.json"):
        path = clips.folders[0] / name
        before = path.read_bytes()
        for at in range(0, len(before), max(1, len(before) // 40)):
            damaged = bytearray(before)
            damaged[at] ^= 1 << at % 8
            path.write_bytes(damaged)
            with pytest.raises(BadFile, match="damaged in the cache"):
                clips[0]
        path.write_bytes(before)
    clips[0]


def test_entries_are_listed_with_their_sizes(root):
    found = {entry.kind: entry for entry in caches.kept()}
    assert found.keys() == {"clips", "model", "left behind"}
    assert found["clips"].holds == 2 and found["left behind"].bytes == 1000
    listed = run("list")
    assert listed.exit_code == 0 and "3 entries" in listed.output
    assert found["model"].name == "trained/port/abc" and "trained/port/abc" in listed.output


def test_damage_is_found_and_alone_removed(root):
    assert run("verify").exit_code == 0
    clips = cached_clips("synthetic_tiny", "test", 2, progress=False)
    flip(clips.folders[1] / "frames.npy")
    flip(root / "trained" / "port" / "abc" / caches.MODEL)
    told = run("verify")
    assert told.exit_code == 1 and "2 damaged" in told.output
    assert str(clips.folders[1]) in told.output
    assert run("clean", "--damaged").exit_code == 0
    assert [clip.exists() for clip in clips.folders] == [True, False]
    assert [entry.kind for entry in caches.kept()] == ["clips"]
    again = cached_clips("synthetic_tiny", "test", 2, progress=False)
    assert len(again[1][1]) and run("verify").exit_code == 0


def test_what_is_asked_for_is_removed_and_nothing_else(root):
    with pytest.raises(UnknownName, match="did you mean"):
        caches.clean(("trained/port/abd",))
    with alone(root / "trained" / "port" / "abc", "a training"), pytest.raises(Busy):
        caches.clean(("trained",))
    cleaned = run("clean", "worlds")
    assert cleaned.exit_code == 0 and "removed worlds/" in cleaned.output
    assert [entry.kind for entry in caches.kept()] == ["model"]  # what was left behind is gone, too
    assert not any(name.startswith(".workbench") for name in os.listdir(root / "trained" / "port"))
