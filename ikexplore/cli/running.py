"""Commands that run a model, here or in a real program: lab, sweep, perplexity, imatrix, quantize, warm."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import IkexploreError
from .shared import DONE, INTERRUPTED, NO, model_of, no_flags, settings_of, text_of, warn


def lab(options: argparse.Namespace) -> int:
    """JupyterLab on a copy of the notebooks."""
    from ..lab import lab as start

    no_flags(options)
    return start(options.folder, options.port, browser=not options.no_browser)


def sweep(options: argparse.Namespace) -> int:
    """Rows are printed as they arrive; Ctrl-C keeps and writes those that are finished."""
    from .. import run
    from ..run.sweep import markdown_head, markdown_row

    if options.repetitions < 1:
        raise IkexploreError(f"-r {options.repetitions}: repetitions are a whole number, 1 or more")
    if options.jsonl and not Path(options.jsonl).absolute().parent.is_dir():
        raise IkexploreError(f"--jsonl {options.jsonl}: there is no such folder; make it or name another")
    settings = settings_of(options)
    model = model_of(options, settings)
    progress = sys.stderr.isatty()
    said: list[str] = []

    def show(row: dict[str, Any]) -> None:
        if not said:
            _say(markdown_head(options.repetitions), progress)
        said.append(markdown_row(row, options.repetitions))
        _say(said[-1:], progress)

    def tell(event: dict[str, Any]) -> None:
        if event["phase"] == "repack":
            print(f"repacked {event['text']}", file=sys.stderr)

    common = {"repetitions": options.repetitions, "progress": progress, "on_row": show, "on_progress": tell}
    if options.binary:
        for flag, value, usual in (("--k-bits", options.k_bits, 32), ("--layout", options.layout, "file")):
            if value != usual:
                raise IkexploreError(f"{flag} {value} is for the engine here; leave out --binary or {flag}")
        result = _by_program(options, model, settings, common)
    else:
        if options.cold:
            _cold(model)
        result = run.sweep(model, settings, k_bits=options.k_bits, layout=options.layout, **common)
    if options.jsonl:
        result.to_jsonl(options.jsonl)
    if result.stopped:
        print(f"ikexplore: stopped after {len(result.rows)} rows", file=sys.stderr)
        return INTERRUPTED
    return DONE if getattr(result, "ok", True) else NO


def _by_program(options: argparse.Namespace, model: Any, settings: Any, common: dict[str, Any]) -> Any:
    """A real program's rows; its command, environment and end on stderr."""
    from ..runs import Binary
    from ..runs.program import quoted

    binary = Binary(options.binary, profile=options.profile)
    words, _ = binary.command(model, settings)
    print(f"{binary.program.name} {binary.program.version}: {quoted(words)}", file=sys.stderr)
    result = binary.sweep(model, settings, cold=options.cold, **common)
    for text in (*result.remarks, *(f"{name}={value}" for name, value in result.environment.items())):
        print(text, file=sys.stderr)
    _facts(result.facts)
    if not result.ok:
        print(f"ikexplore: {result.sentence}", file=sys.stderr)
    return result


def _cold(model: Any) -> None:
    """Drops the model's pages and says what is left of them."""
    from ..runs import caches

    before, after = caches.drop(model)
    print(f"model in memory: {before:.1f} MiB before, {after:.1f} MiB after dropping its pages", file=sys.stderr)
    _facts(caches.numa())


def _facts(facts: dict[str, Any]) -> None:
    print("; ".join(f"{name} {value}" for name, value in facts.items()), file=sys.stderr)


def _say(lines: list[str], beside_a_bar: bool) -> None:
    """Lines of a result on stdout, at once; a progress bar on stderr steps aside."""
    if beside_a_bar:
        from tqdm.auto import tqdm

        tqdm.write("\n".join(lines))
    else:
        print("\n".join(lines), flush=True)


