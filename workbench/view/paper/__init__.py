"""Figures for notebooks and papers, drawn by matplotlib and seaborn without a browser, as wide as
one or two columns of a page; those of explorers show what panels.js draws.

Text has 5 to 8 pt, colours come from `style`. pyplot's state is never touched, and a user's own
settings of matplotlib change nothing.
"""

from .charts import (
    change_by_occlusions,
    changes,
    crowd_histogram,
    curves,
    error_by_confidence,
    flow_of_shapes,
    hidden_by_joint,
    joint_bars,
    map_grid,
    noise_confidence,
    noise_errors,
    reliability,
    seed_bands,
    sweep,
    visibility_shares,
)
from .gallery import slides
from .maps import ARC, attention_figure
from .panels import panels_figure, pictures
from .sheets import FORMATS, png, save
