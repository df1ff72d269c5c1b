"""Damaged logs for the fuzz test: windows of real logs with characters, lines and pieces changed."""

import random

#: what rules look for, so that mutations meet them more often than chance would
WORDS = (
    "llama_new_context_with_model:", "llama_kv_cache_init:", "llm_load_tensors:", "llama_model_loader: - kv ", "main: n_kv_max = ",
    " KV buffer size = ", " compute buffer size =", "graph splits = ", "graph nodes  = ", "KV self size  = ", " MiB", "MiB, V (f16): ",
    "| 512 | 128 | 0 | 1.0 | 512.0 | 2.0 | 64.0 |", "|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |",
    "| model | size | test | t/s |", "|-----|", "eval time =", " tokens per second)", "[1]4.9,[2]5.1,", "Final estimate: PPL = ",
    "Tensor blk.3.ffn_up.weight buffer type overriden to ", "============ Repacked ", "Device 0: ", ", compute capability 8.6",
    "./llama-server -m x.gguf ", "-ot \"", "\\\n", "`", "```\n", "CUDA error: ", "cudaMalloc failed", "allocating 1.0 MiB on device 0: ",
    '{"pp": 512, "tg": 128, "n_kv": 0, "t_pp": 1.0}', '{"timings": {"prompt_n": 1, "prompt_ms": 9, "predicted_n": 1, "predicted_ms": 9}}',
    '{"n_kv":', "[\n", "{\n", "]", "}", "INFO [ main] build info | tid=\"1\" ",
    "\x1b[31m", "\x1b[A", "\x1b]0;", "\r", "\r\n", "\x00", "\ufeff", "\u00a0", "> ", ">>", "\t", "±", "é", "𝕏", "٣", "²", "9" * 40, "9" * 400, "1e999",
    "-nan", "inf", "0,5", "--", "=", ":", "|", ",", '"', "'", "$model", "model=", "PS> ", "👤 ", "**a** replied ", "</details>", "# x",
    "version: 1 (a)", "Mean    KLD:   0.1 ±  0.2", "perplexity: calculating perplexity over 3 chunks, n_ctx=512", "print_info: EOG token = ",
    "Layer  1:   1.0,  2.0,  3.0 MiB", "Estimated model buffer size per device:", "    Device 0:  1.0 MiB", "build: 1 (abc) with gcc",
)  # fmt: skip


def window(text: str, rng: random.Random) -> str:
    """Some consecutive lines of a log."""
    lines = text.split("\n")
    start = rng.randrange(len(lines))
    return "\n".join(lines[start : start + rng.randint(1, 80)])


def mutated(texts: list[str], rng: random.Random) -> str:
    """A window of one of the logs after 1 to 12 changes."""
    text = window(rng.choice(texts), rng)
    for _ in range(rng.randint(1, 12)):
        text = rng.choice(_CHANGES)(text, texts, rng)
        if len(text) > 40_000:
            text = text[:40_000]
    return text


def _cut(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + text[a + rng.randint(1, 60) :]


def _insert(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + rng.choice(WORDS) + text[a:]


def _replace(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + rng.choice(WORDS) + text[a + rng.randint(1, 20) :]


def _character(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return (
        text[:a] + chr(rng.choice((rng.randrange(32, 127), rng.randrange(256), rng.randrange(0x2FFF)))) + text[a + 1 :]
    )


def _glue(text: str, texts: list[str], rng: random.Random) -> str:
    a = text.find("\n", rng.randint(0, len(text)))
    return text if a < 0 else text[:a] + text[a + 1 :]


def _break(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + "\n" + text[a:]


def _lines(text: str, texts: list[str], rng: random.Random) -> str:
    lines = text.split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == 1:
        lines.insert(a, lines[b])
    elif kind == 2:
        del lines[a]
    else:
        lines[a : a + 3] = lines[a : a + 3] * rng.randint(2, 20)
    return "\n".join(lines)


def _splice(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + window(rng.choice(texts), rng)[: rng.randint(1, 2000)] + text[a:]


def _repeat(text: str, texts: list[str], rng: random.Random) -> str:
    a = rng.randint(0, len(text))
    return text[:a] + text[a : a + rng.randint(1, 12)] * rng.randint(2, 400) + text[a:]


def _wrap(text: str, texts: list[str], rng: random.Random) -> str:
    n = rng.randint(20, 130)
    return "\n".join(line[i : i + n] for line in text.split("\n") for i in range(0, max(1, len(line)), n))


def _quote(text: str, texts: list[str], rng: random.Random) -> str:
    mark = rng.choice(("> ", ">", "    ", "\t", "\x1b[32m", "x-1  | ", "2025-06-12 16:17:20 ", "* "))
    return "\n".join(mark + line for line in text.split("\n"))


_CHANGES = (
    _cut,
    _insert,
    _insert,
    _replace,
    _replace,
    _character,
    _character,
    _glue,
    _break,
    _lines,
    _splice,
    _repeat,
    _wrap,
    _quote,
)
