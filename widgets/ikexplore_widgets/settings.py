"""The column of switches: groups and rows with value, one-line effect, error. Its page side is settings.js."""

from __future__ import annotations

from functools import cache
from typing import Any

from ikexplore.plots.picture import MIB
from ikexplore.settings import PROFILES, Settings

from .models import main_type
from .panel import FIELDS, LAYOUTS, Panel
from .rules import picks, told

_NAMES = {"ngl": "GPU layers", "rtr": "Run-time repack", "ub": "Micro-batch", "b": "Batch", "c": "Context",
          "fa": "Flash attention", "ctk": "K cache", "ctv": "V cache", "amb": "Attention buffer",
          "fmoe": "Fused up and gate", "t": "Threads"}
_KV_TYPES = ("f16", "q8_0")
_LARGE = 1 << 30  # bytes of a model for which large batches are offered


def state(panel: Panel) -> dict[str, Any]:
    """Groups of rows, and the rules of -ot."""
    path = [_path(panel)] if panel.opening or "path" in panel.drafts else []
    size = [_memory(panel)] if panel.rigs.chosen.id.startswith("sim") else []
    groups = [
        ("Model and engine", [_model(panel), *path, _quant(panel), _profile(panel)]),
        ("Placement", [*size, _number(panel, "ngl"), _switch(panel, "rtr"), _rules_row()]),
        ("Batch and context", [_segments(panel, "ub"), _segments(panel, "b"), _number(panel, "c", step="double")]),
        ("Attention", [_switch(panel, "fa"), _types(panel, "ctk"), _types(panel, "ctv"), _number(panel, "amb")]),
        ("Experts and offload", [_switch(panel, "fmoe"), _policy(panel)]),
        ("CPU", [_number(panel, "t"), _layout(panel)]),
    ]
    rules, devices = panel.rules, [d.name for d in panel.picture.devices]
    return {
        "seq": panel.seq,
        "groups": [{"title": title, "rows": rows} for title, rows in groups],
        "rules_changed": panel.pinned is not None and list(panel.pinned.texts) != panel.texts,
        "rules": [{"text": rule.text, "note": rule.note, "hits": rule.hits, "bad": rule.bad,
                   "dev": devices.index(rule.device) if rule.device in devices else -1,
                   "told": told(rule, panel.grid) if i == panel.told_rule else None} for i, rule in enumerate(rules)],
        "picks": picks(panel.grid), "devices": devices, "n_layer": panel.grid.n_layer,
    }


def changes(panel: Panel) -> list[str]:
    """What differs from the pinned settings, each as the pinned side has it: ``-rtr off``."""
    pin = panel.pinned
    if pin is None:
        return []
    out = []
    if pin.rig.id != panel.rigs.chosen.id or (pin.rig != panel.rigs.chosen and pin.rig.id.startswith(("sim", "edited"))):
        out.append(dict(panel.rigs.choices()).get(pin.rig.id, "the edited rig"))
    base = panel.base
    if pin.quant != panel.quant:
        out.append(pin.quant or main_type(panel.opened))
    if pin.layout != panel.layout:
        out.append(f"layout {pin.layout}")
    if pin.settings.profile != base.profile:
        out.append(f"profile {pin.settings.profile}")
    for name in dict.fromkeys([*pin.settings.given, *base.given]):
        old, new = getattr(pin.settings, name), getattr(base, name)
        if old != new:
            flag = Settings.switch(name).flag
            out.append(f"{flag} {_word(old)}")
    if list(pin.texts) != panel.texts:
        out.append(f"{len(pin.texts) or 'no'} -ot rule{'' if len(pin.texts) == 1 else 's'}")
    return out


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "other" if value else "none"
    return "default" if value is None else str(value)


def _row(panel: Panel, key: str, kind: str, **more: Any) -> dict[str, Any]:
    switch = Settings.switch(FIELDS[key])
    value = getattr(panel.base, switch.field)
    pin = panel.pinned
    raw, error = panel.drafts.get(key, (None, ""))
    effect, off = effect_of(panel, key)
    return {"key": key, "kind": kind, "name": _NAMES[key], "flag": switch.flag, "meaning": switch.meaning,
            "value": value if raw is None else raw, "error": f"{error}; still {_word(value)}" if error else "",
            "effect": effect, "off": off, "changed": pin is not None and getattr(pin.settings, switch.field) != value, **more}


def _switch(panel: Panel, key: str) -> dict[str, Any]:
    return _row(panel, key, "switch")


def _number(panel: Panel, key: str, step: str = "one") -> dict[str, Any]:
    row = _row(panel, key, "number", step=step, min=0)
    if row["value"] is None or (key == "ngl" and panel.base.given.get("n_gpu_layers") is None and not row["error"]):
        full = panel.base.resolved(panel.model, panel.machine if panel.rigs.described else panel.present)
        row["value"], row["placeholder"] = "", {"t": str(full.n_threads), "ngl": "all", "c": str(full.n_ctx)}.get(key, "")
    return row


