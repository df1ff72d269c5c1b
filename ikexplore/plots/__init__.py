"""Static figures (matplotlib, object API): the twin of every widget, and usable alone.

``memory(plan)``, ``tensors(plan)``, ``splits(plan)``, ``throughput(sweeps)``, ``rates(forecast)``, ``where(forecasts)``,
``frontier(points, x, y)``, ``pareto(result)``, and ``parallel`` and ``facets`` for a grid each return a matplotlib
``Figure``, which a notebook shows and ``figure.savefig("x.svg")`` writes; pyplot is never touched. ``page(plan)`` is all
of it as SVG text.
"""

from .bars import memory
from .curves import throughput
from .grids import facets, parallel
from .lanes import splits
from .outlook import rates, where
from .page import page
from .picture import Picture
from .quality import pareto
from .sizes import frontier, unbeaten
from .tensormap import tensors

__all__ = [
    "Picture", "facets", "frontier", "memory", "page", "parallel", "pareto", "rates", "splits", "tensors", "throughput",
    "unbeaten", "where",
]
