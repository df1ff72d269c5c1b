"""Figures that a plan forecasts and a real program prints, side by side. Both are read by the same reader."""

from typing import Any

from ..logs import Run, read

#: figures that say nothing about a plan, or that a program prints in other words than the plan's log
_QUIET = frozenset(("metadata", "print_meta", "system_info", "build", "kv_self_text", "model_file", "main", "devices"))
#: rounding of one printed size in MiB; the sum of several lines may be off by as many
_ROUNDING = 0.0051
Difference = tuple[str, Any, Any]


def differences(plan: Any, run: Run) -> list[Difference]:
    """(figure, planned, printed) of everything that both state and that is not equal.

    Buffers are summed by name (a file with several parts prints a line for each). What the program did not print is not
    compared. A size counts as equal within 0.005 MiB per printed line, which is its rounding.
    """
    planned = planned_figures(plan)
    found: list[Difference] = []
    for key, value in planned.items():
        printed = run.startup.get(key)
        if key in _QUIET or printed is None:
            continue
        if _is_sizes(value) and _is_sizes(printed):
            found += _sizes(key, value, printed)
        elif isinstance(value, float) and isinstance(printed, (int, float)):
            found += [(key, value, printed)] if abs(value - printed) > _ROUNDING else []
        elif value != printed:
            found.append((key, value, printed))
    return found


def compared(plan: Any, run: Run) -> int:
    """How many figures of the plan the program printed too."""
    return sum(key not in _QUIET and key in run.startup for key in planned_figures(plan))


def planned_figures(plan: Any) -> dict[str, Any]:
    """What the reader finds in the plan's own log."""
    runs = read(plan.log() + "\n")
    return dict(runs[0].startup) if runs else {}


def sentences(found: list[Difference]) -> list[str]:
    """Differences in words."""
    return [f"{name}: the plan says {planned}, the program printed {printed}" for name, planned, printed in found]


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, (list, tuple)) and len(item) == 2 for item in value)


def _sizes(key: str, planned: list, printed: list) -> list[Difference]:
    """Buffers that differ, by name."""
    sums: list[dict[str, float]] = [{}, {}]
    lines: dict[str, int] = {}
    for side, items in zip(sums, (planned, printed)):
        for name, mib in items:
            side[name] = side.get(name, 0.0) + mib
            lines[name] = lines.get(name, 0) + 1
    found: list[Difference] = []
    for name in dict.fromkeys((*sums[0], *sums[1])):
        left, right = sums[0].get(name), sums[1].get(name)
        # a buffer of 0 MiB may be printed or not
        if abs((left or 0.0) - (right or 0.0)) > _ROUNDING * lines[name]:
            found.append((f"{key} {name}", left and round(left, 2), right and round(right, 2)))
    return found
