"""What a grid found: a record per point and repetition, tables, the best point, a figure."""

import math
import os
from typing import Any

from ..errors import IkexploreError
from ..logs.run import escaped
from ..settings import Settings


class Grid:
    """Results of a grid. ``records``: one dict per point and repetition with ``values`` (axis -> text), ``status`` ("done",
    "failed", "skipped"), ``reason``, ``settings`` (command line), ``profile``, ``rows``, ``rig``, ``seconds``, ``facts``.
    ``unfinished``: what had been measured of a point when the grid was stopped; it is not in the journal."""

    def __init__(self, records: list[dict[str, Any]], journal: str | None = None, stopped: bool = False,
                 warnings: list[str] | None = None, unfinished: list[dict[str, Any]] | None = None):  # fmt: skip
        self.records, self.journal, self.stopped = records, journal, stopped
        self.warnings, self.unfinished = list(warnings or []), list(unfinished or [])
        rigs = sorted({str(r["rig"]) for r in self.done if r.get("rig")})
        if len(rigs) > 1 and not any("machines" in text for text in self.warnings):
            self.warnings.append(f"measured on {len(rigs)} machines ({', '.join(rigs[:4])}): differences between points may be "
                                 "differences between machines; compare within a rig")  # fmt: skip

    @classmethod
    def load(cls, journal: str | os.PathLike[str]) -> "Grid":
        """The results that a journal holds; another process may still be writing it. Raises IkexploreError."""
        from .journal import Journal

        book = Journal.read(journal)
        return cls(book.records, os.fspath(journal), False, book.warnings)

    @property
    def done(self) -> list[dict[str, Any]]:
        """Records with rows."""
        return [record for record in self.records if record["status"] == "done"]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Records of points whose run went wrong."""
        return [record for record in self.records if record["status"] == "failed"]

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Records of points that were not run, with the reason."""
        return [record for record in self.records if record["status"] == "skipped"]

    @property
    def axes(self) -> list[str]:
        """Names of the axes, in the order of the grid."""
        return list(dict.fromkeys(axis for record in self.records for axis in record["values"]))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every measured row: the axes' values, repetition, rig, and the columns of a sweep."""
        return [
            {**{axis: record["values"].get(axis, "") for axis in self.axes}, "repetition": record["repetition"],
             "rig": record.get("rig", ""), "status": record["status"], **row, "settings": record["settings"]}
            for record in self.records for row in record.get("rows", ())
        ]  # fmt: skip

    def runs(self, **values: str) -> list[list[dict[str, Any]]]:
        """The rows of each repetition of the points with these values, for ``ikx.compare``.

        ``grid.runs(rtr="on", ub="512")``; texts as the table shows them. Raises IkexploreError when there are none.
        """
        asked = {axis: str(text) for axis, text in values.items()}
        unknown = [axis for axis in asked if axis not in self.axes]
        found = [r["rows"] for r in self.done if all(r["values"].get(axis) == text for axis, text in asked.items())]
        if unknown or not found:
            raise IkexploreError(f"no finished point with {asked}; the axes are {', '.join(self.axes)}, values as in the table")
        return found

    # ---- tables ----

    def points(self, n_kv: int | None = None) -> list[dict[str, Any]]:
        """One dict per point and rig: axes, ``settings``, ``profile``, ``n``, and mean and standard deviation of s_pp and s_tg
        over the repetitions, at ``n_kv`` (default: the smallest context that each point has)."""
        grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for record in self.done:
            grouped.setdefault((record["key"], str(record.get("rig", ""))), []).append(record)
        found = []
        for (_, rig), records in grouped.items():
            rows = [row for r in records if (row := _at(r["rows"], n_kv)) is not None]
            if rows:
                first = records[0]
                found.append({**first["values"], "rig": rig, "n": len(rows), "n_kv": rows[0]["n_kv"], **_means(rows),
                              "settings": first["settings"], "profile": first["profile"]})  # fmt: skip
        return sorted(found, key=lambda point: [_natural(point.get(axis, "")) for axis in self.axes])

    def best(self, metric: str = "s_tg", n_kv: int | None = None) -> "Best":
        """The point with the highest mean of "s_pp" or "s_tg" at ``n_kv``; ``.command()`` gives the line to paste.

        Raises IkexploreError when nothing is finished or the metric is another.
        """
        if metric not in ("s_pp", "s_tg"):
            raise IkexploreError(f"metric {metric!r}: give 's_pp' or 's_tg'")
        found = self.points(n_kv)
        if not found:
            where = f" at n_kv {n_kv}" if n_kv is not None else ""
            raise IkexploreError(f"no point is finished{where}; run the grid first")
        return Best(max(found, key=lambda point: point[metric]))

    def to_pandas(self) -> Any:
        """All rows as a pandas DataFrame; skipped and failed points are rows without rates.

        Raises IkexploreError where pandas is not installed."""
        pandas = needed("pandas", "pip install pandas")
        rows = self.rows
        rows += [
            {**r["values"], "repetition": r["repetition"], "rig": r.get("rig", ""), "status": r["status"],
             "reason": r.get("reason", ""), "settings": r["settings"]}
            for r in self.records if not r.get("rows")
        ]  # fmt: skip
        return pandas.DataFrame(rows)

    def to_markdown(self, n_kv: int | None = None) -> str:
        """A line per point: axes, repetitions, PP and TG with their spread; then what was skipped or failed, and warnings."""
        names = [*self.axes, *(["rig"] if len({r.get("rig") for r in self.done}) > 1 else [])]
        lines = ["| " + " | ".join([*names, "n", "N_KV", "S_PP t/s", "±", "S_TG t/s", "±"]) + " |",
                 "|" + "---|" * len(names) + "---:|" * 6]  # fmt: skip
        for point in self.points(n_kv):
            cells = [str(point.get(name, "")) for name in names] + [str(point["n"]), str(point["n_kv"])]
            cells += [f"{point[key]:.2f}" for key in ("s_pp", "s_pp_sd", "s_tg", "s_tg_sd")]
            lines.append("| " + " | ".join(escaped(cell) for cell in cells) + " |")
        lines.append("")
        for record in (*self.skipped, *self.failed):
            said = ", ".join(f"{axis} {text}" for axis, text in record["values"].items())
            lines.append(f"- {record['status']}: {escaped(said)}: {escaped(str(record.get('reason', '')))}")
        lines += [f"- {escaped(text)}" for text in self.warnings]
        return "\n".join(lines).rstrip()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def __repr__(self) -> str:
        said = f"{len(self.done)} measured, {len(self.skipped)} skipped, {len(self.failed)} failed"
        return f"<Grid of {' x '.join(self.axes)}: {said}{', stopped' if self.stopped else ''}>"

    def plot(self, n_kv: int | None = None, kind: str = "parallel") -> Any:
        """A figure of this ``kind``: "parallel" coordinates (a line per point through its values to its rates at ``n_kv``), or
        "facets" (rates against context, a panel per value of the first axis). Raises IkexploreError for another kind.
        """
        from .. import plots

        if kind == "parallel":
            return plots.parallel(self.axes, self.points(n_kv))
        if kind == "facets":
            return plots.facets(self.axes, self.rows)
        raise IkexploreError(f"kind {kind!r}: give 'parallel' or 'facets'")


