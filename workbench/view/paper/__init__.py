"""Figures for papers, drawn by matplotlib and seaborn without a browser, as wide as one or two
columns of a page; those of explorers show what panels.js draws.

Text has 5 to 8 pt, colours come from `style`. pyplot's state is never touched, and a user's own
settings of matplotlib change nothing.
"""

from .charts import error_by_confidence, seed_bands
from .maps import ARC, attention_figure
from .panels import before_after, panels_figure
from .sheets import FORMATS, png, save
