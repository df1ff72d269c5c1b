"""Looking into a hybrid evaluation: values of nodes on any device, as host arrays; what is changed in them goes back."""

from typing import Any

import numpy as np

from ..trace import Values
from .program import Hybrid, _view


class HybridTrace(Values):
    """Values of one hybrid graph. Arrays of what a GPU holds are copies; ``put_back`` writes those that were changed."""

    def __init__(self, hybrid: Hybrid, session: Any):
        super().__init__(hybrid.graph)
        self.hybrid, self.session = hybrid, session
        self._taken: dict[int, tuple[np.ndarray, np.ndarray, int, Any]] = {}

    @property
    def past(self) -> int:
        return int(self.session.inputs.past[0])

    def _where(self, root: int) -> int:
        s = self.hybrid.schedule
        return int(s.held[root]) if s.held[root] >= 0 else int(s.at.backend[root])

    def has(self, row: int) -> bool:
        """Whether the row's values are anywhere to be seen."""
        root = self.root[row]
        return root >= self.graph.n_leafs or self.graph.name[root].startswith("cache_")

    def bytes_of(self, root: int) -> np.ndarray:
        hybrid, name = self.hybrid, self.graph.name[root]
        if root < self.graph.n_leafs and name in self.session.weights:
            return self.session.weights[name].data
        ne, nb = self.graph.ne[root], self.graph.nb[root]
        size, where = int(nb[3] * ne[3]), self._where(root)
        if where == hybrid.cpu:
            if name in self.session.caches:
                return self.session.caches[name]
            address = hybrid.lowered.places[root] if root >= self.graph.n_leafs else hybrid.lowered.at(root)
            return _view(int(address), size)
        if root not in self._taken:
            at = hybrid.gpus[where].result(root).at
            now = hybrid.devices[where].download(at, size)
            self._taken[root] = now, now.copy(), where, at
        return self._taken[root][0]

    def put_back(self) -> None:
        """Forget what was looked at; write what was changed to its device."""
        for now, before, where, at in self._taken.values():
            if not np.array_equal(now, before):
                self.hybrid.devices[where].upload(at, now)
        self._taken = {}
