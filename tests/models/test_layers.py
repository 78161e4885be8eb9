"""What several methods are built of: the fast ways give what the plain ones give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.models.layers import MLP
from workbench.taps import record


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
