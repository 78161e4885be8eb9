from __future__ import annotations

import pytest
import torch

from workbench.models.port import masked_joint_nll, normalised_adjacency
from workbench.view import exercises


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(exercises, "display", lambda markdown: texts.append(markdown.data))
    return texts


def test_right_answers_are_right(said):
    assert exercises.check_adjacency(normalised_adjacency)
    assert exercises.check_masked_loss(masked_joint_nll)
    assert all("Right" in text for text in said)


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda a: None, "Not tried yet"),
        (lambda a: a.numpy(), "Expected a tensor"),
        (lambda a: a[0], r"Expected shape \(4, 4\)"),
        (lambda a: (a + torch.eye(4)) / (a + torch.eye(4)).sum(1, keepdim=True), "each row by its sum"),
        (lambda a: a / (a.sum(1)[:, None] * a.sum(1)).sqrt(), "keep itself"),
        (lambda a: a + 5, "largest difference"),
    ],
)
def test_adjacency_mistakes_are_diagnosed(said, answer, diagnosis):
    import re

    assert not exercises.check_adjacency(answer)
    assert re.search(diagnosis, said[-1])


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda r, t, m: None, "Not tried yet"),
        (lambda r, t, m: ((r - t).square().sum(-1) * m).mean(), "as the public program does"),
        (lambda r, t, m: (r - t).square()[m].mean(), "two coordinates"),
        (lambda r, t, m: (r - t).norm(dim=-1)[m].mean(), "not its square"),
        (lambda r, t, m: masked_joint_nll(r, t, ~m), "wrong way round"),
    ],
)
def test_loss_mistakes_are_diagnosed(said, answer, diagnosis):
    assert not exercises.check_masked_loss(answer)
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda xy, f: None, "Not tried yet"),
        (lambda xy, f: xy[:, :1] + f * (xy - xy[:, :1]), "prediction aligned to truth"),
        (lambda xy, f: xy.mean(1, keepdims=True) + f * (xy - xy.mean(1, keepdims=True)), "about the mean"),
        (lambda xy, f: f * xy, "corner"),
        (lambda xy, f: f * (xy - xy[:, :1]), "never added back"),
    ],
)
def test_shrink_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_shrink(answer) == (diagnosis == "prediction aligned to truth")
    assert diagnosis in said[-1]
