"""The command line: thin, one function a command. Exit code 0 done, 1 the question's answer is no, 2 bad input.

3 is a fault of this program (with its traceback), 130 a stop by Ctrl-C.
"""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .errors import IkexploreError

DONE, NO, BAD, BROKEN, INTERRUPTED = 0, 1, 2, 3, 130

class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise IkexploreError(f"{message}; {self.prog} --help shows what there is")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Every bad input is one line on stderr and code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    try:
        options = _parser().parse_args(words[:cut])
        options.flags = words[cut + 1 :]
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except IkexploreError as error:
        print(f"ikexplore: {_one_line(error)}", file=sys.stderr)
        return BAD
    except KeyboardInterrupt:
        print("ikexplore: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        print(f"ikexplore: {_one_line(error)}", file=sys.stderr)
        return BAD
    except Exception:  # a fault of this program; code 1 would read as an answer
        traceback.print_exc()
        return BROKEN


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = _Parser(
        prog="ikexplore",
        description="See, try and forecast how quantized language models run. "
        "Flags of llama-sweep-bench go behind a --, as in: ikexplore sweep model.gguf -- -ub 1024 -rtr",
    )
    parser.add_argument("--version", action="version", version=f"ikexplore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    lab = add("lab", _lab, "copy the notebooks to a folder of yours and open them in JupyterLab")
    lab.add_argument("--no-browser", action="store_true", help="print the address in place of opening it")
    lab.add_argument("--port", type=int, help="port on 127.0.0.1 (0: any free one)")
    lab.add_argument("--folder", default="ikexplore-notebooks", help="where the notebooks go (default: %(default)s)")

    sweep = add("sweep", _sweep, "time prompts and generation against context, as llama-sweep-bench does")
    sweep.add_argument("model", nargs="?", metavar="MODEL", help="a GGUF file (default: the embedded model)")
    sweep.add_argument("--jsonl", metavar="PATH", help="write the rows to a file, a JSON object a line")
    sweep.add_argument("-r", "--repetitions", type=int, default=1, metavar="N", help="time every row N times")
    sweep.add_argument("--cold", action="store_true", help="have the kernel forget the model's files first (needs no root)")
    sweep.add_argument("--binary", metavar="PROGRAM", help="run this llama-sweep-bench in place of the engine here")

    plan = add("plan", _plan, "print what the engine would print while loading; code 1 if it does not fit")
    plan.add_argument("model", metavar="MODEL", help="a GGUF file, or a header as JSON (.json, .json.gz)")
    plan.add_argument("--rig", metavar="RIG", help="a rig file (default: this machine)")

    tune = add("tune", _tune, "the settings with which a model should run best on a rig; code 1 if nothing fits")
    tune.add_argument("model", metavar="MODEL", help="a GGUF file, or a header as JSON (.json, .json.gz)")
    tune.add_argument("--rig", metavar="RIG", help="a rig file, or the name of one that comes along (default: this machine)")
    tune.add_argument("--ctx", type=int, default=8192, metavar="N", help="tokens of context (default: %(default)s)")
    tune.add_argument("--goal", metavar="G", help="pp, tg, or tokens of a typical request as PP,TG (default: 4,1)")
    tune.add_argument("--time-limit", type=float, default=20, metavar="S", help="seconds to search (default: %(default)s)")
    tune.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE",
                      help="MiB of a device, size_gib, least pp or tg, or values of a switch: CUDA0=20000, rtr=false")
    tune.add_argument("--measure", type=int, default=0, metavar="N", help="run the first N for real and correct the forecast")
    tune.add_argument("--binary", metavar="PROGRAM", help="run them with this llama-sweep-bench in place of the engine here")

    perplexity = add("perplexity", _perplexity, "perplexity of a model on a text")
    perplexity.add_argument("model", nargs="?", metavar="MODEL", help="a GGUF file (default: the embedded model)")
    perplexity.add_argument("text", nargs="?", metavar="TEXT", help="a text file (default: the embedded held-out text)")
    perplexity.add_argument("--kld", metavar="BASE", help="KL divergence from a base: a GGUF, or a file of base logits")
    perplexity.add_argument("--save-base", metavar="PATH", help="keep the base's logits to use them again")

    imatrix = add("imatrix", _imatrix, "collect the importance of columns over a text, as llama-imatrix does")
    imatrix.add_argument("model", metavar="MODEL", help="a GGUF file")
    imatrix.add_argument("text", metavar="TEXT", help="a text file")
    imatrix.add_argument("-o", "--out", default="imatrix.dat", metavar="PATH", help=".gguf or .dat (default: %(default)s)")
    imatrix.add_argument("--save-every", type=int, default=10, metavar="N", help="write every N chunks (default: %(default)s)")
    imatrix.add_argument("--resume", action="store_true", help="go on from OUT where it is there")
    imatrix.add_argument("--process-output", action="store_true", help="the output matrix too")
    for command in (perplexity, imatrix):
        command.add_argument("--ctx", type=int, default=512, metavar="N", help="tokens per chunk (default: %(default)s)")
        command.add_argument("--chunks", type=int, metavar="N", help="at most so many chunks")

    quantize = add("quantize", _quantize, "write a model in another quant type, tensor by tensor")
    quantize.add_argument("model", metavar="IN", help="a GGUF file")
    quantize.add_argument("out", metavar="OUT", help="the file to write; it appears when it is complete")
    quantize.add_argument("type", metavar="TYPE", help="quant type of what no rule names, as in q4_k or iq4_ks")
    quantize.add_argument("--custom-q", default="", metavar="RULES", help="regex=type,regex=type; the first match wins")
    quantize.add_argument("--pure", action="store_true", help="TYPE for the output and the embedding too")
    quantize.add_argument("--output-tensor-type", metavar="TYPE", help="type of the output matrix")
    quantize.add_argument("--token-embedding-type", metavar="TYPE", help="type of the token embedding")
    quantize.add_argument("--imatrix", metavar="PATH", help="importance of columns: llama-imatrix's file, .dat or GGUF")
    quantize.add_argument("--repack", action="store_true", help="interleave rows (_R4, _R8) in the file")
    quantize.add_argument("--repack-pattern", metavar="REGEXES", help="only tensors whose name one of these finds")
    quantize.add_argument("--dry-run", action="store_true", help="print types and sizes, write nothing")

    warm = add("warm", _warm, "compile kernels now, so that later runs start at once")
    warm.add_argument("types", nargs="*", metavar="TYPE", help="quant types, as in q4_k or iq4_ks (default: the usual ones)")

    detect = add("detect", _detect, "print what this machine is")
    detect.add_argument("--save", metavar="RIG", help="write it as a rig file")
    detect.add_argument("--measure", nargs="?", const="", metavar="MODEL",
                        help="time memory bandwidth, and with MODEL this package's products at its shapes (under a minute)")

    forecast = add("forecast", _forecast, "forecast PP and TG against context, with a band, for a rig that need not be here")
    forecast.add_argument("model", metavar="MODEL", help="a GGUF file, or a header as JSON (.json, .json.gz)")
    forecast.add_argument("--rig", metavar="RIG", help="a rig file, or the name of one (default: this machine)")
    forecast.add_argument("--where", nargs="?", type=int, const=0, metavar="N_KV", help="also where the time goes")

    for command in (sweep, plan, tune, perplexity, imatrix, forecast):
        command.add_argument("--profile", metavar="P", help="engine profile of the flags: 2025-06 or 2026-08 (default)")
    return parser


def _settings(options: argparse.Namespace) -> Any:
    """Settings from the words behind ``--``; what was not understood and what is remarkable goes to stderr."""
    from .settings import DEFAULT_PROFILE, Settings

    flags = options.flags[0] if len(options.flags) == 1 else options.flags
    settings = Settings.parse(flags, profile=options.profile or DEFAULT_PROFILE)
    for flag in settings.unknown:
        _warn(f"unknown flag {flag} is ignored")
    for note in settings.notes():
        _warn(note)
    return settings


def _warn(text: str) -> None:
    print(f"ikexplore: warning: {' '.join(text.split())}", file=sys.stderr)


def _no_flags(options: argparse.Namespace) -> None:
    if options.flags:
        raise IkexploreError(f"{options.command} takes no flags behind --; leave {options.flags[0]} out")


def _model(options: argparse.Namespace, settings: Any = None) -> Any:
    """The named model, the one of a pasted ``-m``, or the embedded one."""
    path = options.model or getattr(settings, "model_path", None)
    if path is None:
        from . import demo

        return demo.model()
    from .models.model import Model
    from .models.model import open as open_model

    if str(path).endswith((".json", ".json.gz")):
        return Model.from_header(path)
    return open_model(path)


def _lab(options: argparse.Namespace) -> int:
    from .lab import lab

    _no_flags(options)
    return lab(options.folder, options.port, browser=not options.no_browser)


def _sweep(options: argparse.Namespace) -> int:
    """Rows are printed as they arrive; Ctrl-C keeps and writes those that are finished."""
    from .run import sweep
    from .run.sweep import markdown_head, markdown_row

    if options.repetitions < 1:
        raise IkexploreError(f"-r {options.repetitions}: repetitions are a whole number, 1 or more")
    if options.jsonl and not Path(options.jsonl).absolute().parent.is_dir():
        raise IkexploreError(f"--jsonl {options.jsonl}: there is no such folder; make it or name another")
    settings = _settings(options)
    model = _model(options, settings)
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
        result = _by_program(options, model, settings, common)
    else:
        if options.cold:
            _cold(model)
        result = sweep(model, settings, **common)
    if options.jsonl:
        result.to_jsonl(options.jsonl)
    if result.stopped:
        print(f"ikexplore: stopped after {len(result.rows)} rows", file=sys.stderr)
        return INTERRUPTED
    return DONE if getattr(result, "ok", True) else NO


def _by_program(options: argparse.Namespace, model: Any, settings: Any, common: dict[str, Any]) -> Any:
    """A real program's rows; its command, environment and end on stderr."""
    from .runs import Binary
    from .runs.program import quoted

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
    from .runs import caches

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


def _plan(options: argparse.Namespace) -> int:
    from .machine import Machine

    settings = _settings(options)
    machine = Machine.load(options.rig) if options.rig else Machine.detect()
    from .schedule import plan

    made = plan(_model(options, settings), settings, machine)
    print(made.log())
    print("\n".join(["", *_device_table(made.devices), *_findings(made.findings)]))
    return DONE if made.fits else NO


def _forecast(options: argparse.Namespace) -> int:
    from .machine import Machine
    from .schedule import plan

    settings = _settings(options)
    machine = Machine.load(options.rig) if options.rig else Machine.detect()
    made = plan(_model(options, settings), settings, machine)
    found = made.forecast()
    print(f"Forecast, not measured: {made.model.name} on {machine.name or 'this machine'}\n\n{found.to_markdown()}")
    if options.where is not None:
        print(f"\n{found.where(options.where).to_markdown()}")
    if not made.fits:
        _warn("it does not fit; ikexplore plan says what is too large")
    return DONE if made.fits else NO


def _tune(options: argparse.Namespace) -> int:
    from .tune.command import command

    _no_flags(options)
    return command(options, _model(options))


def _device_table(devices: Any) -> list[str]:
    """MiB per device against its capacity; what is simulated says so."""
    lines = [f"{'device':24}{'model':>12}{'KV':>10}{'output':>10}{'compute':>10}{'total':>12}{'capacity':>12}"]
    for d in devices:
        name = f"{d.name} (simulated)" if d.simulated else d.name
        parts = f"{d.model_mib:12.2f}{d.kv_mib:10.2f}{d.output_mib:10.2f}{d.compute_mib:10.2f}{d.total_mib:12.2f}"
        capacity = "not known" if d.capacity_mib is None else f"{d.capacity_mib:.0f}"
        over = f"  over by {d.over_mib:.0f} MiB" if d.over_mib else ""
        lines.append(f"{name:24}{parts}{capacity:>12}{over}")
    return lines


def _findings(findings: Any) -> list[str]:
    """A line a finding, its mended flag behind it."""
    return [f"{f.level}: {f.text}" + (f"  Try: {f.fix}" if f.fix else "") for f in findings]


def _text(path: str | None) -> str:
    """What a text file holds; the embedded held-out text for none."""
    if path is None:
        from . import demo

        return demo.text()
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IkexploreError(f"{path}: is no readable UTF-8 text ({error})") from None


def _perplexity(options: argparse.Namespace) -> int:
    """Ctrl-C prints what the finished chunks say."""
    from .run import perplexity

    settings = _settings(options)
    text, model, progress = _text(options.text), _model(options, settings), sys.stderr.isatty()
    if options.kld:
        return _kld(options, model, text, settings, progress)
    found = perplexity(model, text, options.ctx, settings, chunks=options.chunks, progress=progress)
    print(
        f"perplexity {found.value:.4f} +/- {found.error:.4f} over {_count(found.chunks)} chunks of {options.ctx} tokens"
    )
    return INTERRUPTED if found.stopped else DONE


def _kld(options: argparse.Namespace, model: Any, text: str, settings: Any, progress: bool) -> int:
    from .models.model import open as open_model
    from .run import kld

    with open(options.kld, "rb") as file:
        base = open_model(options.kld) if file.read(4) == b"GGUF" else options.kld
    found = kld(model, base, text, options.ctx, settings, base_settings=settings, save=options.save_base,
                chunks=options.chunks, progress=progress)
    print(found)
    return INTERRUPTED if found.stopped else DONE


def _imatrix(options: argparse.Namespace) -> int:
    """Ctrl-C writes the finished chunks, which --resume goes on from."""
    from .run import imatrix

    settings, text = _settings(options), _text(options.text)
    if not Path(options.out).absolute().parent.is_dir():
        raise IkexploreError(f"-o {options.out}: there is no such folder; make it or name another")
    resume = options.out if options.resume and Path(options.out).exists() else None
    found = imatrix(_model(options, settings), text, options.ctx, settings, out=options.out,
                    save_every=options.save_every, resume=resume, chunks=options.chunks, dataset=Path(options.text).name,
                    process_output=options.process_output, progress=sys.stderr.isatty())
    if not len(found):
        print("ikexplore: stopped before the first chunk; nothing is written", file=sys.stderr)
        return INTERRUPTED
    print(f"{found.chunks} chunks of {options.ctx} tokens, {len(found)} tensors, perplexity {found.ppl:.4f}: {options.out}")
    for name, n in found.missing().items():
        _warn(f"{name}: no token reached {n} of its {len(found.counts[name])} experts; give more text")
    return INTERRUPTED if found.stopped else DONE


def _quantize(options: argparse.Namespace) -> int:
    """A line a tensor, then the sum; an interrupted run leaves no file."""
    from .run import Imatrix, quantize
    from .run.recipe import Recipe, parse_rules

    _no_flags(options)
    recipe = Recipe(options.type.lower(), parse_rules(options.custom_q), options.pure, options.output_tensor_type,
                    options.token_embedding_type)
    imatrix = Imatrix.load(options.imatrix) if options.imatrix else None
    bar = _Bar() if sys.stderr.isatty() and not options.dry_run else None
    try:
        done = quantize(_model(options), options.out, recipe, imatrix, repack=options.repack,
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


def _warm(options: argparse.Namespace) -> int:
    """A line for each kernel as its turn comes; Ctrl-C keeps what is compiled."""
    from .run.warm import warm

    _no_flags(options)

    def tell(event: dict[str, Any]) -> None:
        if event["text"]:
            print(f"{event['done'] + 1}/{event['total']} {event['text']}", flush=True)

    ready = warm(options.types, tell)
    print(f"{ready} kernels of quant types are ready")
    return DONE


def _detect(options: argparse.Namespace) -> int:
    from .machine import Machine

    _no_flags(options)
    machine = Machine.detect()
    print(machine)
    from .runs import caches

    print("; ".join(f"{name} {value}" for name, value in caches.numa().items()))
    if options.measure is not None:
        options.model = options.measure or None
        found = machine.probe(_model(options) if options.model else None, progress=sys.stderr.isatty())
        print(f"\n{found.to_markdown()}")
        machine = found.machine
    if options.save:
        machine.save(options.save)
        print(f"written to {options.save}")
    return DONE


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
