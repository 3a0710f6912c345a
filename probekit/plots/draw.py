"""Plot data to plotly figures, in a theme of colours."""

from typing import TYPE_CHECKING, Any, get_args

from probekit.errors import unknown
from probekit.plots.curves import layer_curves
from probekit.plots.data import (
    Confusion,
    Forest,
    Heatmap,
    LayerCurves,
    Network,
    PlotData,
    Scatter,
    Trails,
    TransferMatrix,
)
from probekit.plots.forest import forest
from probekit.plots.matrices import confusion, heatmap, transfer
from probekit.plots.network import network
from probekit.plots.scatter import scatter
from probekit.plots.theme import LIGHT, Theme
from probekit.plots.trails import trails

if TYPE_CHECKING:
    import plotly.graph_objects as go


def draw(data: PlotData, theme: Theme = LIGHT) -> "go.Figure":
    """Turn plot data into a plotly figure, on a see-through ground.

    Raises:
        UserError: `data` is none of the kinds of plot data.
    """
    import plotly.graph_objects as go

    match data:
        case LayerCurves():
            traces, layout = layer_curves(data, theme)
        case Forest():
            traces, layout = forest(data, theme)
        case TransferMatrix():
            traces, layout = transfer(data, theme)
        case Confusion():
            traces, layout = confusion(data, theme)
        case Heatmap():
            traces, layout = heatmap(data, theme)
        case Scatter():
            traces, layout = scatter(data, theme)
        case Trails():
            traces, layout = trails(data, theme)
        case Network():
            traces, layout = network(data, theme)
        case _:
            kinds = [kind.__name__ for kind in get_args(PlotData)]
            raise unknown("plot data", type(data).__name__, kinds)
    return go.Figure(traces, _common_layout(theme) | layout)


def _common_layout(theme: Theme) -> dict[str, Any]:
    return {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": theme.ink},
        "hoverlabel": {
            "bgcolor": theme.page,
            "bordercolor": theme.grid,
            "font": {"color": theme.ink},
            "namelength": -1,
        },
        "margin": {"l": 8, "r": 12, "t": 16, "b": 8},
        "dragmode": False,
    }
