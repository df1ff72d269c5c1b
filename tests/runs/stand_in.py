"""A stand-in for llama-sweep-bench: answers --help and --version, and replays a log at speed, with faults.

STANDIN_LOG: the file to replay (the table alone when unset). STANDIN_FAULT: one of the names in FAULTS. STANDIN_PAUSE: seconds
between lines. STANDIN_MARK: a file that gets a line for each run (its arguments, process id and the pids of its children).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

HELP = """usage: stand-in [options]

general:

  -h,    --help, --usage          print usage and exit
         --version                show version and build info
  -m,    --model FNAME            model path
  -dr,   --dry-run                skip loading tensors in the files
  -t,    --threads N              number of threads to use during generation (default: 2)
  -c,    --ctx-size N             size of the prompt context (default: 0, 0 = loaded from model)
  -b,    --batch-size N           logical maximum batch size (default: 2048)
  -ub,   --ubatch-size N          physical maximum batch size (default: 512)
  -ngl,  --gpu-layers N           number of layers to store in VRAM
  -ot,   --override-tensor        override tensor buffer type
  -fa,   --flash-attn (auto|on|off|0|1)  set Flash Attention (default: on)
  -no-fmoe, --no-fused-moe        disable fused MoE (default: enabled)
  -mla,  --mla-use                enable MLA (default: 3)
  -rtr,  --run-time-repack        repack tensors (default: disabled)
         --fit                    offload what fits
  -khad, --k-cache-hadamard       transform K
  -muge, --merge-up-gate-experts  merge
"""
NEWER = ("--dry-run", "-no-fmoe", "--fit", "-khad", "-muge")
OLD_HELP = "\n".join(
    [line for line in HELP.replace(" (auto|on|off|0|1)", "").splitlines() if not any(flag in line for flag in NEWER)]
    + ["  -fmoe, --fused-moe  enable fused MoE"])
ROW = "| {pp:>5} | {tg:>6} | {n_kv:>6} | {t_pp:8.3f} | {s_pp:8.2f} | {t_tg:8.3f} | {s_tg:8.2f} |"
HEAD = ["|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |",
        "|-------|--------|--------|----------|----------|----------|----------|"]


def table(words: list[str]) -> list[str]:
    """Rows for -c and -ub; faster with -rtr, slower with context, 1 % of noise."""
    size = {"-c": 512, "-ub": 128}
    for flag in size:
        if flag in words:
            size[flag] = int(words[words.index(flag) + 1])
    c, ub = size["-c"], size["-ub"]
    speed = float(os.environ.get("STANDIN_SPEED", "1")) * (1.2 if "-rtr" in words else 1.0)
    lines = ["", f"main: n_kv_max = {c}, n_batch = 2048, n_ubatch = {ub}, flash_attn = 1, n_gpu_layers = -1, n_threads = 2, "
             "n_threads_batch = 2", "", *HEAD]
    for n_kv in range(0, c, ub):
        s_pp, s_tg = (rate * speed * random.gauss(1, 0.01) / (1 + n_kv / 8192) for rate in (5000.0, 500.0))
        tg = ub // 4
        lines.append(ROW.format(pp=ub, tg=tg, n_kv=n_kv, t_pp=ub / s_pp, s_pp=s_pp, t_tg=tg / s_tg, s_tg=s_tg))
    return [*lines, "", "llama_print_timings:        load time =     100.00 ms"]


def child(seconds: float, own_session: bool = False) -> int:
    """A child that holds the pipe open."""
    code = f"import time; time.sleep({seconds})"
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=own_session).pid


def garbage() -> None:
    os.write(1, os.urandom(20_000) + b"\n" + b"\xff\xfe" * 500 + b"\n" + b"|" * 5000 + b"\n" + b"\x1b[2J\x1b[A\r\r\n")


def main() -> int:
    words, fault = sys.argv[1:], os.environ.get("STANDIN_FAULT", "")
    if "--help" in words or "-h" in words:
        print(OLD_HELP if fault == "old" else "what?" if fault == "mute" else HELP)
        return 0
    if "--version" in words:
        print("version: 4100 (8337e4cd)\nbuilt with cc (Debian 12.2.0-14) 12.2.0 for x86_64-linux-gnu", file=sys.stderr)
        return 0
    children = []
    if fault in ("children", "orphan", "nest"):
        children = [child(60), child(60, own_session=fault == "nest")]
    if mark := os.environ.get("STANDIN_MARK"):
        facts = {"argv": words, "pid": os.getpid(), "children": children, "env": os.environ.get("GGML_X"), "cwd": os.getcwd()}
        with open(mark, "a") as file:
            file.write(json.dumps(facts) + "\n")
    log = os.environ.get("STANDIN_LOG")
    lines = table(words)
    if log:
        with open(log, encoding="utf-8") as file:
            lines = file.read().splitlines()
    return replay(lines, fault, float(os.environ.get("STANDIN_PAUSE", "0")))


def replay(lines: list[str], fault: str, pause: float) -> int:
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fault == "flag":
        print("error: unknown argument: -mla", file=sys.stderr)
        return 1
    half = max(i for i, line in enumerate(lines) if line.startswith("|")) - 1  # the last row is not reached
    for i, line in enumerate(lines):
        if i == half and fault:
            code = strike(fault)
            if code is not None:
                return code
        if fault == "halves":  # lines in pieces, as a pipe may deliver them
            for cut in range(0, len(line), 7):
                os.write(1, line[cut : cut + 7].encode())
            os.write(1, b"\r\n")
        elif fault == "cut" and i == half + 1:  # the last row, without a line end and the program over
            os.write(1, line.encode())
            return 0
        else:
            os.write(2 if i % 2 else 1, (line + "\n").encode())
        time.sleep(pause)
    return 0


def strike(fault: str) -> int | None:
    """The fault, in the middle of the table; None: go on."""
    if fault in ("hang", "deaf", "nest"):
        time.sleep(3600)
    if fault == "busy":
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            pass
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "abort":
        print("ggml.c:1234: GGML_ASSERT(a == b) failed", file=sys.stderr, flush=True)
        os.abort()
    if fault == "oom":
        print("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 12345.67 MiB on device 1: cudaMalloc failed: "
              "out of memory\nllama_init_from_model: failed to allocate compute buffers", file=sys.stderr)
        return 1
    if fault == "exit":
        print("main: error: unable to load model", file=sys.stderr)
        return 3
    if fault == "garbage":
        garbage()
    if fault == "flood":
        while True:
            os.write(1, b"x" * 65536)
    if fault == "orphan":  # the program ends and leaves its children with the pipe
        return 0
    return None


if __name__ == "__main__":
    sys.exit(main())