def perplexity(options: argparse.Namespace) -> int:
    """Ctrl-C prints what the finished chunks say."""
    from .. import run

    settings = settings_of(options)
    text, model, progress = text_of(options.text), model_of(options, settings), sys.stderr.isatty()
    if options.kld:
        return _kld(options, model, text, settings, progress)
    found = run.perplexity(model, text, options.ctx, settings, chunks=options.chunks, progress=progress)
    print(
        f"perplexity {found.value:.4f} +/- {found.error:.4f} over {_count(found.chunks)} chunks of {options.ctx} tokens"
    )
    return INTERRUPTED if found.stopped else DONE


def _kld(options: argparse.Namespace, model: Any, text: str, settings: Any, progress: bool) -> int:
    from ..models.model import open as open_model
    from ..run import kld

    with open(options.kld, "rb") as file:
        base = open_model(options.kld) if file.read(4) == b"GGUF" else options.kld
    found = kld(model, base, text, options.ctx, settings, base_settings=settings, save=options.save_base,
                chunks=options.chunks, progress=progress)
    print(found)
    return INTERRUPTED if found.stopped else DONE


def imatrix(options: argparse.Namespace) -> int:
    """Ctrl-C writes the finished chunks, which --resume goes on from."""
    from .. import run

    settings, text = settings_of(options), text_of(options.text)
    if not Path(options.out).absolute().parent.is_dir():
        raise IkexploreError(f"-o {options.out}: there is no such folder; make it or name another")
    resume = options.out if options.resume and Path(options.out).exists() else None
    found = run.imatrix(model_of(options, settings), text, options.ctx, settings, out=options.out,
                    save_every=options.save_every, resume=resume, chunks=options.chunks, dataset=Path(options.text).name,
                    process_output=options.process_output, progress=sys.stderr.isatty())
    if not len(found):
        print("ikexplore: stopped before the first chunk; nothing is written", file=sys.stderr)
        return INTERRUPTED
    print(f"{found.chunks} chunks of {options.ctx} tokens, {len(found)} tensors, perplexity {found.ppl:.4f}: {options.out}")
    for name, n in found.missing().items():
        warn(f"{name}: no token reached {n} of its {len(found.counts[name])} experts; give more text")
    return INTERRUPTED if found.stopped else DONE


def quantize(options: argparse.Namespace) -> int:
    """A line a tensor, then the sum; an interrupted run leaves no file."""
    from .. import run
    from ..run.recipe import Recipe, parse_rules

    no_flags(options)
    recipe = Recipe(options.type.lower(), parse_rules(options.custom_q), options.pure, options.output_tensor_type,
                    options.token_embedding_type)
    imatrix = run.Imatrix.load(options.imatrix) if options.imatrix else None
    bar = _Bar() if sys.stderr.isatty() and not options.dry_run else None
    try:
        done = run.quantize(model_of(options), options.out, recipe, imatrix, repack=options.repack,
                        repack_pattern=options.repack_pattern, dry_run=options.dry_run, on_progress=bar)
    finally:
        if bar:
            bar.close()
    print(done.to_text())
    return DONE


class _Bar:
    """Weights done, on stderr."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self.bar = tqdm(unit=" weights", unit_scale=True, leave=False)

    def __call__(self, event: dict[str, Any]) -> None:
        self.bar.total = event["total"]
        self.bar.set_postfix_str(event["text"], refresh=False)
        self.bar.update(event["done"] - self.bar.n)

    def close(self) -> None:
        self.bar.close()


def _count(chunks: Any) -> int:
    return chunks if isinstance(chunks, int) else len(chunks)


def warm(options: argparse.Namespace) -> int:
    """A line for each kernel as its turn comes; Ctrl-C keeps what is compiled."""
    from ..run.warm import warm as compiled

    no_flags(options)

    def tell(event: dict[str, Any]) -> None:
        if event["text"]:
            print(f"{event['done'] + 1}/{event['total']} {event['text']}", flush=True)

    ready = compiled(options.types, tell)
    print(f"{ready} kernels of quant types are ready")
    return DONE
