"""A GPU's work in one split: steps launched one by one, or runs of launches gathered into CUDA graphs.

A token's launches cost the host more than the card; replayed as a graph they are one call. All that changes from one
evaluation to the next is in device memory, so that a graph stays right as long as no block of the device has moved.
"""

import warnings
from itertools import groupby
from typing import Any

import numpy as np

from .device import Device
from .launches import Launch, Step

#: columns up to which launches are gathered: beyond, kernels take longer than their launches
COLUMNS = 8


class SplitWork:
    """``run`` does the steps of one split. With ``gather``, the first evaluation launches one by one, which compiles and
    loads every kernel; the next one captures each run of launches between host steps; later ones replay."""

    def __init__(self, device: Device, steps: list[Step], gather: bool):
        self.device, self.steps, self.gather = device, steps, gather
        self._runs = [list(run) for _, run in groupby(steps, lambda step: isinstance(step, Launch))]
        self._graphs: list[Any] = []
        self._made_at = -1  # the device's count of moves when the graphs were made
        self._launched = False

    def run(self, stop: np.ndarray) -> None:
        """One evaluation's steps; stops between steps, or between graphs, when told to."""
        if not (self.gather and self.device.graphs and self._launched and self._captured()):
            self._launched = self.device.run(self.steps, stop) or self._launched
            return
        for steps, graph in zip(self._runs, self._graphs):
            if stop[0]:
                return
            if graph is None:
                self.device.run(steps, stop)
            else:
                self.device.replay(graph)

    def _captured(self) -> bool:
        """Whether there are graphs for where the device's blocks are now. A failure is told once, and is the last try."""
        if self._made_at == self.device.moved:
            return True
        self._graphs = []
        try:
            self._graphs = [self._graph(run) for run in self._runs]
        except Exception as error:  # whatever the card, its driver or CuPy has against it: eager launches work as ever
            self.device.graphs = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"{self.device.name}: launches cannot be gathered into CUDA graphs ({reason}); they are made one by "
                          "one, which is slower (cuda_graphs=False does not try)", RuntimeWarning, stacklevel=2)
            return False
        self._made_at = self.device.moved
        return True

    def _graph(self, run: list[Step]) -> Any:
        """None for what stays as it is: host steps, and a single launch."""
        launches = [step for step in run if isinstance(step, Launch)]
        return self.device.capture(launches) if len(launches) > 1 else None
