"""Threads that sleep, one for what is small, and the user's own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from workbench import threads

SMALL = nn.Linear(3, 5)
threads_for = partial(threads.threads_for, usual=2)


@pytest.fixture
def two_threads(monkeypatch):
    """A process in which torch chose two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    torch.set_num_threads(before)


def test_what_is_small_has_one_thread_and_the_others_come_back(two_threads):
    with pytest.raises(ZeroDivisionError), threads_for(SMALL):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_convolutions_and_large_models_have_all(two_threads):
    with torch.device("meta"):
        large = nn.Linear(5_000, 5_000)
    for model in (nn.Sequential(nn.Conv2d(3, 5, 1)), large):
        with threads_for(model):
            assert torch.get_num_threads() == 2


def test_the_user_s_number_wins(two_threads, monkeypatch):
    torch.set_num_threads(3)
    with threads_for(SMALL):
        assert torch.get_num_threads() == 3
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with threads_for(SMALL):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("first", "policy", "expected"),
    [
        ("workbench", None, "PASSIVE"),
        ("workbench", "ACTIVE", "ACTIVE"),
        # too late: libgomp has read it
        ("torch", None, "None"),
    ],
)
def test_importing_the_package_asks_for_sleep(first, policy, expected):
    code = f"import {first}, workbench, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": policy} if policy else {}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == expected


def test_it_is_said_how_they_wait(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert "sleep" in threads.threads_in_words()
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert "spin" in threads.threads_in_words()
