"""What is there stays, what is written is whole, and what keeps it from being written is named."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from workbench import outputs
from workbench.errors import BadParameter, Busy, CannotWrite, Taken
from workbench.outputs import (
    alone,
    check_new,
    check_room,
    folder_beside,
    free_name,
    leftovers,
    put,
    write_beside,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")

    def fails(part):
        part.write_text("ha")
        raise OSError("no reason given")

    with pytest.raises(OSError, match="no reason given"):
        write_beside(path, fails, over=True)
    assert path.read_text() == "old" and names(tmp_path) == ["f"]


def test_what_is_there_is_replaced_only_by_whose_it_is(tmp_path):
    path = write_text(tmp_path / "new" / "f", "first\r\n")
    assert path.read_bytes() == b"first\r\n"
    asked = []
    with pytest.raises(Taken, match="name a new one"):
        write_beside(path, asked.append)
    assert not asked
    with pytest.raises(BadParameter, match="is a folder"):
        write_text(tmp_path / "new", "")
    assert write_text(path, "second", over=True).read_text() == "second"


@pytest.mark.parametrize("links", [True, False])
def test_what_came_meanwhile_stays(tmp_path, monkeypatch, links):
    if not links:  # as on file systems that have none

        def refuses(*_):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuses)
    path = tmp_path / "f"

    def slow(part):
        part.write_text("ours")
        path.write_text("theirs")

    with pytest.raises(Taken):
        write_beside(path, slow)
    assert path.read_text() == "theirs" and names(tmp_path) == ["f"]
    assert write_text(tmp_path / "g", "ours").read_text() == "ours"


def test_links_are_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    link = tmp_path / "f"
    link.symlink_to(tmp_path / "theirs")
    with pytest.raises(Taken):
        write_text(link, "ours")
    write_text(link, "ours", over=True)
    assert (tmp_path / "theirs").read_text() == "theirs" and not link.is_symlink()
    with folder_beside(link) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700  # nobody else puts a link there
    (tmp_path / ".h.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(CannotWrite, match="link"), alone(tmp_path / "h", "work"):
        pass


def test_folders_are_put_whole_and_once(tmp_path):
    target = tmp_path / "clips" / "1"
    for _ in range(2):
        with folder_beside(target) as folder:
            (folder / "whole").mkdir()
            (folder / "whole" / "a").write_text("a")
            if target.exists():
                with pytest.raises(Taken):
                    put(folder / "whole", target)
            else:
                put(folder / "whole", target)
    assert names(target) == ["a"] and names(tmp_path / "clips") == ["1"]
    umask = os.umask(0)
    os.umask(umask)
    assert (target / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "no space is left: [0-9,]+ bytes are free"),
        (errno.EDQUOT, "no space is left"),
        (errno.EACCES, "may not write"),
        (errno.EROFS, "can only be read"),
        (errno.EMFILE, "too many files"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, "took less"),
    ],
)
def test_the_system_s_reasons_are_named(tmp_path, number, told):
    def fails(part):
        part.write_text("ha")
        raise OSError(number, os.strerror(number))

    with pytest.raises(CannotWrite, match=told) as caught:
        write_beside(tmp_path / "f", fails)
    assert "nothing was written" in str(caught.value) and caught.value.remedy
    assert names(tmp_path) == []


def test_a_disk_that_is_too_small_is_told_before_work_starts(tmp_path):
    with pytest.raises(CannotWrite, match=r"9,\d{3},[0-9,]+ were wanted"):
        check_room(tmp_path / "not" / "yet", 9_000_000_000_000_000)
    check_room(tmp_path, 1)


def test_places(tmp_path):
    assert free_name(tmp_path / "a.json").name == "a.json"
    (tmp_path / "a.json").touch()
    (tmp_path / "a_2.json").symlink_to("nowhere")
    assert free_name(tmp_path / "a.json").name == "a_3.json"
    with pytest.raises(Taken):
        check_new(tmp_path / "a_2.json")
    check_new(tmp_path / "a.json", over=True)
    with pytest.raises(CannotWrite, match="a part of its path is a file"):
        check_new(tmp_path / "a.json" / "b")
    with pytest.raises(BadParameter, match="is a folder"):
        check_new(tmp_path, over=True)


# --- small disks ----------------------------------------------------------------------------------

WRITERS = {
    "text": "write_text(path, 'x' * 100_000)",
    "weights": "checkpoint.save(path, torch.nn.Linear(300, 300))",
    "arrays": "save_arrays(path, {'a': np.random.default_rng(0).random((200, 200))})",
    "state": "write_beside(path, lambda part: torch.save(torch.rand(200, 200), part), over=True)",
    "video": "write_video(path, torch.randint(255, (9, 96, 96, 3), dtype=torch.uint8).numpy())",
    "clip": "store_clip(sample_clip('fast_people', 'test', 0), path)",
}
ENDINGS = {"video": ".webm", "arrays": ".npz"}


@pytest.mark.parametrize("kind", WRITERS)
def test_files_that_find_no_room_are_an_error_and_leave_nothing(tmp_path, kind):
    """`ulimit -f` for a full disk: whoever writes, in whatever language."""
    path = tmp_path / f"out{ENDINGS.get(kind, '')}"
    code = f"""
        import pathlib, numpy as np, torch
        from workbench import checkpoint
        from workbench.errors import CannotWrite
        from workbench.film import write_video
        from workbench.made.worlds import sample_clip, store_clip
        from workbench.outputs import write_beside, write_text
        from workbench.taps import save_arrays
        path = pathlib.Path({str(path)!r})
        try:
            {WRITERS[kind]}
        except CannotWrite as error:
            print(error)
    """

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small)
    assert "CannotWrite" in done.stdout and "nothing was written" in done.stdout, done.stderr
    assert names(tmp_path) == []


# --- killed and waiting ---------------------------------------------------------------------------


def dead_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_what_a_killed_process_has_left_is_swept_and_named(tmp_path, capsys):
    dead = tmp_path / f".workbench-{outputs.HOST}-{dead_process()}-abc"
    alive = tmp_path / f".workbench-{outputs.HOST}-{os.getpid()}-abc"
    elsewhere = tmp_path / f".workbench-00000000-{dead_process()}-abc"
    for folder in (dead, alive, elsewhere):
        folder.mkdir()
        (folder / "half").write_text("ha")
    assert leftovers(tmp_path) == [dead]
    write_text(tmp_path / "f", "")
    assert names(tmp_path) == sorted([alive.name, elsewhere.name, "f"])
    assert str(dead) in capsys.readouterr().err


HOLDER = """
import pathlib, sys, time
from workbench.outputs import alone
with alone(pathlib.Path(sys.argv[1]), "training"):
    print("inside", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(place, seconds):
    command = [sys.executable, "-c", HOLDER, str(place), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_second_waits_and_says_for_whom(tmp_path):
    place = tmp_path / "out"
    first = holder(place, 2)
    assert first.stdout.readline() == "inside\n"
    with pytest.raises(Busy, match=f"training by process {first.pid}"):
        with alone(place, "training", wait=False):
            pass
    second = holder(place, 0)
    told = second.stderr.readline()
    assert f"training by process {first.pid}" in told and "waiting" in told
    assert first.poll() is None
    assert second.stdout.readline() == "inside\n" and first.wait(5) == 0
    assert second.wait(5) == 0


def test_a_lock_whose_owner_was_killed_is_free(tmp_path):
    first = holder(tmp_path / "out", 60)
    first.stdout.readline()
    first.kill()
    first.wait()
    start = time.monotonic()
    with alone(tmp_path / "out", "training"):
        assert time.monotonic() - start < 5
