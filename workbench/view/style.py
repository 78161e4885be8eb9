"""One colour, one meaning, in every figure, widget and page, on light and on dark paper.

Roles are told apart with every kind of colour vision. Attention has one scale: a multiple of what
each key would get if all got the same, in log2, with that 1x neutral in the middle. Its ends are
fixed, so that a colour says the same number in every head, layer and model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..errors import BadParameter, unknown

FONT = 'Inter, "Segoe UI", system-ui, sans-serif'

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

# Roles of those who are called by names of their own; further names mean nothing.
ROLE_OF = MappingProxyType(
    {
        "ground truth": "truth",
        "input": "detector",
        "real": "detector",
        "single frame": "detector",
        "refined P'": "ink",
        "final Pₛ": "ours",
        "with PORT": "ours",
        "OTPose": "ours",
        "STDPose": "ours",
        "aware": "ours",
        "VisNet": "ours",
        "HANet (shipped)": "ours",
        "mean of five frames": "rival",
        "optical flow": "rival",
        "naive": "rival",
        "Savitzky-Golay": "rival",
        "straight line": "soft",
        "simulated": "soft",
        "taken at its word": "soft",
        "occluded": "hidden",
        "outside the picture": "outside",
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
# Marks on a photograph, which is the same in both themes: a bright line in a dark one. They are not
# quite white and black, so that no rule for the paper's colours changes them.
ON_PICTURE = MappingProxyType({"bright": "#FDFDFD", "dark": "#010101"})

# Words that say something by their colour: links, outcomes, code. Legible on paper and tint.
WORDS = MappingProxyType(
    {
        "light": {
            "link": "#0B6B75",
            "bad": "#B3261E",
            "good": "#14602F",
            "wait": "#7A5800",
            "comment": "#5D6B7A",
            "keyword": "#8A2F7C",
            "string": "#1F6F43",
            "number": "#9A4A00",
            "called": "#1D5FA8",
        },
        "dark": {
            "link": "#5CC8D4",
            "bad": "#FF9188",
            "good": "#7FD79B",
            "wait": "#E8C15A",
            "comment": "#A3AFBC",
            "keyword": "#E29AD6",
            "string": "#7CCBA0",
            "number": "#F0A868",
            "called": "#82B8F5",
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

# From nothing to much, at equal steps: Cividis.
SEQUENTIAL = (
    "#00224E",
    "#173870",
    "#424E6C",
    "#60646F",
    "#7D7C76",
    "#9B9476",
    "#BCAD6C",
    "#DDC957",
    "#FEE838",
)
SERIES_ENDS = (0.3, 0.8)  # of it; what lies beyond does not stand out from one of the papers
# From less over the same to more, at equal steps. More stands out more than less does: what
# attention ignores must not be the brightest on dark paper, nor the darkest on light.
DIVERGING = MappingProxyType(
    {
        "light": ("#3F84C6", "#9CC5E8", "#F4F4F2", "#E2934A", "#7A3000"),
        "dark": ("#2F6BAE", "#1F4A78", "#23282E", "#C0701F", "#FFDCA8"),
    }
)

# How far pictures of the diverging scale are inverted on dark paper, where no rule of colours
# reaches; the middle lies just above it.
TURNED = 0.92
LOG2_RANGE = 4.0  # attention from 1/16x to 16x uniform; what lies beyond has the colour of the end
DIFFERENCE_RANGE = 4.0  # differences of two attentions, from -4x to +4x uniform; ours


def _of(theme: str, table):
    if theme not in table:
        raise unknown("theme", theme, table)
    return table[theme]


def sequential() -> list[list[int]]:
    """Stops of the scale from nothing to much, at equal steps."""
    return [list(rgb(stop)) for stop in SEQUENTIAL]


def colour(role: str | int, theme: str = "light") -> str:
    """The colour of a role, of a name in `ROLE_OF`, or of paper and ink, or the neutral one of six
    that a number picks; `UnknownName` for one that does not exist.
    """
    if not isinstance(role, str):
        place = np.array((2 * (role % 6) + 1) / 6 - 1)
        return _hexadecimal(scale_colours(place, theme, sequential()))
    known = _of(theme, ROLES) | _of(theme, PAPER)
    role = ROLE_OF.get(role, role)
    if role not in known:
        raise unknown("role of a colour", role, known)
    return known[role]


def series(count: int) -> list[str]:
    """Colours of things that have no role: levels, seeds, data sets. They run from dark to light,
    are the same in both themes, and none is a role's.
    """
    places = np.linspace(*SERIES_ENDS, count) if count > 1 else np.full(count, np.mean(SERIES_ENDS))
    return [_hexadecimal(row) for row in scale_colours(2 * places - 1, stops=sequential())]


def _hexadecimal(numbers: UInt8[np.ndarray, "3"]) -> str:
    return f"#{bytes(numbers).hex()}".upper()


def palette(names: Sequence[str], theme: str = "light") -> dict[str, str]:
    """A colour for each name: its role's, or the next of `series`, which mean nothing."""
    plain = [name for name in names if name not in {*ROLES[theme], *ROLE_OF}]
    own = dict(zip(plain, series(len(plain))))
    return {name: own.get(name) or colour(name, theme) for name in names}


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


