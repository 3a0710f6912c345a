"""Plot data with units, checked when made, and the plotly figures drawn from it.

1. Everything drawn is an `Estimate`: a value and its interval. A figure that is missing is `None`,
   stays a gap in the drawing, and never becomes 0; NaN is refused.
2. `LayerCurves`, `Forest`, `TransferMatrix`, `Confusion` and `Heatmap` hold estimates and their
   unit, and so do `Trails`; `Network` holds parts of a model and what goes between them, `Scatter`
   items in a plane. They can be made and tested without plotly.
3. `draw` turns one of them into a plotly figure in a `Theme`. Kinds of line differ in dash and
   marker as well as in colour; the hues are Okabe and Ito's, which stay apart in colour blindness,
   in lightnesses that have a contrast of at least 3:1 against the page.
"""

from probekit.plots.data import (
    HUES,
    Confusion,
    Forest,
    Heatmap,
    LayerCurves,
    Link,
    Network,
    PlotData,
    Points,
    Scatter,
    Series,
    Trail,
    Trails,
    TransferMatrix,
    Vertex,
)
from probekit.plots.draw import draw
from probekit.plots.estimate import MISSING, Estimate, number
from probekit.plots.theme import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "HUES",
    "LIGHT",
    "MISSING",
    "Confusion",
    "Estimate",
    "Forest",
    "Heatmap",
    "LayerCurves",
    "Link",
    "Network",
    "PlotData",
    "Points",
    "Scatter",
    "Series",
    "Theme",
    "Trail",
    "Trails",
    "TransferMatrix",
    "Vertex",
    "draw",
    "number",
]
