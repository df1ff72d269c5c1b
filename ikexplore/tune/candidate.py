"""``Candidate`` and ``Front``: what the tuner gives back."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

from ..forecast import Forecast
from ..models.model import Model
from ..schedule import plan
from ..schedule.plan import DeviceUse, Plan
from ..settings import Settings
from ..settings.line import quote
from .found import Rates

_HEAD = ("", "PP t/s", "80 % band", "TG t/s", "80 % band", "measured PP", "measured TG", "memory GiB", "flags")


@dataclass(eq=False)
class Candidate:
    """Settings that fit, with their forecast at the context asked for.

    ``pp`` and ``tg``: tokens/s, forecast, of a prompt that fills the context and of generating with half of it cached;
    ``pp_band`` and ``tg_band`` should hold 80 % of measurements. ``measured``: (PP, TG) where it was run, else None.
    ``why``: two sentences. ``recipe`` and ``quantize``: quant types, and the command that makes the file, where a size
    was asked for; ``model`` is then the model in these types.
    """

    settings: Settings
    model: Model
    machine: Any
    rates: Rates
    why: str
    measured: tuple[float, float] | None = None
    recipe: Any = None
    quantize: str = ""
    runs: list = field(default_factory=list, repr=False)  #: measured sweeps

    @property
    def pp(self) -> float:
        """Tokens/s of a prompt that fills the context, forecast."""
        return self.rates.pp[0]

    @property
    def tg(self) -> float:
        """Tokens/s of generating with half of the context cached, forecast."""
        return self.rates.tg[0]

    @property
    def pp_band(self) -> tuple[float, float]:
        """(low, high) tokens/s that should hold 80 % of measurements of ``pp``."""
        return self.rates.pp[1:]

    @property
    def tg_band(self) -> tuple[float, float]:
        """(low, high) tokens/s that should hold 80 % of measurements of ``tg``."""
        return self.rates.tg[1:]

    @cached_property
    def plan(self) -> Plan:
        """The exact plan."""
        return plan(self.model, self.settings, self.machine)

    @cached_property
    def forecast(self) -> Forecast:
        """Rows as a sweep would print them, computed."""
        return self.plan.forecast()

    @property
    def devices(self) -> list[DeviceUse]:
        """What each device holds, of what it has free (less what was to be left)."""
        return self.plan.devices

    @property
    def memory(self) -> dict[str, float]:
        """Device -> MiB that it must hold."""
        return {d.name: d.total_mib for d in self.devices}

    def command(self, profile: str | None = None, program: str = "") -> str:
        """The flags to paste; with ``program`` it and ``-m`` in front. Reading the flags back gives ``settings``."""
        flags = self.settings.command(profile)
        if not program:
            return flags
        path = str(self.model.path)
        return " ".join([program, "-m", quote(path) if path.endswith(".gguf") else "MODEL.gguf", flags])

    def __repr__(self) -> str:
        return f"<Candidate forecast PP {self.pp:.4g} TG {self.tg:.4g} t/s: {self.command()}>"


class Front(list):
    """Candidates of which none beats another in both rates, best by the goal first.

    ``tried`` settings of switches, ``planned`` exact plans, ``seconds`` taken; ``stopped``: by Ctrl-C; ``complete``: all
    neighbours of what is shown were tried. ``rig``: the machine, corrected by measurements where there were any.
    """

    def __init__(self, candidates: Iterable[Candidate] = (), **about: Any):
        super().__init__(candidates)
        self.tried: int = about.get("tried", 0)
        self.planned: int = about.get("planned", 0)
        self.seconds: float = about.get("seconds", 0.0)
        self.stopped: bool = about.get("stopped", False)
        self.complete: bool = about.get("complete", False)
        self.rig: Any = about.get("rig")

    def to_markdown(self) -> str:
        """A table, a line a candidate."""
        head, *rows = self._table()
        lines = [_line([*cells, f"`{flags}`"]) for *cells, flags in rows]
        return "\n".join([_line(head), _line(["---" for _ in head]), *lines])

    def _table(self) -> list[list[str]]:
        """The heads and a row a candidate, the flags last; without measurements no columns for them."""
        ran = any(c.measured for c in self)
        keep = [i for i in range(len(_HEAD)) if ran or i not in (5, 6)]
        return [[cells[i] for i in keep] for cells in (_HEAD, *(_cells(n, c) for n, c in enumerate(self, 1)))]

    def to_text(self) -> str:
        """Aligned columns for a terminal, then a command and the reasons for each."""
        rows = [_HEAD[:8], *(_cells(n, c)[:8] for n, c in enumerate(self, 1))]
        keep = [i for i in range(8) if i not in (5, 6) or any(c.measured for c in self)]
        wide = [max(len(r[i]) for r in rows) for i in keep]
        lines = ["  ".join(r[i].rjust(w) for i, w in zip(keep, wide)).rstrip() for r in rows]
        for n, c in enumerate(self, 1):
            lines += ["", f"{n}. {c.why}", *([f"   {c.quantize}"] if c.quantize else []), f"   {c.command()}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Not Markdown: some of its readers show the escaped | of a regex in a table as \\|, which is another regex."""
        head, *rows = self._table()
        lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
        for *cells, flags in rows:
            plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            lines.append(f'<tr>{plain}<td style="text-align: left"><code>{escape(flags)}</code></td></tr>')
        return f"<p>Forecast, not measured, unless it says so:</p><table>{''.join(lines)}</table>"


def _cells(n: int, c: Candidate) -> list[str]:
    bands = [f"{low:.4g}-{high:.4g}" for low, high in (c.pp_band, c.tg_band)]
    ran = [f"{v:.4g}" for v in c.measured] if c.measured else ["", ""]
    held = ", ".join(f"{d.name} {d.total_mib / 1024:.1f}" for d in c.devices)
    return [str(n), f"{c.pp:.4g}", bands[0], f"{c.tg:.4g}", bands[1], *ran, held, c.command()]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