def _segments(panel: Panel, key: str) -> dict[str, Any]:
    large = sum(panel.grid.nbytes) > _LARGE
    choices = {"ub": (512, 2048, 4096) if large else (64, 256, 1024),
               "b": (1024, 2048, 4096) if large else (256, 1024, 2048)}[key]
    return _row(panel, key, "seg", choices=[str(n) for n in choices], other=True, step="double")


def _types(panel: Panel, key: str) -> dict[str, Any]:
    row = _row(panel, key, "seg", other=False)
    row["choices"] = [*_KV_TYPES, *([row["value"]] if row["value"] not in _KV_TYPES else [])]
    return row


def _policy(panel: Panel) -> dict[str, Any]:
    policy, pin = panel.base.offload_policy, panel.pinned
    none_off = policy and all(not on for _, on in policy)
    value = "auto" if not policy else "off" if none_off else "own"
    weights = sum(panel.picture.pp.weight_bytes)
    gpus = bool(panel.machine.gpus)
    if not gpus:
        effect = "no effect here: no GPU in this rig"
    elif weights:
        effect = "GPUs borrow host weights for large batches"
    else:
        effect = "no GPU borrows host weights"
    return {"key": "op", "kind": "seg", "name": "Offload policy", "flag": "-op", "value": value, "error": "",
            "meaning": Settings.switch("offload_policy").meaning, "other": False,
            "choices": ["auto", "off", *(["own"] if value == "own" else [])], "effect": effect, "off": not gpus,
            "changed": pin is not None and pin.settings.offload_policy != policy}


def _plain(panel: Panel, key: str, kind: str, name: str, value: Any, **more: Any) -> dict[str, Any]:
    raw, error = panel.drafts.get(key, (None, ""))
    return {"key": key, "kind": kind, "name": name, "flag": "", "value": value if raw is None else raw, "error": error,
            "effect": "", "off": False, "changed": False, "locked": panel.jobs.busy, **more}


def _model(panel: Panel) -> dict[str, Any]:
    return _plain(panel, "model", "select", "Model", "open" if panel.opening else panel.model_id,
                  choices=[list(pair) for pair in panel.models()], effect=header_line(panel))


def header_line(panel: Panel) -> str:
    """Type, size, layers and tensors of the model in use."""
    size = sum(panel.grid.nbytes) / MIB
    amount = f"{size / 1024:.1f} GiB" if size >= 1024 else f"{size:.1f} MiB"
    tensors = f"{len(panel.grid.names):,}".replace(",", "\u202f")
    return f"{main_type(panel.model).upper()}, {amount}, {panel.grid.n_layer} layers, {tensors} tensors"


def _path(panel: Panel) -> dict[str, Any]:
    return _plain(panel, "path", "path", "Path of a GGUF file", "", placeholder="/path/to/model.gguf, then Enter",
                  effect="only the header is read; any size")


def _quant(panel: Panel) -> dict[str, Any]:
    bits = panel.engine.quants() if panel.model.has_weights else {}
    large = sum(t.nbytes for t in panel.opened.tensors.values()) > _LARGE
    able = panel.model.has_weights and not large
    as_is = ["", f"{main_type(panel.opened)}, as it is"]
    choices = [as_is, *([name, name] for name in bits if name != main_type(panel.opened))] if able else [as_is]
    size = sum(panel.grid.nbytes) * 8 / max(1, sum(_elements(panel)))
    effect = f"{size:.2f} bits per weight" + (", made in memory just now" if panel.quant else "")
    if not able:
        effect = "no weights to re-quantize" if not panel.model.has_weights else "too large to re-quantize in memory"
    row = _plain(panel, "quant", "select", "Quant type", panel.quant, choices=choices, effect=panel.doing or effect)
    changed = panel.pinned is not None and panel.pinned.quant != panel.quant
    return {**row, "locked": row["locked"] or not able, "changed": changed}


def _elements(panel: Panel) -> list[int]:
    out = []
    for shape in panel.grid.shapes:
        n = 1
        for side in shape:
            n *= side
        out.append(n)
    return out


def _profile(panel: Panel) -> dict[str, Any]:
    row = _plain(panel, "profile", "select", "Engine", panel.base.profile, choices=[[p, p] for p in PROFILES],
                 effect="flags and defaults of that month")
    return {**row, "locked": False, "changed": panel.pinned is not None and panel.pinned.settings.profile != panel.base.profile}


def _layout(panel: Panel) -> dict[str, Any]:
    n = _own_rows(panel)
    if not n:
        effect = "no effect here: no type of this model has an own layout"
    elif panel.layout == "file":
        effect = f"own16: 16 rows word by word for {n} tensors, in runs on this computer"
    else:
        effect = f"{n} tensors copied 16 rows word by word, but for what -rtr repacks"
    row = _plain(panel, "layout", "seg", "Layout", panel.layout, choices=list(LAYOUTS), other=False, effect=effect,
                 meaning="how weights lie in memory in this engine's own runs: as in the file, or 16 rows interleaved")
    return {**row, "locked": False, "off": not n, "changed": panel.pinned is not None and panel.pinned.layout != panel.layout}


