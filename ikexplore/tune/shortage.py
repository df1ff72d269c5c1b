"""What is short where nothing fits, and the cheapest ways out, each checked by an exact plan."""

from ..errors import IkexploreError
from .search import Search


class NoFit(IkexploreError):
    """Nothing fits."""


def shortage(search: Search) -> NoFit:
    return NoFit("nothing fits")
