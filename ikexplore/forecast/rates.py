"""``Forecast``: PP and TG of a plan against context, each with a band, and where the time goes."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IkexploreError
from ..schedule.plan import Plan
from .fit import Point, System, point
from .known import covariance, prior_of
from .priors import BAND_NOISE, BAND_SHARE, NOISE
from .terms import Terms, terms

BAND = 1.2816  #: standard deviations either way that hold 80 %
MOST_ROWS = 64
_HEAD = ("PP", "TG", "N_KV", "T_PP s", "S_PP t/s", "80 % band", "T_TG s", "S_TG t/s", "80 % band")


class Where(dict):
    """Seconds by cause: ``{"pp": {"CPU: experts": ...}, "tg": {...}}``, of one micro-batch and of one token."""

    def to_markdown(self) -> str:
        """A table of causes, in milliseconds and as a share."""
        lines = ["| | cause | ms | share |", "|---|---|---|---|"]
        for kind, parts in self.items():
            total = sum(parts.values())
            lines += [f"| {kind} | {cause} | {s * 1e3:.3g} | {100 * s / total:.0f} % |" for cause, s in parts.items()]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


@dataclass
class Forecast:
    """Rates that are computed, not measured.

    ``rows``: dicts with the columns of a sweep, ``pp tg n_kv`` (tokens) ``t_pp t_tg`` (seconds) ``s_pp s_tg`` (tokens/s),
    and ``s_pp_low s_pp_high s_tg_low s_tg_high``: the range that should hold 80 % of measurements. A row's prompt is one
    micro-batch, its generation a quarter of that many tokens, both with ``n_kv`` tokens cached before.
    """

    plan: Plan
    n_kv: tuple[int, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.rows:
            self.rows = self._rows()

    @cached_property
    def _terms(self) -> dict[int, Terms]:
        return {}

    def terms(self, n_tokens: int) -> Terms:
        """Terms of an evaluation of ``n_tokens`` tokens; made once."""
        if n_tokens not in self._terms:
            self._terms[n_tokens] = terms(self.plan, n_tokens)
        return self._terms[n_tokens]

    def points(
        self,
        n_kv: Iterable[int] | None = None,
        measured: Iterable[dict[str, Any]] | None = None,
        run: str = "",
        rig: str = "",
        mix: str | None = None,
    ) -> list[Point]:
        """Points at ``n_kv`` (those of the rows if not given); with ``measured`` rows, points to learn from.

        A measured prompt of more than a micro-batch is so many equal ones, the last with all of it before.
        """
        given = list(measured) if measured is not None else [{"n_kv": n} for n in (self.n_kv if n_kv is None else n_kv)]
        named: dict[str, Any] = {"run": run, "rig": rig, "mix": mix_of(self.plan) if mix is None else mix}
        made = []
        for i, row in enumerate(given):
            tokens = int(row.get("pp") or self.plan.n_tokens)
            times = -(-tokens // self.plan.n_tokens)
            n = -(-tokens // times)
            quarter = row.get("tg") or max(1, self.plan.n_tokens // 4)
            for kind in ("pp", "tg"):
                rate = row.get("s_" + kind)
                if measured is not None and not rate:
                    continue
                about: dict[str, Any] = {"tokens": tokens, "times": times} if kind == "pp" else {"tokens": 1}
                before = row["n_kv"] + ((tokens - n) / 2 if kind == "pp" else quarter / 2)
                about["seconds"] = about["tokens"] / rate if rate else None
                weight = 1 / NOISE[kind] / np.sqrt(len(given))
                found = self.terms(n if kind == "pp" else 1)
                made.append(point(found, before, kind, **about, **named, weight=weight, first=i == 0))
        return made

    def _rows(self) -> list[dict[str, Any]]:
        points = self.points()
        log, sd = spread(points, self.plan)
        n, quarter = self.plan.n_tokens, max(1, self.plan.n_tokens // 4)
        rows = []
        for i, n_kv in enumerate(self.n_kv):
            row: dict[str, Any] = {"pp": n, "tg": quarter, "n_kv": n_kv}
            for kind, at, tokens in (("pp", 2 * i, n), ("tg", 2 * i + 1, quarter)):
                rate = points[at].tokens / np.exp(log[at])
                row[f"t_{kind}"], row[f"s_{kind}"] = float(tokens / rate), float(rate)
                row[f"s_{kind}_low"], row[f"s_{kind}_high"] = (float(rate * np.exp(sign * BAND * sd[at])) for sign in (-1, 1))
            rows.append(row)
        return rows

    def where(self, n_kv: int = 0) -> Where:
        """Seconds by cause of a micro-batch ("pp") and of one token ("tg") with ``n_kv`` tokens cached, most first."""
        _check(self.plan, n_kv)
        out = Where()
        for p in self.points([n_kv]):
            system = System([p])
            prior = prior_of(self.plan.machine)
            seconds, _ = system.groups(np.array([prior(n)[0] for n in system.names]))
            found: dict[str, float] = defaultdict(float)
            for group, s in zip(self.terms(p.tokens).groups, seconds.tolist()):
                found[f"{group.device}: {group.cause}"] += s
            out[p.kind] = dict(sorted(found.items(), key=lambda item: -item[1]))
        return out

    @property
    def settings(self) -> Any:
        """Those of the plan."""
        return self.plan.settings

    def to_markdown(self) -> str:
        """The table that llama-sweep-bench would print, with the 80 % bands."""
        lines = ["|" + "|".join(f"{n:>11}" for n in _HEAD) + "|", "|" + "|".join("-" * 11 for _ in _HEAD) + "|"]
        for r in self.rows:
            cells = [f"{r['pp']}", f"{r['tg']}", f"{r['n_kv']}"]
            for k in ("pp", "tg"):
                band = f"{r[f's_{k}_low']:.4g}-{r[f's_{k}_high']:.4g}"
                cells += [f"{r[f't_{k}']:.3f}", f"{r[f's_{k}']:.2f}", band]
            lines.append("|" + "|".join(f"{c:>11}" for c in cells) + "|")
        return "\n".join(lines)

    def to_jsonl(self, path: str | Path | None = None) -> str:
        """One JSON object a row; written to ``path`` when given."""
        text = "".join(json.dumps({**r, "forecast": True}) + "\n" for r in self.rows)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __str__(self) -> str:
        return "Forecast, not measured:\n\n" + self.to_markdown()

    def _repr_markdown_(self) -> str:
        return str(self)


def mix_of(plan: Plan) -> str:
    """What a model's own deviation is filed under: its name."""
    return plan.model.name.replace("|", "/")


