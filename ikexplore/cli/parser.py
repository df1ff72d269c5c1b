"""What can be written on the command line: a function per kind of command, each a screen at most."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from ..errors import IkexploreError
from . import planning, running

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

_MODEL = "a GGUF file (default: the embedded model)"
_HEADER = "a GGUF file, a header as JSON (.json, .json.gz), or the name of one that comes along"
_RIG = "a rig file, or the name of one that comes along (default: this machine)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise IkexploreError(f"{message}; {self.prog} --help shows what there is")


def parser() -> argparse.ArgumentParser:
    """The parser; each command's function is ``options.run``. Raises IkexploreError in place of leaving the process."""
    from .. import __version__

    made = _Parser(
        prog="ikexplore",
        description="See, try and forecast how quantized language models run. "
        "Flags of llama-sweep-bench go behind a --, as in: ikexplore sweep model.gguf -- -ub 1024 -rtr",
    )
    made.add_argument("--version", action="version", version=f"ikexplore {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    lab = add("lab", running.lab, "copy the notebooks to a folder of yours and open them in JupyterLab")
    lab.add_argument("--no-browser", action="store_true", help="print the address in place of opening it")
    lab.add_argument("--port", type=int, help="port on 127.0.0.1 (0: any free one)")
    lab.add_argument("--folder", default="ikexplore-notebooks", help="where the notebooks go (default: %(default)s)")
    flagged = [_sweep(add), *_planning(add), _tune(add), *_quality(add)]
    _quantize(add)
    _machine(add)
    for command in flagged:
        command.add_argument("--profile", metavar="P", help="engine profile of the flags: 2025-06 or 2026-08 (default)")
    return made


def _sweep(add: Add) -> argparse.ArgumentParser:
    sweep = add("sweep", running.sweep, "time prompts and generation against context, as llama-sweep-bench does")
    sweep.add_argument("model", nargs="?", metavar="MODEL", help=_MODEL)
    sweep.add_argument("--jsonl", metavar="PATH", help="write the rows to a file, a JSON object a line")
    sweep.add_argument("-r", "--repetitions", type=int, default=1, metavar="N", help="time every row N times")
    sweep.add_argument("--cold", action="store_true", help="have the kernel forget the model's files first (needs no root)")
    sweep.add_argument("--k-bits", type=int, default=32, choices=(8, 32), metavar="N",
                       help="8: q . k of prompts over a q8_0 or q8_KV cache in 8 bits; 32 (default): in float32")
    sweep.add_argument("--layout", default="file", choices=("file", "own16"), metavar="NAME",
                       help="own16: weights in the engine's own 16-row layout where -rtr leaves them alone; file (default)")
    sweep.add_argument("--binary", metavar="PROGRAM", help="run this llama-sweep-bench in place of the engine here")
    return sweep


def _planning(add: Add) -> list[argparse.ArgumentParser]:
    plan = add("plan", planning.plan, "print what the engine would print while loading; code 1 if it does not fit")
    forecast = add("forecast", planning.forecast,
                   "forecast PP and TG against context, with a band, for a rig that need not be here")
    for command in (plan, forecast):
        command.add_argument("model", metavar="MODEL", help=_HEADER)
        command.add_argument("--rig", metavar="RIG", help=_RIG)
    forecast.add_argument("--where", nargs="?", type=int, const=0, metavar="N_KV", help="also where the time goes")
    return [plan, forecast]


def _tune(add: Add) -> argparse.ArgumentParser:
    tune = add("tune", planning.tune, "the settings with which a model should run best on a rig; code 1 if nothing fits")
    tune.add_argument("model", metavar="MODEL", help=_HEADER)
    tune.add_argument("--rig", metavar="RIG", help=_RIG)
    tune.add_argument("--ctx", type=int, default=8192, metavar="N", help="tokens of context (default: %(default)s)")
    tune.add_argument("--goal", metavar="G", help="pp, tg, or tokens of a typical request as PP,TG (default: 4,1)")
    tune.add_argument("--time-limit", type=float, default=20, metavar="S", help="seconds to search (default: %(default)s)")
    tune.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE",
                      help="MiB of a device, size_gib, least pp or tg, or values of a switch: CUDA0=20000, rtr=false")
    tune.add_argument("--measure", type=int, default=0, metavar="N", help="run the first N for real and correct the forecast")
    tune.add_argument("--binary", metavar="PROGRAM", help="run them with this llama-sweep-bench in place of the engine here")
    return tune


def _quality(add: Add) -> list[argparse.ArgumentParser]:
    perplexity = add("perplexity", running.perplexity, "perplexity of a model on a text")
    perplexity.add_argument("model", nargs="?", metavar="MODEL", help=_MODEL)
    perplexity.add_argument("text", nargs="?", metavar="TEXT", help="a text file (default: the embedded held-out text)")
    perplexity.add_argument("--kld", metavar="BASE", help="KL divergence from a base: a GGUF, or a file of base logits")
    perplexity.add_argument("--save-base", metavar="PATH", help="keep the base's logits to use them again")

    imatrix = add("imatrix", running.imatrix, "collect the importance of columns over a text, as llama-imatrix does")
    imatrix.add_argument("model", metavar="MODEL", help="a GGUF file")
    imatrix.add_argument("text", metavar="TEXT", help="a text file")
    imatrix.add_argument("-o", "--out", default="imatrix.dat", metavar="PATH", help=".gguf or .dat (default: %(default)s)")
    imatrix.add_argument("--save-every", type=int, default=10, metavar="N", help="write every N chunks (default: %(default)s)")
    imatrix.add_argument("--resume", action="store_true", help="go on from OUT where it is there")
    imatrix.add_argument("--process-output", action="store_true", help="the output matrix too")
    for command in (perplexity, imatrix):
        command.add_argument("--ctx", type=int, default=512, metavar="N", help="tokens per chunk (default: %(default)s)")
        command.add_argument("--chunks", type=int, metavar="N", help="at most so many chunks")
    return [perplexity, imatrix]


def _quantize(add: Add) -> None:
    quantize = add("quantize", running.quantize, "write a model in another quant type, tensor by tensor")
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


def _machine(add: Add) -> None:
    warm = add("warm", running.warm, "compile kernels now, so that later runs start at once")
    warm.add_argument("types", nargs="*", metavar="TYPE", help="quant types, as in q4_k or iq4_ks (default: the usual ones)")

    detect = add("detect", planning.detect, "print what this machine is")
    detect.add_argument("--save", metavar="RIG", help="write it as a rig file")
    detect.add_argument("--measure", nargs="?", const="", metavar="MODEL",
                        help="time memory bandwidth, and with MODEL this package's products at its shapes (under a minute)")
