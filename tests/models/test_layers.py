from __future__ import annotations

import torch
from torch import nn

from workbench.models.layers import MultiheadAttention, forward_flops


def test_flops_are_those_counted_by_hand():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7))
    assert forward_flops(model, torch.zeros(2, 3)) == 2 * 2 * (3 * 5 + 5 * 7)
    q, kv = torch.zeros(2, 3, 8), torch.zeros(2, 5, 8)
    projections, products = 2 * (3 + 5 + 5 + 3) * 8 * 8, 2 * 2 * 3 * 5 * 8
    assert forward_flops(MultiheadAttention(8, 2), q, kv, kv) == 2 * (projections + products)
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    assert forward_flops(convolution, torch.zeros(1, 3, 7, 11)) == 2 * 3 * 5 * 9 * 7 * 11
