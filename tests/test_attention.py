from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.bias import causal_lower_right

from workbench.attention import capture_attention
from workbench.errors import BadParameter, TapError, UnknownName
from workbench.taps import record

BATCH, HEADS, QUERIES, KEYS, CHANNELS = 3, 2, 5, 7, 4
WIDTH = HEADS * CHANNELS


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(q, k, seen=None, bias=None, scale=None):
    """Weights [... query key] of queries and keys [... token channel], one by one."""
    q, k = q.double(), k.double()
    scores = torch.einsum("...qc,...kc->...qk", q, k) * (scale or q.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias.double()
    weights = scores.exp()
    if seen is not None:
        weights = torch.where(seen, weights, torch.zeros(()).double())
    return (weights / weights.sum(-1, keepdim=True)).float()


def heads(x, weight, bias):
    """[batch token channel] -> [batch head token channel]."""
    projected = x @ weight.T + (0 if bias is None else bias)
    return projected.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Calls(nn.Module):
    """A model of somebody's that calls torch's attention with the arguments that it is given."""

    def forward(self, *args, **kwargs):
        return F.scaled_dot_product_attention(*args, **kwargs)


def unchanged(model, *args, names=None, **kwargs):
    """What was caught. Looking must change no number, no random number and no hook."""
    torch.manual_seed(11)
    expected = model(*args, **kwargs)
    state = torch.get_rng_state()
    torch.manual_seed(11)
    with capture_attention(model, names) as maps:
        out = model(*args, **kwargs)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    assert nothing_left(model)
    assert all(not w.requires_grad for name in maps for w in maps.calls(name))
    return maps


def nothing_left(model):
    hooks = [h for m in model.modules() for h in (m._forward_hooks, m._forward_pre_hooks)]
    looks = torch.overrides.has_torch_function((torch.zeros(1),))
    return not any(hooks) and not looks and torch.backends.mha.get_fastpath_enabled()


Q = draw(BATCH, HEADS, QUERIES, CHANNELS, seed=1)
K = draw(BATCH, HEADS, KEYS, CHANNELS, seed=2)
V = draw(BATCH, HEADS, KEYS, 3, seed=3)
SEEN = draw(BATCH, 1, 1, KEYS, seed=4) > -0.5
TRIANGLE = torch.ones(QUERIES, KEYS, dtype=torch.bool).tril()
BIAS = draw(QUERIES, KEYS, seed=5)
HIDING = torch.where(SEEN, 0.0, -torch.inf)

SDPA = {
    "plain": ({}, {}),
    "scale": ({"scale": 0.7}, {"scale": 0.7}),
    "causal": ({"is_causal": True}, {"seen": TRIANGLE}),
    "bool mask": ({"attn_mask": SEEN}, {"seen": SEEN}),
    "float mask": ({"attn_mask": BIAS}, {"bias": BIAS}),
    "hiding mask": ({"attn_mask": HIDING}, {"seen": SEEN}),
    "dropout": ({"dropout_p": 0.4}, {}),
}


@pytest.mark.parametrize("case", SDPA)
def test_scaled_dot_product_attention(case):
    given, expected = SDPA[case]
    maps = unchanged(Calls(), Q, K, V, **given)
    torch.testing.assert_close(maps[""], by_hand(Q, K, **expected), rtol=0, atol=1e-6)


def test_masks_by_position_and_without_heads():
    maps = unchanged(Calls(), Q[:, 0], K[:, 0], V[:, 0], SEEN[:, 0])
    expected = by_hand(Q[:, 0], K[:, 0], seen=SEEN[:, 0])[:, None]
    torch.testing.assert_close(maps[""], expected, rtol=0, atol=1e-6)
    windows = [x.unflatten(0, (1, BATCH)) for x in (Q, K, V)]
    maps = unchanged(Calls(), *windows)
    torch.testing.assert_close(maps[""], by_hand(Q, K), rtol=0, atol=1e-6)


def test_query_heads_share_key_heads():
    q = draw(BATCH, 6, QUERIES, CHANNELS)
    maps = unchanged(Calls(), q, K, V, enable_gqa=True)
    for head in range(6):
        expected = by_hand(q[:, head], K[:, head // 3])
        torch.testing.assert_close(maps[""][:, head], expected, rtol=0, atol=1e-6)


def test_a_row_that_is_masked_throughout_is_zero_where_torch_answers_zero():
    mask = torch.ones(QUERIES, KEYS, dtype=torch.bool)
    mask[2] = False
    maps = unchanged(Calls(), Q, K, V, attn_mask=mask)
    expected = by_hand(Q, K)
    expected[:, :, 2] = 0
    torch.testing.assert_close(maps[""], expected, rtol=0, atol=1e-6)
    maps = unchanged(Calls(), torch.full_like(Q, torch.nan), K, V)
    assert maps[""].isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precision(dtype):
    q, k, v = (x.to(dtype) for x in (Q, K, V))
    maps = unchanged(Calls(), q, k, v, attn_mask=BIAS.to(dtype))
    precision = torch.promote_types(dtype, torch.float32)
    assert maps[""].dtype == precision
    expected = by_hand(q, k, bias=BIAS.to(dtype)).to(precision)
    torch.testing.assert_close(maps[""], expected, rtol=0, atol=1e-6)


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = unchanged(Calls(), Q, K, V)
    torch.testing.assert_close(maps[""], by_hand(Q, K), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_understood_is_refused():
    model = Calls()
    with pytest.raises(TapError, match="mask of type CausalBias"), capture_attention(model):
        model(Q, K, V, attn_mask=causal_lower_right(QUERIES, KEYS))
    nested = torch.nested.nested_tensor([Q[0], Q[1]])
    with pytest.raises(TapError, match="a nested query"), capture_attention(model):
        model(nested, nested, nested)
    assert nothing_left(model)
    model = nn.ModuleDict({"first": Calls(), "second": Calls()})
    with capture_attention(model, ["second"]) as maps:
        model["first"](Q, K, V, attn_mask=causal_lower_right(QUERIES, KEYS))
        model["second"](Q, K, V)
    assert list(maps) == ["second"], "what nobody asked for is left alone"


PAD = torch.zeros(BATCH, KEYS, dtype=torch.bool)
PAD[0, 4:] = True
PAD[1, 6:] = True
MASK3 = draw(BATCH * HEADS, QUERIES, KEYS, seed=6)

# arguments of nn.MultiheadAttention, of its call, and what hides or biases its keys
MHA = {
    "plain": ({}, {}, {}),
    "without weights": ({}, {"need_weights": False}, {}),
    "per head": ({}, {"average_attn_weights": False}, {}),
    "no bias": ({"bias": False}, {}, {}),
    "other widths": ({"kdim": 6, "vdim": 10}, {"need_weights": False}, {}),
    "padding": ({}, {"key_padding_mask": PAD}, {"seen": ~PAD[:, None, None]}),
    "padding, without weights": (
        {},
        {"key_padding_mask": PAD, "need_weights": False},
        {"seen": ~PAD[:, None, None]},
    ),
    "bool mask": ({}, {"attn_mask": ~TRIANGLE}, {"seen": TRIANGLE}),
    "float mask": ({}, {"attn_mask": BIAS, "need_weights": False}, {"bias": BIAS}),
    "mask a head": (
        {},
        {"attn_mask": MASK3, "need_weights": False},
        {"bias": MASK3.unflatten(0, (BATCH, HEADS))},
    ),
    "causal": (
        {},
        {"attn_mask": ~TRIANGLE, "is_causal": True, "need_weights": False},
        {"seen": TRIANGLE},
    ),
    # with the hint torch does not read the mask
    "causal by the hint": (
        {},
        {"attn_mask": torch.zeros(QUERIES, KEYS), "is_causal": True, "need_weights": False},
        {"seen": TRIANGLE},
    ),
    "causal, padding": (
        {},
        {"attn_mask": ~TRIANGLE, "is_causal": True, "key_padding_mask": PAD},
        {"seen": TRIANGLE & ~PAD[:, None, None]},
    ),
    # with the hint and padding it does
    "hint, padding, mask": (
        {},
        {"attn_mask": BIAS, "is_causal": True, "need_weights": False, "key_padding_mask": PAD},
        {"bias": BIAS + torch.where(PAD, -torch.inf, 0.0)[:, None, None]},
    ),
    "dropout": ({"dropout": 0.4}, {"need_weights": False}, {}),
    "dropout, weights": ({"dropout": 0.4}, {}, {}),
}


def projected(module, query, key):
    """Queries and keys [batch head token channel] of an nn.MultiheadAttention, added ones too."""
    if module.in_proj_weight is None:
        weights = module.q_proj_weight, module.k_proj_weight
    else:
        weights = module.in_proj_weight.chunk(3)[:2]
    biases = (None, None) if module.in_proj_bias is None else module.in_proj_bias.chunk(3)[:2]
    q = heads(query, weights[0], biases[0])
    k = heads(key, weights[1], biases[1])
    if module.bias_k is not None:
        added = module.bias_k.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k = torch.cat([k, added.expand(len(k), -1, -1, -1)], dim=2)
    if module.add_zero_attn:
        k = torch.cat([k, torch.zeros_like(k[:, :, :1])], dim=2)
    return q, k


def multihead(**options):
    torch.manual_seed(7)
    module = nn.MultiheadAttention(WIDTH, HEADS, **options)
    if module.in_proj_bias is not None:
        nn.init.normal_(module.in_proj_bias)
    return module


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("case", MHA)
def test_multihead_attention(case, batch_first, training):
    options, given, expected = MHA[case]
    module = multihead(batch_first=batch_first, **options).train(training)
    query = draw(BATCH, QUERIES, WIDTH, seed=8)
    key, value = draw(BATCH, KEYS, module.kdim, seed=9), draw(BATCH, KEYS, module.vdim, seed=10)
    inputs = [x if batch_first else x.transpose(0, 1) for x in (query, key, value)]
    with torch.no_grad():
        maps = unchanged(module, *inputs, **given)
        wanted = by_hand(*projected(module, query, key), **expected)
    torch.testing.assert_close(maps[""], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("hint", [False, True])
@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_added_keys(options, hint):
    module = multihead(batch_first=True, **options)
    x = draw(BATCH, QUERIES, WIDTH)
    mask = torch.ones(QUERIES, QUERIES, dtype=torch.bool).triu(1)
    maps = unchanged(module, x, x, x, attn_mask=mask, is_causal=hint, need_weights=False)
    seen = F.pad(~mask, (0, 1), value=not hint)  # by the hint torch hides the key at the end
    wanted = by_hand(*projected(module, x, x), seen=seen)
    assert maps[""].shape == (BATCH, HEADS, QUERIES, QUERIES + 1)
    torch.testing.assert_close(maps[""], wanted, rtol=0, atol=1e-6)


def test_multihead_attention_without_a_batch():
    module = multihead()
    x = draw(QUERIES, WIDTH)
    maps = unchanged(module, x, x, x, need_weights=False)
    wanted = by_hand(*projected(module, x[None], x[None]))
    torch.testing.assert_close(maps[""], wanted, rtol=0, atol=1e-6)
    pad = PAD[0, 2:]
    maps = unchanged(module, x, x, x, key_padding_mask=pad)
    wanted = by_hand(*projected(module, x[None], x[None]), seen=~pad)
    torch.testing.assert_close(maps[""], wanted, rtol=0, atol=1e-6)


def test_multihead_attention_in_half_precision():
    module = multihead(batch_first=True).eval()
    x = draw(BATCH, QUERIES, WIDTH)
    wanted = by_hand(*projected(module, x, x)).detach()
    half = copy.deepcopy(module).bfloat16()
    maps = unchanged(half, x.bfloat16(), x.bfloat16(), x.bfloat16(), need_weights=False)
    assert maps[""].dtype == torch.float32
    torch.testing.assert_close(maps[""], wanted, rtol=0, atol=0.02)


def encoder(**options):
    torch.manual_seed(7)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, dropout=0.3, batch_first=True)
    norm = nn.LayerNorm(WIDTH)
    nn.init.normal_(norm.bias)
    return nn.TransformerEncoder(layer, 2, norm=norm, **options).eval()


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("pad", [None, PAD], ids=["whole", "padded"])
def test_transformer_encoder(nested, grad, pad):
    model = nn.ModuleDict({"encoder": encoder(enable_nested_tensor=nested)})
    model.forward = lambda x: model["encoder"](x, src_key_padding_mask=pad)
    x = draw(BATCH, KEYS, WIDTH)
    with torch.set_grad_enabled(grad):
        maps = unchanged(model, x)
        model["encoder"].train()
        trained = unchanged(model, x)
        seen = None if pad is None else ~pad[:, None, None]
        attention = model["encoder"].layers[0].self_attn
        wanted = by_hand(*projected(attention, x, x), seen=seen)
    assert list(maps) == [f"encoder.layers.{i}.self_attn" for i in (0, 1)]
    for caught in (maps, trained):
        torch.testing.assert_close(
            caught["encoder.layers.0.self_attn"], wanted.detach(), rtol=0, atol=1e-6
        )
    second = maps["encoder.layers.1.self_attn"].sum(-1)
    torch.testing.assert_close(second, torch.ones_like(second))


def test_the_second_layer_sees_what_the_first_gave():
    model = encoder()
    x = draw(BATCH, KEYS, WIDTH)
    with torch.no_grad():
        maps = unchanged(model, x, src_key_padding_mask=PAD)
        between = model.layers[0](x, src_key_padding_mask=PAD)
        queries_keys = projected(model.layers[1].self_attn, between, between)
    wanted = by_hand(*queries_keys, seen=~PAD[:, None, None])
    torch.testing.assert_close(maps["layers.1.self_attn"], wanted, rtol=0, atol=1e-5)


def test_a_layer_a_decoder_and_taps_of_the_same_model():
    x = draw(BATCH, KEYS, WIDTH)
    torch.manual_seed(7)
    model = nn.Transformer(WIDTH, HEADS, 1, 1, 16, batch_first=True).eval()
    causal = torch.ones(KEYS, KEYS, dtype=torch.bool).triu(1)
    with torch.no_grad():
        maps = unchanged(model, x, x, tgt_mask=causal, tgt_is_causal=True)
        unchanged(encoder().layers[0], x, src_key_padding_mask=PAD)
        with record(model, ["encoder.layers.0.linear1"]) as taps, capture_attention(model):
            model(x, x)
    layer = "decoder.layers.0"
    assert list(maps) == [
        "encoder.layers.0.self_attn",
        f"{layer}.self_attn",
        f"{layer}.multihead_attn",
    ]
    assert not maps[f"{layer}.self_attn"].triu(1).any()
    assert maps[f"{layer}.multihead_attn"].min() > 0
    assert len(taps.calls("encoder.layers.0.linear1")) == 1, "hooks of others fire once"


def test_hooks_of_others_see_what_they_would_see():
    model = nn.Sequential(encoder())
    x = draw(BATCH, KEYS, WIDTH)
    with torch.no_grad():
        expected = model[0](x, src_key_padding_mask=PAD)
        with record(model, ["0"]) as taps, capture_attention(model):
            out = model[0](x, src_key_padding_mask=PAD)
    assert torch.equal(out, expected)
    assert len(taps.calls("0")) == 1 and torch.equal(taps["0"], expected)


def test_the_fast_path_and_hooks_are_restored_after_an_error():
    model = encoder()
    with pytest.raises(ZeroDivisionError), capture_attention(model):
        assert not torch.backends.mha.get_fastpath_enabled()
        1 / 0
    assert nothing_left(model)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            x = draw(BATCH, KEYS, WIDTH)
            expected = model(x, src_key_padding_mask=PAD)
            with capture_attention(model):
                assert torch.equal(model(x, src_key_padding_mask=PAD), expected)
        assert not torch.backends.mha.get_fastpath_enabled(), "as it was"
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_torch_s_layers_run_twice_and_not_more():
    calls = []

    def activation(x):
        calls.append(x)
        return x.relu()

    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, activation=activation, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    with capture_attention(model):
        model(draw(BATCH, KEYS, WIDTH))
    assert len(calls) == 6


class Somebody(nn.Module):
    """Attention by a function outside modules, in a child called twice, and in a broken child."""

    def __init__(self):
        super().__init__()
        self.block = nn.Module()
        self.block.inner = Calls()
        self.again = self.block.inner
        self.broken = nn.Linear(1, 1)

    def forward(self, q, k, v):
        first = self.block.inner(q, k, v)
        second = self.block.inner(q * 2, k, v)
        try:
            self.broken(q)
        except RuntimeError:
            pass
        return first + second + F.scaled_dot_product_attention(q * 3, k, v)


def test_every_call_is_named_by_the_innermost_module():
    model = Somebody()
    maps = unchanged(model, Q, K, V)
    assert sorted(maps) == ["", "again", "block.inner"]
    for name in ("again", "block.inner"):
        first, second = maps.calls(name)
        torch.testing.assert_close(first, by_hand(Q, K), rtol=0, atol=1e-6)
        torch.testing.assert_close(second, by_hand(2 * Q, K), rtol=0, atol=1e-6)
    torch.testing.assert_close(maps[""], by_hand(3 * Q, K), rtol=0, atol=1e-6)


def test_only_what_runs_in_the_model_is_caught():
    model = Somebody()
    with capture_attention(model, "block.*") as maps:
        Calls()(Q, K, V)
        F.scaled_dot_product_attention(Q, K, V)
        model.block.inner(Q, K, V)
    assert list(maps) == ["block.inner"] and len(maps.calls("block.inner")) == 1


def test_names_and_patterns():
    x = draw(BATCH, KEYS, WIDTH)
    model = encoder()
    assert list(unchanged(model, x, names=["*.1.*"])) == ["layers.1.self_attn"]
    assert list(unchanged(model, x, names="layers.0.self_attn")) == ["layers.0.self_attn"]
    with (
        pytest.raises(UnknownName, match=r"did you mean 'layers\.0\.self_attn'"),
        capture_attention(model, ["layers.0.self_atn"]),
    ):
        pass
    with (
        pytest.raises(TapError, match=r"in 'layers\.1'.*did you mean 'layers\.1\.self_attn'"),
        capture_attention(model, ["layers.0.*", "layers.1"]),
    ):
        model(x)
    assert nothing_left(model)


def test_nothing_seen_says_what_is_seen():
    model = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))
    with (
        pytest.raises(TapError, match=r"no attention was seen.*nn\.MultiheadAttention.*flex"),
        capture_attention(model),
    ):
        model(torch.zeros(1, 2))


def test_torchscript_is_refused():
    x = draw(BATCH, KEYS, WIDTH)
    for script in (torch.jit.script(Scriptable()), torch.jit.trace(Scriptable(), x)):
        with pytest.raises(BadParameter, match=r"the model is scripted.*Remedy: give the eager"):
            capture_attention(script).__enter__()
        outer = nn.Sequential(nn.Identity(), script)
        with pytest.raises(BadParameter, match="1 is scripted"), capture_attention(outer):
            pass


class Scriptable(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_compiled_models_are_seen_through():
    model = nn.Sequential(Scriptable())
    x = draw(BATCH, KEYS, WIDTH)
    compiled = torch.compile(model, backend="aot_eager")
    compiled(x)
    child = nn.Sequential(torch.compile(Scriptable(), backend="aot_eager"))
    child(x)
    for module in (compiled, child):
        with capture_attention(module) as maps:
            module(x)
        assert list(maps) == ["0"]
        torch.testing.assert_close(maps["0"], by_hand(x, x)[:, None], rtol=0, atol=1e-6)


def test_looking_loads_no_compiler():
    code = """
import sys
import torch
from workbench.attention import capture_attention
model = torch.nn.MultiheadAttention(4, 2)
with capture_attention(model) as maps:
    model(*[torch.zeros(3, 1, 4)] * 3)
assert maps[""].shape == (1, 2, 3, 3)
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gradients_are_as_without_looking():
    x = draw(BATCH, KEYS, WIDTH).requires_grad_()
    model = encoder()
    expected = torch.autograd.grad(model(x).square().sum(), x)[0]
    with capture_attention(model) as maps:
        out = model(x)
    assert torch.equal(torch.autograd.grad(out.square().sum(), x)[0], expected)
    assert all(maps[name].grad_fn is None for name in maps)


def test_what_was_caught_saves_to_npz(tmp_path):
    maps = unchanged(nn.Sequential(Scriptable()).bfloat16(), draw(BATCH, KEYS, WIDTH).bfloat16())
    with np.load(maps.save(tmp_path / "maps"), allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["0"], maps["0"].numpy())
        assert str(saved["0:axes"]) == "batch head query key"


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_timm_vision_transformer(fused, qk_norm):
    timm = pytest.importorskip("timm")
    torch.manual_seed(7)
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, qk_norm=qk_norm, depth=2, img_size=64
    ).eval()
    for block in model.blocks:
        block.attn.fused_attn = fused
    with torch.no_grad(), record(model, ["blocks.1.norm1"]) as taps:
        model(draw(2, 3, 64, 64))
    with torch.no_grad():
        maps = unchanged(model, draw(2, 3, 64, 64))
        attention = model.blocks[1].attn
        qkv = attention.qkv(taps["blocks.1.norm1"]).unflatten(-1, (3, 3, 64))
        q, k, _ = qkv.permute(2, 0, 3, 1, 4)
        wanted = by_hand(attention.q_norm(q), attention.k_norm(k))
    assert list(maps) == ["blocks.0.attn", "blocks.1.attn"]
    assert maps["blocks.1.attn"].shape == (2, 3, 17, 17)
    torch.testing.assert_close(maps["blocks.1.attn"], wanted, rtol=0, atol=1e-5)


def test_timm_softmax_in_a_child_belongs_to_the_attention():
    pytest.importorskip("timm")
    from timm.models.swin_transformer import WindowAttention

    torch.manual_seed(7)
    model = nn.Sequential(WindowAttention(6, num_heads=2, window_size=3)).eval()
    x = draw(4, 9, 6)
    model[0].fused_attn = True
    fused = unchanged(model, x)["0"]
    model[0].fused_attn = False
    maps = unchanged(model, x)
    assert list(maps) == ["0"] and maps["0"].shape == (4, 2, 9, 9)
    torch.testing.assert_close(maps["0"], fused, rtol=0, atol=1e-6)


def test_a_softmax_that_is_changed_in_place():
    class Unfused(nn.Module):
        fused_attn = False

        def forward(self, q, k, v):
            weights = (q * CHANNELS**-0.5 @ k.mT).softmax(-1)
            return weights.mul_(2) @ v

    maps = unchanged(Unfused(), Q, K, V)
    torch.testing.assert_close(maps[""], by_hand(Q, K), rtol=0, atol=1e-6)


def test_transformers_with_sdpa():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=31,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=16,
        attn_implementation="sdpa",
    )
    torch.manual_seed(7)
    model = transformers.BertModel(config).eval()
    tokens = torch.arange(BATCH * KEYS).reshape(BATCH, KEYS)
    with torch.no_grad():
        maps = unchanged(model, tokens, attention_mask=(~PAD).long(), return_dict=False)
        model.set_attn_implementation("eager")
        wanted = model(tokens, attention_mask=(~PAD).long(), output_attentions=True).attentions
    assert list(maps) == [f"encoder.layer.{i}.attention.self" for i in (0, 1)]
    for name, weights in zip(maps, wanted, strict=True):
        torch.testing.assert_close(maps[name], weights, rtol=0, atol=1e-6)
