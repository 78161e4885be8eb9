from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench import precision


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return {"loss.x": self.head(self.norm(self.conv(x)).mean((-1, -2))).square().mean()}


class Wrong(nn.Linear):
    """As a kernel that forgets a channel in bf16."""

    def forward(self, x):
        if torch.is_autocast_enabled("cpu"):
            x = x * torch.tensor([0.0] + [1.0] * (x.shape[-1] - 1))
        return super().forward(x)


@pytest.mark.skipif(not precision.computes_bf16("cpu"), reason="this processor has no bf16")
def test_a_kernel_that_is_wrong_in_bf16_is_named():
    torch.manual_seed(0)
    model, batch = Reads(), {"x": torch.randn(8, 3, 9, 9) + 1}
    model.conv.requires_grad_(False)  # as a frozen estimator
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert precision.wrong_kernels(model, batch) == []
    model.head = Wrong(16, 2)
    model.head.load_state_dict({k[5:]: v for k, v in before.items() if k.startswith("head.")})
    assert precision.wrong_kernels(model, batch) == ["head"]
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("able", "there"),
    [({"avx512_bf16": True}, True), ({"avx512_bf16": False, "avx2": True}, False)],
)
def test_a_processor_says_whether_it_has_bf16(monkeypatch, able, there):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision.computes_bf16("cpu") == there and precision.computes_bf16("cuda")