def spread(points: list[Point], plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Log of seconds of points, and its standard deviation: what is not known of factors, and what no run repeats."""
    system = System(points)
    prior = prior_of(plan.machine)
    log, j = system.jacobian(np.array([prior(n)[0] for n in system.names]))
    variance = np.einsum("ij,jk,ik->i", j, covariance(system.names, plan.machine), j)
    return log, band_sd(variance, points)


def band_sd(variance: np.ndarray, points: list[Point]) -> np.ndarray:
    """Standard deviations from which bands are drawn: ``variance`` of the logs by the factors, and run-to-run noise."""
    return np.sqrt(BAND_SHARE * np.maximum(variance, 0) + np.array([BAND_NOISE[p.kind] for p in points]) ** 2)


def forecast(plan: Plan, n_kv: int | Iterable[int] | None = None) -> Forecast:
    """PP and TG of a ``plan`` with ``n_kv`` tokens cached: a number, several, or (None) the rows that llama-sweep-bench would
    print.

    Of more than 64 rows every so many is kept. The model of time is in docs/forecast.md.
    Raises IkexploreError for tokens that the context does not hold.

    >>> import ikexplore as ikx
    >>> model, rig = ikx.demo.header("qwen3-235b-a22b-iq4_xs"), ikx.Machine.load("tr7965wx-a6000")
    >>> f = ikx.plan(model, ikx.Settings.parse("-ngl 99 -ot exps=CPU -c 32768"), rig).forecast([0, 16384])
    >>> all(row["s_tg_low"] < row["s_tg"] < row["s_tg_high"] for row in f.rows)
    True
    >>> next(iter(f.where(16384)["tg"]))     # what takes most of the time of a token
    'CPU: experts'
    """
    n = plan.n_tokens
    if n_kv is None:
        every = list(range(0, max(1, plan.placement.context.n_ctx - n + 1), n))
        wanted = every[:: -(-len(every) // MOST_ROWS)]
    else:
        wanted = [n_kv] if isinstance(n_kv, (int, np.integer)) else list(n_kv)
        if not wanted:
            raise IkexploreError("n_kv is empty; give one or more numbers of cached tokens")
    for value in wanted:
        _check(plan, value)
    return Forecast(plan, tuple(int(v) for v in wanted))


def _check(plan: Plan, n_kv: Any) -> None:
    most = plan.placement.context.n_ctx - plan.n_tokens
    if isinstance(n_kv, bool) or not isinstance(n_kv, (int, np.integer)) or not 0 <= n_kv <= most:
        raise IkexploreError(
            f"n_kv {n_kv!r}: a context of {plan.placement.context.n_ctx} holds a micro-batch of {plan.n_tokens} after "
            f"0 to {most} tokens; give such a number, or a larger -c"
        )
