"""The reference's logits as a table of cases: a model, the reference's name of a run, and what must hold of ours.

Keys are those of the reference set: ``<build>/<options>/<one|split>[/pos]`` for F16 files, ``<TYPE>/<run>`` for
quantized ones. ``flags`` turns options into a command line; ``run`` evaluates as the reference did.
"""

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import ikexplore as ikx
from ikexplore.run import Session

F16_BOUND = 5e-4  #: relative L2 of logits that an F16 run may be away from the reference
#: what the reference's own paths of latent attention (-mla x -fa, ubatches) are apart in F16
LATENT_BOUND = 6.5e-4
#: the same cache, byte for byte; but the reference rounds queries and weights to 8 bits where it multiplies with one
CACHE_BOUND = 0.026
#: how much farther from an f16 cache a run may be than the reference's: the error is that of the cache, nearly the same
CACHE_SLACK = 1.1
#: quantized runs are this many times as far from the reference as it is from ideal arithmetic: two independent roundings
QUANT_SLACK = 1.5

_SWITCH = {"fa=0": "-no-fa", "fa=1": "-fa on", "fug=0": "-no-fug", "mmad=0": "-no-mmad", "fmoe=0": "-no-fmoe",
           "khad=1": "-khad",
           "mqkv=1": "-mqkv", "muge=1": "-muge", "ger=1": "-ger", "rtr": "-rtr", "rtr=1": "-rtr", "gr=0": "-no-gr"}  # fmt: skip
_VALUE = {"ctk": "-ctk", "ctv": "-ctv", "mla": "-mla", "amb": "-amb", "t": "-t", "rope_freq_base": "--rope-freq-base"}


def flags(options: str) -> tuple[str, dict[str, object]]:
    """(command line, metadata to change) of options such as ``fa=1,mla=3,ctk=q8_0``. KeyError for one that has none."""
    options, _, meta = options.partition(",meta:")
    words = []
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        words.append(_SWITCH[option] if option in _SWITCH else f"{_VALUE[name]} {value.lower()}")
    changed: dict[str, object] = {}
    for pair in filter(None, meta.split(",")):
        key, value = pair.split("=")
        key = "rope.scaling." + key.removeprefix("rope.scaling.")
        changed[key] = value if key.endswith("type") else float(value) if key.endswith("factor") else int(value)
    return " ".join(words), changed


def with_metadata(model: ikx.Model, changed: dict[str, object]) -> ikx.Model:
    """The model with keys of its architecture changed."""
    meta = {**model.metadata, **{f"{model.arch}.{k}": v for k, v in changed.items()}}
    return ikx.Model(model.tensors.values(), meta, model.path, model.files, model.file_bytes)


def widened(model: ikx.Model) -> ikx.Model:
    """The same weights as float32: ideal arithmetic. The factors of two trellis types belong to the products."""
    from ikexplore_kernels.formats import get

    new = {}
    for t in model.tensors.values():
        if t.type != "f32":
            values = get(t.type).decode(model.data(t.name).reshape(-1, t.row_bytes), t.shape[0])
            factor = {"iq2_kt": 1.05, "iq3_kt": 1.01}.get(t.type, 1.0)
            new[t.name] = ("f32", (values * np.float32(factor)).reshape(-1).view(np.uint8))
    return model.replaced(new)


def run(model: ikx.Model, tokens: np.ndarray, line: str = "", how: str = "one") -> np.ndarray:
    """Logits of all tokens: in one ubatch, or ("split") in ubatches of 32 and the last 16 tokens one by one."""
    threads = "" if "-t " in line else "-t 2"
    ubatch = "-b 32 -ub 32" if how == "split" else "-b 512 -ub 512"
    with Session(model, ikx.Settings.parse(f"-c 512 {threads} {ubatch} {line}")) as session:
        if how == "one":
            return session.eval(tokens, len(tokens))
        n = len(tokens) - 16
        parts = [session.eval(tokens[at : min(n, at + 32)], min(32, n - at)) for at in range(0, n, 32)]
        return np.concatenate(parts + [session.eval([t]) for t in tokens[n:]])


