"""What measured runs have shown of a machine: logs of factors, and how sure they are."""

import math
from dataclasses import dataclass
from typing import Any

from ..errors import IkexploreError

_KEYS = ("factors", "log", "covariance", "runs")


@dataclass(frozen=True)
class Learned:
    """Factors by name: ``log`` of time over datasheet time, and the ``covariance`` of those logs; from ``runs`` runs.

    Names are those of docs/forecast.md; ``mix.pp|NAME`` and ``mix.tg|NAME`` are of one model alone.
    """

    factors: tuple[str, ...]
    log: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    runs: int = 1

    @property
    def sd(self) -> tuple[float, ...]:
        """Standard deviation of each log."""
        return tuple(math.sqrt(max(0.0, self.covariance[i][i])) for i in range(len(self.factors)))

    def to_markdown(self, names: tuple[str, ...] | None = None) -> str:
        """A table: factor, time over datasheet time, and the range that holds it with 80 %; ``rig.`` factors first."""
        lines = ["| factor | x datasheet time | 80 % range |", "|---|---|---|"]
        rows = sorted(zip(self.factors, self.log, self.sd), key=lambda r: (not r[0].startswith(("rig.", "mix.")), r[0]))
        for name, mean, sd in rows:
            if names is None or name in names:
                low, high = math.exp(mean - 1.2816 * sd), math.exp(mean + 1.2816 * sd)
                lines.append(f"| {name} | {math.exp(mean):.2f} | {low:.2f} to {high:.2f} |")
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def learned_of(table: Any) -> Learned | None:
    """``[learned]`` of a rig file. Raises IkexploreError."""
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) - set(_KEYS) or not {"factors", "log", "covariance"} <= set(table):
        raise IkexploreError(f"[learned] has the keys {', '.join(_KEYS)}; calibrate writes it")
    names, log, cov = table["factors"], table["log"], table["covariance"]
    n = len(names) if isinstance(names, list) else -1
    square = isinstance(cov, list) and len(cov) == n and all(isinstance(row, list) and len(row) == n for row in cov)
    if not isinstance(log, list) or len(log) != n or not square:
        raise IkexploreError("[learned] needs as many numbers in log, and rows and columns in covariance, as factors")
    numbers = [v for row in (log, *cov) for v in row]
    if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers) or not all(isinstance(v, str) for v in names):
        raise IkexploreError("[learned]: factors are names, log and covariance are finite numbers")
    if any(abs(v) > 20 for v in log) or any(not 0 <= cov[i][i] <= 400 for i in range(n)):
        raise IkexploreError("[learned]: a log beyond 20 or a variance beyond 400 is no measurement")
    rows = tuple(tuple(map(float, row)) for row in cov)
    return Learned(tuple(names), tuple(map(float, log)), rows, int(table.get("runs", 1)))


def lines_of(learned: Learned) -> list[str]:
    """TOML of ``[learned]``."""
    import json

    rows = ",\n  ".join("[" + ", ".join(f"{v:.5g}" for v in row) + "]" for row in learned.covariance)
    return ["", "[learned]", f"runs = {learned.runs}", f"factors = {json.dumps(list(learned.factors))}",
            "log = [" + ", ".join(f"{v:.4f}" for v in learned.log) + "]", f"covariance = [\n  {rows},\n]"]  # fmt: skip
