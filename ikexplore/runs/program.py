"""What a program says about itself: version, flags, whose engine it is, and how settings become its arguments."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import IkexploreError, SettingsError
from ..settings import FIELDS, NEW, OLD, SWITCHES, Settings
from ..settings.values import number, write
from . import process

#: seconds that --help and --version may take; a build with many GPUs looks at all of them first
PROBE = 60.0
#: names of kinds, with what a program of the kind is called
KINDS = {"sweep": "llama-sweep-bench", "perplexity": "llama-perplexity", "bench": "llama-bench"}
_FLAG = re.compile(r"(?<![\w-])-{1,2}[A-Za-z][\w-]*")
_VERSION = re.compile(r"^(?:version|build): (\d+) \(([0-9a-f]+|\w+)\)", re.M)
_FA_VALUES = re.compile(r"--flash-attn\b.{0,20}(?:on\|off|auto\|on)")
#: words of a help text that only llama-bench has
_BENCH_HELP = ("--n-prompt", "--n-gen")
#: as many switches of the newer profile have to be there for a build to count as newer
_NEWER = 3
#: variables of the environment that change what a run does
_TELLING = re.compile(
    r"(?:CUDA|NVIDIA|GGML|LLAMA|OMP|KMP|GOMP|HIP|ROCR|HSA|VK|MKL|OPENBLAS|BLIS|MALLOC|NCCL|GLIBC)_.*|"
    r"LD_PRELOAD|LD_LIBRARY_PATH"
)
#: llama-bench: field -> (flag, value) where it differs from the common arguments; True and False are 1 and 0
_BENCH = {
    "n_batch": "-b", "n_ubatch": "-ub", "n_gpu_layers": "-ngl", "n_cpu_moe": "--n-cpu-moe", "split_mode": "-sm", "main_gpu":
    "-mg",
    "tensor_split": "-ts", "no_kv_offload": "-nkvo", "flash_attn": "-fa", "mla_attn": "-mla", "attn_max_batch": "-amb",
    "cache_type_k": "-ctk", "cache_type_v": "-ctv", "smart_expert_reduction": "-ser", "graph_reuse": "-gr", "use_mmap": "-mmp",
    "numa": "--numa", "n_threads": "-t", "rtr": "-rtr", "use_thp": "-thp", "fused_moe": "-fmoe",
    "grouped_expert_routing": "-ger", "scheduler_async": "-sas", "fit": "--fit", "fit_margin": "--fit-margin", "max_gpu":
    "--max-gpu",
    "warmup": "-w", "repetitions": "-r", "cuda_params": "-cuda",
}  # fmt: skip
#: llama-bench: switches that it takes the other way round
_BENCH_NOT = {"fused_up_gate": "-no-fug", "only_active_experts": "-no-ooae"}
#: and those that it takes without a value
_BENCH_BARE = {"merge_qkv": "-mqkv", "merge_up_gate_experts": "-muge"}
#: what llama-bench has other defaults for than the programs whose defaults Settings know
_BENCH_ALWAYS = ("n_batch", "n_ubatch", "flash_attn", "fused_moe", "mla_attn", "attn_max_batch", "n_gpu_layers")


@dataclass(frozen=True)
class Program:
    """A program on this machine, as it describes itself. ``engine``: "ik_llama.cpp" or "llama.cpp"; ``profile``: the
    engine profile whose flags it takes; ``flags``: those in its help; ``build``: (number, commit) or None."""

    path: Path
    kind: str
    engine: str
    profile: str
    flags: frozenset[str]
    build: tuple[int, str] | None
    help: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def version(self) -> str:
        """ "4027 (8337e4cd)", or "unknown build"."""
        return f"{self.build[0]} ({self.build[1]})" if self.build else "unknown build"


def find(path: str | os.PathLike[str]) -> Path:
    """The program's file, by path or by a name in PATH. Raises IkexploreError."""
    text = os.fspath(path)
    found = Path(text).expanduser()
    if os.sep not in text and not found.exists() and (known := shutil.which(text)):
        found = Path(known)
    if not found.exists():
        raise IkexploreError(f"{path}: no such program; give the path of llama-sweep-bench, llama-perplexity or llama-bench")
    if found.is_dir():
        names = [name for name in KINDS.values() if (found / name).exists()]
        raise IkexploreError(f"{path} is a folder; give a program in it" + (f", as in {found / names[0]}" if names else ""))
    if not os.access(found, os.X_OK):
        raise IkexploreError(f"{path}: may not be executed; chmod +x it, or give the program itself")
    return found.absolute()


