"""The doors of the engine that the panel goes through, in one place, so that tests can put another engine behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: types that the panel offers to re-quantize to, best first; those that the engine does not know are left out
OFFERED = ("f16", "q8_0", "q6_k", "q4_k", "iq4_xs", "iq4_ks", "q4_0")

#: lengths of context of a forecast's curve
POINTS = 9


class Engine:
    """Everything the panel asks of ``ikexplore``; imports happen when first used."""

    def demo(self) -> Any:
        """The embedded model."""
        from ikexplore import demo

        return demo.model()

    def headers(self) -> list[str]:
        """Names of the headers that come with the package."""
        from ikexplore import demo

        return demo.headers()

    def header(self, name: str) -> Any:
        """One of them, a model without weights."""
        from ikexplore import demo

        return demo.header(name)

    def open(self, path: str) -> Any:
        """A GGUF (header only), or a JSON header."""
        import ikexplore as ikx

        return ikx.open(path)

    def present(self) -> Any:
        """This computer, without its GPUs: what a run is timed on."""
        import ikexplore as ikx

        return ikx.Machine.detect().with_gpus([])

    def plan(self, model: Any, settings: Any, machine: Any) -> Any:
        """Placement, splits and memory."""
        import ikexplore as ikx

        return ikx.plan(model, settings, machine)

    def detect(self) -> Any:
        """This computer as it is, with its GPUs."""
        import ikexplore as ikx

        return ikx.Machine.detect()

    def forecast(self, plan: Any) -> Any:
        """PP and TG at a few lengths of context, evenly spread over those that llama-sweep-bench would print."""
        n, n_ctx = plan.n_tokens, plan.placement.context.n_ctx
        every = range(0, max(1, n_ctx - n + 1), n)
        last = len(every) - 1
        return plan.forecast(sorted({every[round(i * last / (POINTS - 1))] for i in range(POINTS)}))

    def picture(self, plan: Any, grid: Any) -> Any:
        """The plan as columns to draw."""
        from ikexplore.plots.from_plan import picture

        return picture(plan, grid)

    def requantized(self, model: Any, type_name: str) -> Any:
        """The model with its matrices in another type, in memory."""
        import ikexplore as ikx

        return ikx.requantized(model, type_name)

    def quants(self) -> dict[str, float]:
        """Types that can be chosen, with their bits per weight."""
        import ikexplore as ikx

        known = {name.lower() for name in ikx.quants()}
        return {name: float(ikx.quant(name).bpw) for name in OFFERED if name in known}

    def sweep(self, model: Any, settings: Any, on_row: Callable[[dict[str, Any]], None],
              on_progress: Callable[[dict[str, Any]], None], stop: threading.Event, layout: str = "file") -> Any:
        """Timed rows, as llama-sweep-bench has them."""
        import ikexplore as ikx

        return ikx.sweep(model, settings, progress=False, on_row=on_row, on_progress=on_progress, stop=stop, layout=layout)