class Best:
    """The point of a grid that won. ``point``: its dict from ``Grid.points``; ``settings``: its Settings."""

    def __init__(self, point: dict[str, Any]):
        self.point = point
        self.settings = Settings.parse(point["settings"], point["profile"])

    def command(self, profile: str | None = None) -> str:
        """The command line to paste, without the program and -m."""
        return self.settings.command(profile)

    def __repr__(self) -> str:
        p = self.point
        return f"<{self.command() or 'defaults'}: PP {p['s_pp']:.2f}, TG {p['s_tg']:.2f} t/s at n_kv {p['n_kv']}>"


def needed(name: str, how: str) -> Any:
    """An optional package. Raises IkexploreError that says how to get it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise IkexploreError(f"this needs {name}, which is not installed; {how}") from None


def _natural(text: str) -> tuple[float, str]:
    """Numbers by size, texts behind them by letter."""
    try:
        return float(text), ""
    except ValueError:
        return math.inf, text


def _at(rows: list[dict[str, Any]], n_kv: int | None) -> dict[str, Any] | None:
    if n_kv is None:
        return min(rows, key=lambda row: row["n_kv"], default=None)
    return next((row for row in rows if row["n_kv"] == n_kv), None)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and standard deviation (n - 1) of the rates; with one row the spread that it brought along."""
    out = {}
    for key in ("s_pp", "s_tg"):
        values = [row[key] for row in rows]
        mean = math.fsum(values) / len(values)
        if len(values) > 1:
            spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))
        else:
            spread = rows[0].get(f"{key}_sd", 0.0)
        out[key], out[f"{key}_sd"] = mean, spread
    return out