def probe(path: str | os.PathLike[str], env: Mapping[str, str], profile: str | None = None, kind: str | None = None) -> Program:
    """Ask a program for its help and its version. Raises IkexploreError for one that gives no help or is none of ours."""
    found = find(path)
    said = process.run([str(found), "--help"], dict(env), timeout=PROBE)
    flags = frozenset(flag for line in said.lines if line.lstrip()[:1] == "-" for flag in _FLAG.findall(line))
    if len(flags) < 10 or "--model" not in flags:
        last = next((line.strip()[-120:] for line in reversed(said.lines) if line.strip()), "nothing")
        raise IkexploreError(f"{found}: --help gives no list of flags (it ended with {last!r}); is it a llama program?")
    told = process.run([str(found), "--version"], dict(env), timeout=PROBE).text
    build = _VERSION.search(told) or _VERSION.search(said.text)
    if kind is None:
        kind = _kind(found.name, flags)
    elif kind not in KINDS:
        raise IkexploreError(f"kind {kind!r}: give one of {', '.join(KINDS)}")
    return Program(
        found, kind, "ik_llama.cpp" if flags & {"-rtr", "-mla", "-fmoe", "-no-fmoe"} else "llama.cpp",
        _checked(profile) or _profile(said.text, flags), flags, (int(build.group(1)), build.group(2)) if build else None,
        said.text)  # fmt: skip


def _kind(name: str, flags: frozenset[str]) -> str:
    for kind, word in (("sweep", "sweep"), ("perplexity", "perplexity"), ("bench", "llama-bench")):
        if word in name:
            return kind
    if all(flag in flags for flag in _BENCH_HELP) and "-pg" in flags:
        return "bench"
    raise IkexploreError(f"{name}: cannot tell what this program does; say kind={' or '.join(map(repr, KINDS))}")


def _checked(profile: str | None) -> str | None:
    if profile is not None:
        Settings(profile)  # raises for an unknown one
    return profile


def _profile(text: str, flags: frozenset[str]) -> str:
    """The profile whose flags the help shows."""
    newer = {flag for switch in SWITCHES if switch.profiles == (NEW,) for flag in switch.spellings}
    return NEW if _FA_VALUES.search(text) or len(flags & newer) >= _NEWER else OLD


def arguments(program: Program, settings: Settings) -> tuple[list[str], list[str]]:
    """(arguments without -m, remarks) of settings for a program. Raises SettingsError for flags that it cannot know."""
    there = settings.to(program.profile)
    remarks = list(settings.notes(program.profile)) if settings.profile != program.profile else []
    groups = bench_groups(there, remarks) if program.kind == "bench" else common_groups(there)
    words: list[str] = []
    for flag, group in groups:
        if flag.startswith("-") and flag.partition("=")[0] not in program.flags:
            remarks.append(_missing(program, there, flag))
        words += group
    return words, remarks


def common_groups(settings: Settings) -> list[tuple[str, list[str]]]:
    """(flag, words) of every switch and every other flag, for the programs that share llama.cpp's common arguments."""
    groups = [(words[0], words) for name, value in settings.chosen if (words := write(FIELDS[name], value, settings.profile))]
    return groups + [(group[0], list(group)) for group in (*settings.other, *settings.extra)]


def bench_groups(settings: Settings, remarks: list[str]) -> list[tuple[str, list[str]]]:
    """The same for llama-bench, which takes 0 or 1 for switches and has defaults of its own."""
    groups: list[tuple[str, list[str]]] = []
    for name in FIELDS:
        value = getattr(settings, name)
        always = name in _BENCH_ALWAYS and FIELDS[name].exists_in(settings.profile)
        if (name not in settings.given and not always) or value is None or (name == "n_gpu_layers" and value < 0):
            continue
        if name == "overrides":
            groups += [("-ot", ["-ot", f"{pattern}={buffer}"]) for pattern, buffer in value]
        elif name in _BENCH_BARE:
            groups += [(_BENCH_BARE[name], [_BENCH_BARE[name]])] if value else []
        elif flag := _BENCH.get(name) or _BENCH_NOT.get(name):
            groups.append((flag, [flag, _bench_text(value, name in _BENCH_NOT)]))
        elif name != "n_ctx":
            remarks.append(f"llama-bench has no {FIELDS[name].flag}; it is left out")
    return groups + [(group[0], list(group)) for group in settings.extra]


def _bench_text(value: Any, negated: bool) -> str:
    if isinstance(value, bool):
        return str(int(value != negated))
    if isinstance(value, tuple):
        return "/".join(number(item) for item in value)
    return number(value) if isinstance(value, float) else str(value)


def _missing(program: Program, settings: Settings, flag: str) -> str:
    """A remark on a flag that the help leaves out: ik_llama.cpp's help is not complete. SettingsError where nobody knows it."""
    known = any(flag in switch.spellings and switch.exists_in(program.profile) for switch in SWITCHES)
    other = any(group[0] == flag for group in settings.other)
    if program.engine == "ik_llama.cpp" and (known or other):
        return f"{flag} is not in the help of {program.name} {program.version}; it is passed on"
    raise SettingsError(f"{program.name} {program.version} ({program.engine}) has no flag {flag}; leave it out, "
                        "or use a build that has it")  # fmt: skip


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what a run does."""
    return {name: env[name] for name in sorted(env) if _TELLING.fullmatch(name)}


def merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with more variables over it. Raises IkexploreError for what is no text."""
    env = dict(os.environ)
    for layer in layers:
        for name, value in layer.items():
            if not isinstance(name, str) or not isinstance(value, str) or "\0" in name + value or "=" in name or not name:
                raise IkexploreError(f"environment {name!r}={value!r}: give a name and a text")
            env[name] = value
    return env


def quoted(words: Sequence[str]) -> str:
    """Words as a line for a POSIX shell."""
    import shlex

    return shlex.join(words)