@cache
def _has_own(kind: str) -> bool:
    import ikexplore as ikx

    return kind in ikx.quants() and ikx.quant(kind).has_own_layout


def _own_rows(panel: Panel) -> int:
    """Matrices of the model whose type has the engine's own layout; counted once for a model."""
    model = panel.model
    if panel.own_rows[0] is not model:
        n = sum(_has_own(t.type) for t in model.tensors.values() if len(t.shape) > 1 and t.name != "token_embd.weight")
        panel.own_rows = (model, n)
    return panel.own_rows[1]


def _memory(panel: Panel) -> dict[str, Any]:
    row = _plain(panel, "gpu_mib", "number", "Memory per GPU", panel.rigs.chosen.gpu_mib, step="double", min=1,
                 effect="MiB of each simulated GPU")
    changed = panel.pinned is not None and panel.pinned.rig.gpu_mib != panel.rigs.chosen.gpu_mib
    return {**row, "locked": False, "changed": changed}


def _rules_row() -> dict[str, Any]:
    switch = Settings.switch("overrides")
    return {"key": "ot", "kind": "rules", "name": "Override tensors", "flag": "-ot", "meaning": switch.meaning}


# ---------- effects: computed from the plan, never a manual

def effect_of(panel: Panel, key: str) -> tuple[str, bool]:
    """One line on what a switch does here, and whether it does nothing for this model or rig."""
    return _EFFECTS[key](panel)


def _ngl(panel: Panel) -> tuple[str, bool]:
    picture, layers = panel.picture, panel.grid.n_layer
    if not panel.machine.gpus:
        return "no GPU in this rig", True
    given = panel.base.n_gpu_layers
    if given > layers or given < 0:
        return f"all {layers} layers and the output on GPUs", False
    on_host = max(0, layers - given)
    whose = "the output stays on the host" if given <= layers else ""
    if on_host == layers:
        return f"all {layers} layers on the {picture.devices[picture.host].name}", False
    return f"the first {on_host} layers stay on the host" if on_host else whose, False


def _rtr(panel: Panel) -> tuple[str, bool]:
    types = sorted(set(panel.picture.repacked.values()))
    if not panel.base.rtr:
        return "host tensors keep their types", False
    if not types:
        return "no host tensor to repack", False
    words = types[0].upper() if len(types) == 1 else f"{len(types)} interleaved types"
    return f"{len(panel.picture.repacked)} host tensors become {words}", False


def _ub(panel: Panel) -> tuple[str, bool]:
    full = panel.base.resolved(panel.model, panel.present)
    if full.n_ubatch != panel.base.n_ubatch:
        return f"{full.n_ubatch} tokens per pass: -b or -c is lower", False
    borrowed = sum(panel.picture.pp.weight_bytes)
    return "tokens per pass" + ("; weights copied once each" if borrowed else ""), False


def _b(panel: Panel) -> tuple[str, bool]:
    full = panel.base.resolved(panel.model, panel.present)
    return (f"{full.n_batch} in effect: -c is lower" if full.n_batch < panel.base.n_batch
            else "tokens handed over at once"), False


def _c(panel: Panel) -> tuple[str, bool]:
    full = panel.base.resolved(panel.model, panel.present)
    asked = panel.base.n_ctx
    if asked and full.n_ctx != asked:
        return f"{full.n_ctx} tokens in effect: padded", False
    trained = int(getattr(panel.model.hparams, "n_ctx_train", 0) or 0)
    if trained and full.n_ctx > trained:
        return f"the model was trained on {trained}", False
    return "the KV cache is allocated whole", False


def _fa(panel: Panel) -> tuple[str, bool]:
    total = sum(d.compute for d in panel.picture.devices)
    return f"compute buffers {mib(total)} MiB", False


def _kv(panel: Panel) -> tuple[str, bool]:
    return f"{mib(sum(d.kv for d in panel.picture.devices))} MiB for K and V", False


def _amb(panel: Panel) -> tuple[str, bool]:
    mla = bool(getattr(panel.model.hparams, "is_mla", False))
    return ("MiB for K·Q before attention goes in steps", False) if mla else (
        f"no effect here: {panel.model.arch} has no MLA", True)


def _fmoe(panel: Panel) -> tuple[str, bool]:
    if not getattr(panel.model.hparams, "is_moe", False):
        return f"no effect here: {panel.model.arch} has no experts", True
    return ("one node for two matrices" if panel.base.fused_moe else "up, gate and their product are three nodes"), False


def _t(panel: Panel) -> tuple[str, bool]:
    other = panel.rigs.described
    cores, where = (panel.machine.cores, "in this rig") if other else (panel.present.cores, "here")
    return (f"for prompt and generation; {cores} cores {where}" if cores else "for prompt and generation"), False


def mib(value: float) -> str:
    """MiB with as many figures as they matter; thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 100 else f"{value:.1f}"


_EFFECTS = {"ngl": _ngl, "rtr": _rtr, "ub": _ub, "b": _b, "c": _c, "fa": _fa, "ctk": lambda panel: ("", False),
            "ctv": _kv, "amb": _amb, "fmoe": _fmoe, "t": _t}
