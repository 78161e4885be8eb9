"""What several methods are built of: the fast ways give what the plain ones give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.models.layers import MLP, MultiheadAttention, forward_cost, peak_bytes
from workbench.taps import record


def test_flops_and_bytes_are_those_counted_by_hand():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7))
    assert forward_cost(model, torch.zeros(2, 3)).flops == 2 * 2 * (3 * 5 + 5 * 7)
    read = 4 * (2 * 3 + 5 + 3 * 5 + 2 * 5 + 2 * 5 + 7 + 5 * 7)
    assert forward_cost(model, torch.zeros(2, 3)).bytes == read + 4 * (2 * 5 + 2 * 5 + 2 * 7)
    q, kv = torch.zeros(2, 3, 8), torch.zeros(2, 5, 8)
    projections, products = 2 * (3 + 5 + 5 + 3) * 8 * 8, 2 * 2 * 3 * 5 * 8
    assert forward_cost(MultiheadAttention(8, 2), q, kv, kv).flops == 2 * (projections + products)
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    assert forward_cost(convolution, torch.zeros(1, 3, 7, 11)).flops == 2 * 3 * 5 * 9 * 7 * 11


@pytest.mark.parametrize("rows", [5, 13, 200])
def test_an_mlp_some_tokens_at_a_time_is_the_mlp(rows):
    torch.manual_seed(3)
    layer, x = MLP(11, 17, nn.GELU(), 3), torch.randn(2, 7, 11)
    whole = layer(x)
    layer.rows = rows
    calls = []
    layer[0].forward = lambda z, own=layer[0].forward: calls.append(len(z)) or own(z)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), whole, rtol=0, atol=1e-6)
        assert calls == {5: [5, 5, 4], 13: [13, 1], 200: [2]}[rows]
        with record(layer, ["1"]) as seen:
            layer(x)
    assert [call.shape for call in seen.calls("1")] == [(2, 7, 17)]


def test_the_most_memory_is_that_of_what_stands_together():
    def step():
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b.view(10, 100)  # no more memory, and it keeps b's
        del b
        return (c * 2).sum()

    assert peak_bytes(step) == 2 * 4000 + 4
    weight = torch.zeros(1000)  # there before: not counted
    assert peak_bytes(lambda: weight.view(10, 100).sum()) == 4