def distance(got: np.ndarray, want: np.ndarray, by_row: bool = False) -> float:
    """Relative L2; ``by_row``: the median over rows, since one expert chosen otherwise moves a single row."""
    if by_row:
        return float(np.median(np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)))
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@dataclass(frozen=True)
class Row:
    """One line of the table: what was compared, how far apart it is and may be."""

    model: str
    case: str
    what: str
    got: float
    bound: float

    @property
    def good(self) -> bool:
        return self.got <= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.good else "FALLS SHORT"
        return f"| {self.model} | {self.case} | {self.what} | {100 * self.got:.4f} | {100 * self.bound:.4f} | {verdict} |"


class Reference:
    """One model's folder of the reference set."""

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.name
        self.found = np.load(folder / "logits.npz")
        self.info = json.loads((folder / "info.json").read_text())
        self.tokens, self.pos = self.found["tokens"], self.found["pos"]
        self.model = ikx.open(folder / "model-f16.gguf")
        self.latent = self.model.hparams.is_mla
        self._ours: dict[tuple, np.ndarray] = {}

    @cached_property
    def quants(self) -> dict:
        path = self.folder / "quant.json"
        return json.loads(path.read_text())["types"] if path.exists() else {}

    @cached_property
    def quant_logits(self) -> dict[str, np.ndarray]:
        path = self.folder / "quant.npz"
        return dict(np.load(path)) if path.exists() else {}

    @property
    def base(self) -> np.ndarray:
        return self.found[self.info["base"]]

    def ours(self, model: ikx.Model, tag: str, options: str, how: str = "one") -> np.ndarray:
        key = (tag, options, how)
        if key not in self._ours:
            line, changed = flags(options)
            self._ours[key] = run(with_metadata(model, changed) if changed else model, self.tokens, line, how)
        return self._ours[key]

    def f16_keys(self) -> list[str]:
        """Runs of the reference of this commit that did not fail and that have logits (or those of another run)."""
        same = self.info.get("same_as", {})
        return [k for k in [*self.found.files, *same] if k.split("/")[0] in ("head", "head-f32weights")]

    def cache_row(self, key: str) -> Row:
        """A run with another cache type, against the run with an f16 cache: nearly as far as the reference's is."""
        _, options, how, *_ = key.split("/")
        want, moe = self.found[self.info.get("same_as", {}).get(key, key)], self.model.hparams.is_moe
        got, ideal = self.ours(self.model, "head", options, how)[self.pos], self.base[self.pos]
        bound = CACHE_SLACK * distance(want, ideal, moe)
        return Row(self.name, key, "to an f16 cache", distance(got, ideal, moe), bound)

    def f16_row(self, key: str) -> Row:
        """Our run against the reference's: within rounding, of 8 bits with another cache type."""
        build, options, how, *rows = key.split("/")
        source = self.info.get("same_as", {}).get(key, key)
        model = widened(self.model) if build == "head-f32weights" else self.model
        got, want = self.ours(model, build, options, how), self.found[source]
        got = got[self.pos] if rows else got
        if "ctk" in options:
            return Row(self.name, key, "to the reference", distance(got, want, self.model.hparams.is_moe), CACHE_BOUND)
        return Row(self.name, key, "to the reference", distance(got, want), LATENT_BOUND if self.latent else F16_BOUND)

    def other_rows(self) -> list[Row]:
        """Runs of which the set holds only how far they are from the reference's base run: as far from ours at most."""
        out = []
        for key, facts in self.info["vs_base"].items():
            build, options, how, *_ = *key.split("/"), "", ""
            if build != "head" or key in self.found.files or key in self.info.get("failed", {}) or "q8_KV" in key:
                continue
            try:
                flags(options)
            except KeyError:
                continue
            got = self.ours(self.model, "head", options, how)
            moe = self.model.hparams.is_moe and "ctk" in options
            bound = facts["median_row_rel_l2" if moe else "rel_l2"] * (CACHE_SLACK if "ctk" in options else 1.001)
            bound = max(bound, LATENT_BOUND if self.latent else F16_BOUND)
            out.append(Row(self.name, key, "to the base run", distance(got, self.base, moe), bound))
        return out

    def quantized(self, kind: str) -> ikx.Model:
        """The quantized file of a type, or one made as it was (--pure, output and embedding q8_0)."""
        path = self.folder / "quant" / f"{kind}.gguf"
        if path.exists():
            return ikx.open(path)
        recipe = ikx.Recipe(kind.lower(), pure=True, output="q8_0", embedding="q8_0")
        with tempfile.TemporaryDirectory() as folder:
            imatrix = ikx.Imatrix.load(self.folder / "imatrix.dat") if self.quants[kind]["imatrix"] else None
            ikx.quantize(self.model, Path(folder) / "q.gguf", recipe, imatrix=imatrix)
            made = ikx.open(Path(folder) / "q.gguf")
            return made.replaced({t.name: (t.type, np.array(made.data(t.name))) for t in made.tensors.values()})

    def quant_rows(self, kind: str) -> list[Row]:
        """A quantized model: as near to ideal arithmetic as the reference is, and near to the reference."""
        model, found, moe = self.quantized(kind), self.quant_logits, self.model.hparams.is_moe
        base = "fa=1,mla=3" if self.latent else "fa=1"
        one = self.ours(model, kind, base)
        if f"{kind}/deq-f32" not in found:
            ideal = self.ours(widened(model), f"{kind} as f32", base)
            facts = self.quants[kind].get("vs_deq", {}).get("one")
            rows = [] if facts is None else [Row(self.name, f"{kind}/one", "to ideal, reference's own figure",
                    distance(one, ideal, moe), facts["median_row_rel_l2" if moe else "rel_l2"])]  # fmt: skip
            return rows + self._near(kind, one, moe)
        ideal, rows = found[f"{kind}/deq-f32"], self._near(kind, one, moe)
        for key in [k for k in found if k.startswith(f"{kind}/") and not k.endswith("/deq-f32")]:
            name = key.split("/")[1]
            options = base if name in ("one", "split") else _merged(base, name)
            got = self.ours(model, kind, options, "split" if name == "split" else "one")[self.pos]
            want = found[key][self.pos] if len(found[key]) > len(self.pos) else found[key]
            slack = CACHE_SLACK if "ctk" in name else 1
            rows.append(Row(self.name, key, "to ideal, reference's own", distance(got, ideal, moe),
                            slack * distance(want, ideal, moe)))  # fmt: skip
        return rows

    def _near(self, kind: str, one: np.ndarray, moe: bool) -> list[Row]:
        want = self.quant_logits.get(f"{kind}/one")
        facts = self.quants[kind].get("vs_deq", {}).get("one")
        if want is None or facts is None:
            return []
        near = QUANT_SLACK * facts["median_row_rel_l2" if moe else "rel_l2"]
        got = one if len(want) == len(one) else one[self.pos]
        return [Row(self.name, f"{kind}/one", "to the reference", distance(got, want, moe), near)]

    def text_rows(self, folder: Path) -> list[Row]:
        """Perplexity of text.txt, and 32 tokens after the sequence as far as the reference's choice is clear."""
        found = ikx.perplexity(self.model, (folder / "text.txt").read_text(), ctx=128, settings=ikx.Settings.parse("-t 2"))
        want = self.info["ppl_text"]["head"]["ppl"]
        rows = [Row(self.name, "perplexity", f"{found.value:.4f} to {want}", abs(found.value / want - 1), 1e-3)]
        greedy = next(v for v in self.info["greedy"].values() if "top1_minus_top2" in v)
        got = followed(self.model, self.tokens, greedy["ids"])
        clear = [g > 0.02 for g in greedy["top1_minus_top2"]]
        wrong = sum(a != b for a, b, sure in zip(got, greedy["ids"], clear) if sure)
        return [*rows, Row(self.name, "greedy", f"tokens of {sum(clear)} that differ", wrong / 100, 0)]


def followed(model: ikx.Model, tokens: np.ndarray, ids: list[int]) -> list[int]:
    """The most likely token after ``tokens``, then after each of ``ids`` added to them."""
    with Session(model, ikx.Settings.parse("-c 512 -t 2 -b 512 -ub 512")) as session:
        out = [int(session.eval(tokens)[0].argmax())]
        return out + [int(session.eval([i])[0].argmax()) for i in ids[:-1]]


def _merged(base: str, more: str) -> str:
    """Options of the base run with some replaced."""
    names = {o.split("=")[0] for o in more.split(",")}
    return ",".join([o for o in base.split(",") if o.split("=")[0] not in names] + more.split(","))
