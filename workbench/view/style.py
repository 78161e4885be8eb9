"""One colour, one meaning, in every figure, widget and page, on light and on dark paper.

Roles are told apart with every kind of colour vision. Attention has one scale: a multiple of what
each key would get if all got the same, in log2, with that 1x neutral in the middle. Its ends are
fixed, so that a colour says the same number in every head, layer and model.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, UInt8
from plotly.colors import sample_colorscale, unlabel_rgb

from ..errors import BadParameter, unknown

FONT = "system-ui, sans-serif"

# Who says where a joint is (truth, detector, ours, rival), and what is known about it. Chosen by
# search for the largest least distance in OKLab, seen with and without red or green cones; the
# first three of the light theme are Okabe and Ito's.
ROLES = MappingProxyType(
    {
        "light": {
            "truth": "#009E73",
            "detector": "#0072B2",
            "ours": "#D55E00",
            "rival": "#47046F",
            "visible": "#64C5FD",
            "hidden": "#580600",
            "newly_hidden": "#D4BC1D",
            "outside": "#5D5F66",
        },
        "dark": {
            "truth": "#5CD5B5",
            "detector": "#66B0FF",
            "ours": "#FC7C10",
            "rival": "#9436C7",
            "visible": "#D2FEFE",
            "hidden": "#C42206",
            "newly_hidden": "#FEF32D",
            "outside": "#808795",
        },
    }
)

# What everything is drawn with and on; "none" is where a mask forbids a key.
PAPER = MappingProxyType(
    {
        "light": {
            "ink": "#1D2733",
            "soft": "#5D6B7A",
            "line": "#D5DBE2",
            "tint": "#F3F5F8",
            "paper": "#FFFFFF",
            "none": "#C3C8CF",
        },
        "dark": {
            "ink": "#E8ECF1",
            "soft": "#A3AFBC",
            "line": "#3B4550",
            "tint": "#20262D",
            "paper": "#15191E",
            "none": "#4A525C",
        },
    }
)
# What JupyterLab's own theme gives in their place. Tint and line stay ours: on its dark theme
# its own lines do not stand out from its own tint.
JUPYTER = MappingProxyType(
    {
        "ink": "--jp-ui-font-color1",
        "soft": "--jp-ui-font-color2",
        "paper": "--jp-layout-color0",
    }
)

SEQUENTIAL = "Cividis"  # from nothing to much
# From less over the same to more, at equal steps.
DIVERGING = MappingProxyType(
    {
        "light": ("#0B3C73", "#5A9BD0", "#F4F4F2", "#E2934A", "#7A3000"),
        "dark": ("#A9D6FF", "#3F83BE", "#23282E", "#C0701F", "#FFDCA8"),
    }
)

LOG2_RANGE = 4.0  # attention from 1/16x to 16x uniform; what lies beyond has the colour of the end
DIFFERENCE_RANGE = 4.0  # differences of two attentions, from -4x to +4x uniform; ours


def _of(theme: str, table):
    if theme not in table:
        raise unknown("theme", theme, table)
    return table[theme]


def sequential() -> list[list[int]]:
    """Stops of the scale from nothing to much, at equal steps."""
    colours = sample_colorscale(SEQUENTIAL, np.linspace(0, 1, 9).tolist())
    return [[round(channel) for channel in unlabel_rgb(colour)] for colour in colours]


def colour(role: str | int, theme: str = "light") -> str:
    """The colour of a role, or of paper and ink, or the neutral one of six that a number picks;
    `UnknownName` for one that does not exist.
    """
    if not isinstance(role, str):
        place = np.array((2 * (role % 6) + 1) / 6 - 1)
        return "#" + bytes(scale_colours(place, theme, sequential())).hex().upper()
    known = _of(theme, ROLES) | _of(theme, PAPER)
    if role not in known:
        raise unknown("role of a colour", role, known)
    return known[role]


def rgb(hexadecimal: str) -> tuple[int, int, int]:
    """A "#rrggbb" as three numbers of 0 to 255."""
    red, green, blue = bytes.fromhex(hexadecimal.removeprefix("#"))
    return red, green, blue


# --- attention ------------------------------------------------------------------------------------


def by_layer(name: str, weights: np.ndarray) -> Float[np.ndarray, "layer head query key"]:
    """Weights of one sample with an axis of layers, which maps of a single layer may lack;
    `BadParameter`, which says `name`, for others.
    """
    weights = np.asarray(weights)
    if weights.ndim not in (3, 4) or weights.dtype.kind != "f" or 0 in weights.shape:
        raise BadParameter(
            f"maps {name!r} are {weights.dtype} of shape {weights.shape}",
            remedy="give floats of [head query key] or [layer head query key], of one sample",
        )
    return weights if weights.ndim == 4 else weights[None]


def times_uniform(
    weights: Float[np.ndarray, "*n"], axis: int = -1, allowed: Bool[np.ndarray, "*a"] | None = None
) -> Float[np.ndarray, "*n"]:
    """Attention weights as multiples of uniform: times the number of keys along `axis`.

    allowed: keys that masks let through, of a shape that broadcasts to the weights'. The others do
    not count, and become NaN: a forbidden key is not one that nobody looks at.
    """
    if allowed is None:
        return weights * weights.shape[axis]
    try:
        allowed = np.broadcast_to(allowed, weights.shape)
    except ValueError:
        raise BadParameter(
            f"allowed keys of shape {allowed.shape} for weights of {weights.shape}",
            remedy="give a mask that broadcasts to the weights",
        ) from None
    keys = allowed.sum(axis, keepdims=True).astype(weights.dtype)
    return np.where(allowed, weights * keys, np.asarray(np.nan, weights.dtype))


def attention_place(times: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Where multiples of uniform lie on the scale: -1 at 1/16x and below, 0 at 1x, 1 at 16x and
    above.
    """
    with np.errstate(divide="ignore"):
        return np.clip(np.log2(times) / LOG2_RANGE, -1, 1)


