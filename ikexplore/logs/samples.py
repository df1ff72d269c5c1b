"""What is compared: runs, sweeps and lists of them as samples of rates, and what else differs between two sides."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import IkexploreError
from .run import Run

#: keys of a row that are compared, with the name that tables use
METRICS = {"s_pp": "PP", "s_tg": "TG"}
#: figures that do not make a difference by themselves
_QUIET = frozenset(("metadata", "print_meta", "system_info", "kv_self_text", "repack_lines", "layer_sizes_mib",
                    "n_kv_pairs", "devices_free_mib", "ctx_size_mib", "graph_splits_text"))  # fmt: skip
#: half a unit of the last printed digit of a rate: no two runs are closer than that
_ROUNDING = 0.005 / math.sqrt(3)


@dataclass
class Sample:
    """Rates at one context: single values in the order in which they were measured, or only their mean and spread.

    ``mean`` and ``sd`` are of the natural logarithm of the rate, so that ``sd`` is the relative spread of a single run.
    """

    mean: float
    sd: float
    n: int
    values: np.ndarray | None = None

    @property
    def rate(self) -> float:
        """The typical rate in tokens/s: the geometric mean."""
        return math.exp(self.mean)


def sample_of(rates: list[float]) -> Sample:
    """A sample of measured rates."""
    logs = np.log(np.asarray(rates, dtype=np.float64))
    floor = _ROUNDING / math.exp(float(logs.mean()))
    sd = max(float(logs.std(ddof=1)), floor) if len(logs) > 1 else 0.0
    return Sample(float(logs.mean()), sd, len(logs), logs)


def summary(mean: float, sd: float, n: int) -> Sample:
    """A sample of which only mean and standard deviation are known (to first order in sd / mean)."""
    relative = max(sd / mean, _ROUNDING / mean)
    return Sample(math.log(mean) - relative**2 / 2, relative, n)


@dataclass
class Side:
    """One side of a comparison."""

    name: str
    samples: dict[str, dict[Any, Sample]]
    #: metric -> one dict per repetition: point -> logarithm of the rate; empty where only means are known
    series: dict[str, list[dict[Any, float]]]
    n_runs: int
    sizes: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)


def side_of(source: Any, name: str) -> Side:
    """A side from a Sweep, a Run, a list of rows, or a list of Sweeps or Runs as repetitions. Raises IkexploreError."""
    items = _items(source, name)
    tables = [_rows_of(item, name) for item in items]
    side = Side(name, {m: {} for m in METRICS}, {m: [] for m in METRICS}, len(items))
    for metric in METRICS:
        grouped = [_by_point(rows, metric) for rows in tables]
        if len(items) > 1:
            _from_runs(side, metric, grouped)
        else:
            _from_one(side, metric, grouped[0])
    if not any(side.samples.values()):
        raise IkexploreError(
            f"{name}: no row with a rate; give a run that printed a table, timing lines or a llama-bench table"
        )
    side.sizes = {row["_point"]: (row.get("pp"), row.get("tg")) for rows in tables for row in rows}
    facts = [facts_of(item) for item in items]
    side.facts = facts[0]
    side.mixed = sorted(
        {key for other in facts[1:] for key in {*other, *facts[0]} if other.get(key) != facts[0].get(key)}
    )
    return side


def _items(source: Any, name: str) -> list[Any]:
    if isinstance(source, (list, tuple)):
        if not source:
            raise IkexploreError(f"{name}: an empty list holds nothing to compare; give one run or more")
        return [list(source)] if all(isinstance(item, dict) for item in source) else list(source)
    return [source]


def _rows_of(item: Any, name: str) -> list[dict[str, Any]]:
    """Rows with ``_point``: the n_kv of a table, or the name of a llama-bench test."""
    if isinstance(item, Run) and not item.rates and item.bench:
        return [row for bench in item.bench if (row := _bench(item, bench))]
    rows = item if isinstance(item, list) else item.rates if isinstance(item, Run) else getattr(item, "rows", None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise IkexploreError(f"{name}: {type(item).__name__} has no rows; give a Sweep, a Run or a list of either")
    return [{**row, "_point": row.get("n_kv", 0)} for row in rows]


def _bench(run: Run, row: dict[str, Any]) -> dict[str, Any] | None:
    """A llama-bench row as one of a sweep; -r says over how many repetitions the mean was taken (5 by default)."""
    if not row.get("s") or ("pp" not in row and "tg" not in row):
        return None
    said = [words[1] for words in (run.settings.other if run.settings else ()) if words[0] == "--reverse-prompt"]
    n = int(said[-1]) if said and said[-1].isdigit() else 5
    key = "s_tg" if not row.get("pp") else "s_pp"
    point = row.get("test") or f"pp{row.get('pp')} tg{row.get('tg')} @ d{row.get('n_kv', 0)}"
    found = {
        "_point": point,
        "pp": row.get("pp"),
        "tg": row.get("tg"),
        key: row["s"],
        "repetitions": n if row.get("s_sd") else 1,
    }
    if row.get("s_sd"):
        found[f"{key}_sd"] = row["s_sd"]
    if isinstance(row.get("samples_ts"), list):
        found[f"{key}_all"] = row["samples_ts"]
    return found


def _by_point(rows: list[dict[str, Any]], metric: str) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        rate = row.get(metric)
        if isinstance(rate, (int, float)) and math.isfinite(rate) and rate > 0:
            found.setdefault(row["_point"], []).append(row)
    return found


def _from_runs(side: Side, metric: str, runs: list[dict[Any, list[dict[str, Any]]]]) -> None:
    """Each run is one repetition; rows of one run at the same context count once, by their mean."""
    for rows in runs:
        means = {point: float(np.mean([math.log(row[metric]) for row in same])) for point, same in rows.items()}
        side.series[metric].append(means)
    for point in dict.fromkeys(point for means in side.series[metric] for point in means):
        side.samples[metric][point] = sample_of([math.exp(m[point]) for m in side.series[metric] if point in m])


def _from_one(side: Side, metric: str, rows: dict[Any, list[dict[str, Any]]]) -> None:
    """One run: its rows may hold single values, or means over repetitions, or come several times."""
    lists: dict[Any, list[float]] = {}
    for point, same in rows.items():
        row, every = same[0], same[0].get(f"{metric}_all")
        if len(same) == 1 and isinstance(every, list) and len(every) > 1 and all(_positive(x) for x in every):
            lists[point] = [float(x) for x in every]
        elif len(same) == 1 and row.get("repetitions", 1) > 1 and _positive(row.get(f"{metric}_sd")):
            side.samples[metric][point] = summary(row[metric], row[f"{metric}_sd"], int(row["repetitions"]))
            continue
        else:
            lists[point] = [row[metric] for row in same]
        side.samples[metric][point] = sample_of(lists[point])
    for i in range(max(map(len, lists.values()), default=0)):
        side.series[metric].append({point: math.log(rates[i]) for point, rates in lists.items() if i < len(rates)})


def _positive(number: Any) -> bool:
    return isinstance(number, (int, float)) and math.isfinite(number) and number > 0


# ---- what else differs ----


def facts_of(item: Any) -> dict[str, Any]:
    """Settings, model, machine and startup figures of a Sweep or a Run, flat, as far as they are known."""
    found: dict[str, Any] = {}
    settings = getattr(item, "settings", None)
    if settings is not None:
        found["profile"] = settings.profile
        found.update({f"settings.{name}": getattr(settings, name) for name in settings.given})
        found.update({f"env.{name}": value for name, value in settings.env.items()})
        if settings.prefix:
            found["prefix"] = " ".join(settings.prefix)
        if settings.extra:
            found["unknown flags"] = " ".join(word for group in settings.extra for word in group)
    model = getattr(item, "model", None)
    if model:
        found["model"] = model if isinstance(model, str) else getattr(model, "name", str(model))
    if isinstance(item, Run):
        found.update({name: getattr(item, name) for name in ("engine", "program") if getattr(item, name)})
        found.update(
            {
                key: value
                for key, value in item.startup.items()
                if key not in _QUIET and key not in ("main", "model_file")
            }
        )
        found.update({f"main.{key}": value for key, value in item.startup.get("main", {}).items()})
    elif getattr(item, "machine", None) is not None:
        found["machine"] = machine_text(item.machine)
    found.update(getattr(item, "facts", None) or {})
    return found


def machine_text(machine: Any) -> str:
    """A machine in words that two looks at it share: without what is free at the moment."""
    parts = []
    for device in getattr(machine, "devices", ()):
        threads = f", {device.threads} threads" if device.threads else ""
        parts.append(f"{device.title}{threads}, {device.total_mib} MiB")
    return "; ".join(parts) or str(machine)


def differences(a: Any, b: Any, facts_a: dict[str, Any], facts_b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, value of a, value of b) of all that is known of both sides and differs; defaults stand for switches not
    given."""
    found = []
    first_a, first_b = (x[0] if isinstance(x, (list, tuple)) and x else x for x in (a, b))
    both = [getattr(x, "settings", None) for x in (first_a, first_b)]
    for key in dict.fromkeys((*facts_a, *facts_b)):
        left, right = facts_a.get(key), facts_b.get(key)
        if key.startswith("settings.") and all(both):
            left, right = (getattr(settings, key.removeprefix("settings."), None) for settings in both)
        elif (left is None or right is None) and not (key.startswith(("env.", "prefix", "unknown")) and all(both)):
            continue
        if left != right:
            found.append((key.removeprefix("settings."), left, right))
    return found