def attention_ticks(*, difference: bool = False) -> list[str]:
    """What stands at five equal steps along the scale, or along that of differences; they say what
    is clipped.
    """
    if difference:
        return ["≤ −4x", "−2x", "0", "+2x", "≥ +4x"]
    return ["≤ 1/16x", "1/4x", "1x", "4x", "≥ 16x"]


# --- CSS -----------------------------------------------------------------------------------------


def _declarations(theme: str, *, jupyter: bool = False) -> str:
    values = _of(theme, PAPER) | _of(theme, ROLES)
    turned = f"invert({TURNED}) hue-rotate(180deg)" if theme == "dark" else "none"
    lines = [f"color-scheme: {theme};", f"--wb-theme: {theme};", f"--wb-turned: {turned};"]
    lines.append(f"--wb-font: {FONT};")
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


def followed(svg: str) -> str:
    """An SVG whose roles, paper and ink, drawn in the light theme, are those of the reader's.

    Each colour stands as `var(--wb-truth, #009e73)`; where nobody sets variables it stays light.
    """
    roles = {**PAPER["light"], **ROLES["light"]}
    names = {colour.lower(): role.replace("_", "-") for role, colour in roles.items()}

    def variable(found: re.Match) -> str:
        colour = found[0]
        return f"var(--wb-{names[colour]}, {colour})" if colour in names else colour

    return re.sub("#[0-9a-f]{6}", variable, svg)


def plotly_css() -> str:
    """Rules that give plotly's figures the reader's theme, though they are drawn in the light one;
    what is saved from them stays light. Needs `css_variables`.

    Plotly writes a colour into an element's own style. There each rule looks for one.
    """
    rules = []
    for name, value in (_of("light", PAPER) | _of("light", ROLES)).items():
        ours = f"var(--wb-{name.replace('_', '-')}) !important"
        for part in ("fill", "stroke"):
            rules.append(f'[style*="{part}: rgb{rgb(value)}"] {{ {part}: {ours}; }}')
    rules += [
        ".main-svg { background: none !important; }",
        ".svg-container { background: var(--wb-paper); }",
        ".modebar-group { background: none !important; }",
        ".modebar-btn path { fill: var(--wb-soft) !important; }",
    ]
    return "\n".join(f".js-plotly-plot {rule}" for rule in rules)


def word_variables() -> str:
    """A rule that gives `--wb-link`, `--wb-bad`, ... to a page; needs `css_variables`."""
    lines = (
        f"--wb-{name}: light-dark({value}, {WORDS['dark'][name]});"
        for name, value in WORDS["light"].items()
    )
    return f":root {{ {' '.join(lines)} }}"