def scale_colours(
    place: Float[np.ndarray, "*n"],
    theme: str = "light",
    stops: Sequence[Sequence[int]] | None = None,
) -> UInt8[np.ndarray, "*n 3"]:
    """Colours of places on a scale, -1 to 1, by default the diverging one; NaN has the colour of no
    answer.
    """
    stops = np.array(stops or [rgb(stop) for stop in _of(theme, DIVERGING)], float)
    at = np.linspace(-1, 1, len(stops))
    mixed = np.stack([np.interp(place, at, stops[:, channel]) for channel in range(3)], -1)
    nothing = np.array(rgb(colour("none", theme)), float)
    return np.rint(np.where(np.isnan(place)[..., None], nothing, mixed)).astype(np.uint8)


def attention_colours(
    times: Float[np.ndarray, "*n"], theme: str = "light"
) -> UInt8[np.ndarray, "*n 3"]:
    """Colours of attention given as multiples of uniform. The scale knows nothing else, so one
    number has one colour wherever it stands.
    """
    return scale_colours(attention_place(times), theme)


def attention_scale(theme: str = "light", *, difference: bool = False) -> dict:
    """The attention scale for a plotly heatmap of log2 of multiples of uniform, or of their
    differences: colours, range, and ticks that say what is clipped.
    """
    stops = _of(theme, DIVERGING)
    end = DIFFERENCE_RANGE if difference else LOG2_RANGE
    words = ["≤ 1/16x", "1/4x", "1x", "4x", "≥ 16x"]
    if difference:
        words = ["≤ −4x", "−2x", "0", "+2x", "≥ +4x"]
    return {
        "colorscale": [[i / (len(stops) - 1), stop] for i, stop in enumerate(stops)],
        "zmin": -end,
        "zmax": end,
        "colorbar": {
            "title": "difference of times uniform" if difference else "times uniform",
            "tickvals": [-end, -end / 2, 0.0, end / 2, end],
            "ticktext": words,
        },
    }


# --- plotly, CSS ----------------------------------------------------------------------------------


def template(theme: str = "light") -> go.layout.Template:
    """Plotly's template of a theme: paper, ink, the roles as colours in their order, the scales."""
    paper = _of(theme, PAPER)
    stops = _of(theme, DIVERGING)
    axis = {
        "gridcolor": paper["line"],
        "linecolor": paper["line"],
        "zerolinecolor": paper["line"],
        "automargin": True,
    }
    layout = {
        "font": {"family": FONT, "size": 13, "color": paper["ink"]},
        "paper_bgcolor": paper["paper"],
        "plot_bgcolor": paper["paper"],
        "colorway": list(_of(theme, ROLES).values()),
        "colorscale": {
            "sequential": SEQUENTIAL,
            "diverging": [[i / (len(stops) - 1), stop] for i, stop in enumerate(stops)],
        },
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"font": {"size": 12}},
    }
    return go.layout.Template(layout=layout)


def _declarations(theme: str, *, jupyter: bool = False) -> str:
    values = _of(theme, PAPER) | _of(theme, ROLES)
    lines = [f"color-scheme: {theme};", f"--wb-theme: {theme};"]
    for name, value in values.items():
        if jupyter and name in JUPYTER:
            value = f"var({JUPYTER[name]}, {value})"
        lines.append(f"--wb-{name.replace('_', '-')}: {value};")
    return " ".join(lines)


def css_variables(selector: str = ":root") -> str:
    """Rules that give `--wb-ink`, `--wb-truth`, ... to what the selector names.

    In JupyterLab they follow its theme, elsewhere the reader's preference. `data-theme="light"` or
    `"dark"` on the element, or on the page's root, overrules both. `--wb-theme` says which one
    holds.
    """
    outside = f"body:not([data-jp-theme-light]) {selector}"
    if selector == ":root":
        outside = ":root:not(:has(body[data-jp-theme-light]))"
    rules = [f"{selector} {{ {_declarations('light')} }}"]
    rules.append(
        f"@media (prefers-color-scheme: dark) {{ {outside} {{ {_declarations('dark')} }} }}"
    )
    for theme, light in (("light", "true"), ("dark", "false")):
        lab = f'body[data-jp-theme-light="{light}"] {selector}'
        if selector == ":root":
            lab = f':root:has(body[data-jp-theme-light="{light}"])'
        rules.append(f"{lab} {{ {_declarations(theme, jupyter=True)} }}")
    for theme in ("light", "dark"):
        own = f'{selector}{selector}[data-theme="{theme}"]'
        if selector != ":root":
            own = f'html[data-theme="{theme}"] {selector}{selector}, {own}'
        rules.append(f"{own} {{ {_declarations(theme)} }}")
    return "\n".join(rules)
