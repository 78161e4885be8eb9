"""Figures for papers, drawn by matplotlib and seaborn without a browser, as wide as one or two
columns of a page.

Sizes are inches, text has 5 to 7 pt, colours come from `style`. pyplot's state is never touched,
and a user's own settings of matplotlib change nothing.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num, UInt8
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.style import context
from matplotlib.textpath import TextPath
from PIL import Image

from ..errors import BadParameter, check_choice, unknown
from ..resources import check_writable, write_beside
from ..skeletons import Skeleton
from . import style
from .figures import bones
from .panels import HIDDEN, NEWLY_HIDDEN, NOTHING, OUTSIDE, PAINT, SAYS, VISIBLE
from .panels import Arrows, Bars, Heat, Lines, Panel, People, Picture, Tabs

INCHES = MappingProxyType({1: 3.5, 2: 7.16})  # by columns of the page: IEEE's
TALLEST = 9.0  # inches that a page has for a figure; ours
DPI = 300
TEXT, SMALL, TINY = 7, 6, 5  # pt of titles, of numbers and legends, of names of tokens
LINE, GAP = 0.14, 0.06  # inches of a line of text, and between maps
NARROWEST, WIDEST = 0.6, 3.0  # inches of one map or picture
BAR = 2.3  # inches of the scale of attention
ARC = 10.0  # pt of an arc that carries all of the weight
PX = 0.5  # pt of a browser's px
FORMATS = ("svg", "pdf", "png")
WHO = ("truth", "detector", "rival", "ours")  # who says where joints are, the last one on top
