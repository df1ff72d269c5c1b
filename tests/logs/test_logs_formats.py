"""Each kind of output once: tables, JSON lines, llama-bench, server timings, perplexity, loading of either year."""

import gzip

import pytest

from ikexplore.errors import IkexploreError
from ikexplore.logs import Reader, read

HEAD = "|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |\n|-------|--------|--------|---|---|---|---|\n"


def rows(n, pp=512, start=0):
    lines = [
        f"|{pp:6d} | {pp // 4:6d} | {start + i * pp:6d} |    1.000 | {pp:8.2f} |    2.000 | {pp / 8:8.2f} |"
        for i in range(n)
    ]
    return "\n".join(lines) + "\n"


# ---- tables of a sweep ----


def test_head_repeated_within_a_table():
    (run,) = read(HEAD + rows(2) + HEAD + rows(2, start=1024))
    assert [row["n_kv"] for row in run.rows] == [0, 512, 1024, 1536]


def test_tables_that_start_over_are_runs():
    assert [len(run.rows) for run in read(HEAD + rows(3) + "\nnow with rtr\n" + HEAD + rows(2))] == [3, 2]
    assert [len(run.rows) for run in read(HEAD + rows(3) + rows(2))] == [3, 2]
    assert [len(run.rows) for run in read(HEAD + rows(2) + HEAD + rows(2, pp=1024))] == [2, 2]


def test_rows_without_a_head_are_believed_when_they_fit_together():
    (run,) = read(rows(2))
    assert len(run.rows) == 2
    assert not read("| 1 | 2 | 3 | 4.0 | 5.0 | 6.0 | 7.0 |\n")


def test_contradicting_figures_are_remarked():
    (run,) = read(HEAD + "|   512 |    128 |      0 |    1.000 |   999.00 |    2.000 |    64.00 |\n")
    assert run.rows[0]["s_pp"] == 999.0 and "is not PP / T_PP = 512.00" in run.notes[0]


def test_tabs_blanks_and_decimal_commas():
    head = ("PP", "TG", "N_KV", "T_PP s", "S_PP t/s", "T_TG s", "S_TG t/s")
    for mark in ("\t", " "):
        (run,) = read(
            mark.join(head) + "\n" + mark.join(("7168", "1792", "0", "28,007", "255,94", "414.487", "4.32")) + "\n"
        )
        assert run.rows == [
            {"pp": 7168, "tg": 1792, "n_kv": 0, "t_pp": 28.007, "s_pp": 255.94, "t_tg": 414.487, "s_tg": 4.32}
        ]


def test_json_lines_of_a_sweep():
    line = (
        '{"n_kv_max": 8704, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 1, "n_gpu_layers": -1, "n_threads": 32, '
        '"n_threads_batch": 32, "pp": 512, "tg": 128, "n_kv": 512, "t_pp": 1.25, "speed_pp": 409.6, "t_tg": 2.0, "speed_tg": 64.0 }'
    )
    runs = read(f"{line}\n{line[:40]}")
    assert runs[0].rows == [{"pp": 512, "tg": 128, "n_kv": 512, "t_pp": 1.25, "s_pp": 409.6, "t_tg": 2.0, "s_tg": 64.0}]
    assert runs[0].startup["main"]["n_threads_batch"] == 32 and runs.prose == [(2, line[:40])]


def test_our_own_sweep_is_read_back():
    from ikexplore.run.sweep import Sweep
    from ikexplore.settings import Settings

    row = {"pp": 512, "tg": 128, "n_kv": 0, "t_pp": 1.0, "t_pp_sd": 0.01, "s_pp": 512.0, "s_pp_sd": 5.0, "t_tg": 2.0, "t_tg_sd": 0.02,
               "s_tg": 64.0, "s_tg_sd": 0.5, "repetitions": 3}  # fmt: skip
    sweep = Sweep(Settings(), rows=[row])
    assert read(sweep.to_jsonl())[0].rows == [row]
    (run,) = read(sweep.to_markdown())
    assert {key: run.rows[0][key] for key in row if key != "repetitions"} == {
        k: v for k, v in row.items() if k != "repetitions"
    }


def test_more_columns_and_marks_of_a_newer_program():
    text = (
        "|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |    RSS HWM | VRAM delta |\n"
        "======================================== tg_start for n_kv = 0\n"
        "|   512 |    128 |      0 |    1.000 |   512.00 |    2.000 |    64.00 |     1024.5 |        n/a |\n"
    )
    runs = read(text)
    assert (runs[0].rows[0]["rss_hwm_mib"], runs[0].rows[0]["vram_delta_mib"]) == (1024.5, None)
    assert not runs.prose and not runs[0].unread


def test_on_row_hears_of_rows_while_the_program_prints():
    heard = []
    reader = Reader(on_row=lambda run, row: heard.append((len(run.rows), row["n_kv"])))
    for line in (HEAD + rows(2)).splitlines():
        reader.feed(line)
    assert heard == [(1, 0), (2, 512)] and len(reader.close()[0].rows) == 2


# ---- llama-bench, llama-batched-bench ----

BENCH = """$ ./build/bin/llama-bench -m q.gguf -p 512 -n 128 -fa 1
| model                     |       size |     params | backend | ngl | fa |          test |              t/s |
| ------------------------- | ---------: | ---------: | ------- | --: | -: | ------------: | ---------------: |
============ Repacked 337 tensors
| qwen3moe ?B Q4_K - Medium |  16.49 GiB |    30.53 B | CUDA    |  99 |  1 |         pp512 |   2342.04 ± 8.45 |
| qwen3moe ?B Q4_K - Medium |  16.49 GiB |    30.53 B | CUDA    |  99 |  1 |         tg128 |    123,40 ± 0,45 |
| qwen3moe ?B Q4_K - Medium |  16.49 GiB |    30.53 B | CUDA    |  99 |  1 |   tg128@pp512 |      120.1 ± 0.1 |
| qwen3moe ?B Q4_K - Medium |  16.49 GiB |    30.53 B | CUDA    |  99 |  1 | pp512 @ d4096 |     1820.1 ± 0.1 |

build: 4084ca73 (3673)
"""


def test_llama_bench():
    (run,) = read(BENCH)
    assert [(r["test"], r["pp"], r["tg"], r["n_kv"], r["s"], r["s_sd"]) for r in run.bench] == [
        ("pp512", 512, 0, 0, 2342.04, 8.45),
        ("tg128", 0, 128, 0, 123.40, 0.45),
        ("tg128@pp512", 512, 128, 0, 120.1, 0.1),
        ("pp512 @ d4096", 512, 0, 4096, 1820.1, 0.1),
    ]
    assert run.startup["build"] == {"number": 3673, "commit": "4084ca73"} and run.startup["repacked_tensors"] == 337
    assert not run.unread and run.program == "llama-bench"


def test_llama_bench_in_json_and_csv():
    objects = '{\n "n_prompt": 512,\n "n_gen": 0,\n "avg_ts": 7100.5,\n "stddev_ts": 140.3,\n "samples_ts": [ 7000.0, 7201.0 ]\n }'
    for text in (f"[\n{objects},\n{objects}\n]\n", (objects.replace("\n", "") + "\n") * 2):
        (run,) = read("what I ran:\n" + text)
        assert [(r["pp"], r["tg"], r["s"], r["s_sd"]) for r in run.bench] == [(512, 0, 7100.5, 140.3)] * 2
        assert run.lines == (2, text.count("\n") + 1)
    (run,) = read('model,n_prompt,n_gen,avg_ts,stddev_ts\n"a, b","512","0","7100.5","140.3"\n')
    assert run.bench[0]["model"] == "a, b" and run.bench[0]["s"] == 7100.5


def test_json_that_is_no_log_stays_text():
    text = '[\n  {\n    "name": "x"\n  }\n]\nand so on\n'
    runs = read(text)
    assert not runs and [number for number, _ in runs.prose] == [1, 2, 3, 4, 5, 6]


def test_batched_bench():
    head = "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n"
    (run,) = read(
        head + "|   128 |    128 |    1 |    256 |    0.108 |  1186.64 |    3.079 |    41.57 |    3.187 |    80.32 |\n"
    )
    assert run.bench[0]["b"] == 1 and run.bench[0]["s"] == 80.32 and not run.rows


# ---- timings ----

PROMPT = "prompt eval time     =    1428.08 ms /   756 tokens (    1.89 ms per token,   529.38 tokens per second)"
EVAL = "generation eval time =   44081.50 ms /  2038 runs   (   21.63 ms per token,    46.23 tokens per second)"


def test_server_timings_of_june_2025():
    lines = "".join(f'INFO [           print_timings] {text} | tid="1" timestamp=2 id_slot=0 id_task={task}\n'
                    for task in (0, 2040) for text in (PROMPT, EVAL))  # fmt: skip
    (run,) = read(lines)
    assert [group["task"] for group in run.timings] == [0, 2040]
    assert run.rates[0] == {
        "pp": 756,
        "tg": 2038,
        "n_kv": 0,
        "t_pp": 1.42808,
        "s_pp": 529.38,
        "t_tg": 44.0815,
        "s_tg": 46.23,
    }


def test_server_timings_of_mainline():
    block = "slot print_timing: id  0 | task {} | \nprompt eval time =    100.00 ms /   10 tokens (   10.00 ms per token,   100.00 tokens per second)\n       eval time =     50.00 ms /     5 tokens (   10.00 ms per token,   100.00 tokens per second)\n      total time =    150.00 ms /    15 tokens\n"
    (run,) = read("llama_context: graph splits = 2\n" + block.format(0) + block.format(7))
    assert [(g["task"], g["prompt"]["n"], g["generation"]["n"], g["total"]["ms"]) for g in run.timings] == [
        (0, 10, 5, 150.0),
        (7, 10, 5, 150.0),
    ]


def test_bare_timings_under_texts_of_their_own_are_runs():
    runs = read(f"rtr=yes\n{PROMPT}\n{EVAL}\n\nrtr=no\n{PROMPT}\n{EVAL}\n")
    assert [len(run.timings) for run in runs] == [1, 1] and runs[1].title == "rtr=no"


def test_json_of_a_server():
    log = (
        '{"tid":"1","timestamp":1,"level":"INFO","function":"print_timings","msg":"'
        + PROMPT
        + '","id_slot":0,"id_task":3}\n'
    )
    answer = '{"content":"x","timings":{"prompt_n":12,"prompt_ms":100.5,"prompt_per_second":119.4,"predicted_n":3,"predicted_ms":50.0,"predicted_per_second":60.0}}\n'
    (run,) = read(log + answer)
    assert run.timings[0]["prompt"]["n"] == 756 and run.timings[1]["generation"] == {"ms": 50.0, "n": 3, "s": 60.0}


# ---- perplexity ----


def test_perplexity():
    (run,) = read(
        "perplexity: calculating perplexity over 6 chunks, n_ctx=512, batch_size=2048, n_seq=4\n"
        "perplexity: 7.38 seconds per pass - ETA 17.23 minutes\n"
        "[1]2.6621,[2]3,4882,[3]2.4845,[4]nan,\n[5]1.9,[6]1.8,\nFinal estimate: PPL = 3.3193 +/- 0.01830\n"
    )
    found = run.perplexity
    assert found["running"] == [(1, 2.6621), (2, 3.4882), (3, 2.4845), (4, None), (5, 1.9), (6, 1.8)]
    assert (found["final"], found["error"], found["chunks"], found["seconds_per_pass"]) == (3.3193, 0.0183, 6, 7.38)


def test_perplexity_of_august_2026_and_a_second_run():
    runs = read(
        "Final estimate: PPL over 565 chunks for n_ctx=512 = 4.6520 +/- 0.02855\nFinal estimate: PPL = 5.1 +/- 0.03\n"
    )
    assert runs[0].perplexity == {"final": 4.652, "error": 0.02855, "chunks": 565, "n_ctx": 512}
    assert runs[1].perplexity["final"] == 5.1


def test_kl_divergence():
    (run,) = read(
        "[1]5.0,\nchunk   PPL    ln(PPL(Q)/PPL(base))   KL Divergence   Δp RMS   Same top p\n"
        "   1       5.5493 ±    0.9012       0.00340 ±    0.00371       0.00210 ±    0.00022     1.234 ±  0.100 %    98.431 ±  0.780 %\n"
        "====== Perplexity statistics ======\nMean PPL(Q)                   :   9.123456 ±   0.074000\n"
        "Cor(ln(PPL(Q)), ln(PPL(base))):  99.69%\nMean    KLD:   0.012345 ±   0.000100\n99.9%   KLD:   0.5\n"
        "Mean    Δp: -0.123 ± 0.010 %\nSame top p: 95.123 ± 0.050 %\n"
    )
    assert run.perplexity["kld"] == {
        "Mean PPL(Q)": (9.123456, 0.074), "Cor(ln(PPL(Q)), ln(PPL(base)))": (99.69, None), "Mean KLD": (0.012345, 0.0001),
        "99.9% KLD": (0.5, None), "Mean Δp": (-0.123, 0.01), "Same top p": (95.123, 0.05),
    }  # fmt: skip
    assert run.perplexity["kld_chunks"][0][:2] == [1, (5.5493, 0.9012)] and not run.unread


# ---- loading ----


def test_loading_of_august_2026():
    (run,) = read("""  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: 24126 MiB
CUDA0: using device CUDA0 - 23700 MiB free
------------------- Layer sizes:
Layer  0:    100.50,     10.00,    110.50     500.00  MiB
Layer  1:    300.50,     20.00,    320.50 MiB (output layer)
Memory required for model tensors + cache: 542 MiB
Tensor blk.0.ffn_up_exps.weight (size = 12.25 MiB) buffer type overridden to CUDA_Host
Tensor output.weight (size = 12.25 MiB) buffer type overridden to CUDA_Host
llm_load_tensors: offloaded 2/2 layers to GPU
llama_init_from_model: grouped er    = 0
llama_init_from_model: reduce_type   = f16
llama_kv_cache_init: CUDA_Split KV buffer size =   800.00 MiB
llama_kv_cache_init: KV cache size per device:
    Device 0:  400 MiB
    Device 1:  400.5 MiB
XXXXXXXXXXXXXXXXXXXXX Setting offload policy for op MUL_MAT to OFF
""")
    s = run.startup
    assert (
        s["layer_sizes_mib"] == [[0, 100.5, 10.0, 110.5, 500.0], [1, 300.5, 20.0, 320.5]]
        and s["memory_required_mib"] == 542
    )
    assert (
        s["tensor_overrides"] == {"CUDA_Host": {"ffn_up_exps": "0", "output": ""}}
        and s["devices"][0]["vram_mib"] == 24126
    )
    assert s["kv_mib_per_device"] == [("Device 0", 400.0), ("Device 1", 400.5)] and s["offload_policy"] == [
        ("MUL_MAT", False)
    ]
    assert (s["grouped_er"], s["reduce_type"]) == (0, "f16") and s["devices_free_mib"] == [("CUDA0", 23700)]
    assert (run.engine, run.profile) == ("ik_llama.cpp", "2026-08") and not run.unread


def test_two_caches_of_mainline_are_one_run():
    (run,) = read("""llama_context: n_ctx         = 8192
llama_context:        CPU  output buffer size =     1.00 MiB
llama_kv_cache_unified_iswa: creating non-SWA KV cache, size = 8192 cells
llama_kv_cache_unified:        CPU KV buffer size =   300.00 MiB
llama_kv_cache_unified: size =  300.00 MiB (  8192 cells,  10 layers,  1 seqs), K (f16):  150.00 MiB, V (f16):  150.00 MiB
llama_kv_cache_unified:        CPU KV buffer size =   200.00 MiB
llama_kv_cache_unified: size =  200.00 MiB (  1536 cells,  52 layers,  1 seqs), K (f16):  100.00 MiB, V (f16):  100.00 MiB
llama_context:        CPU compute buffer size =   519.50 MiB
llama_context: graph splits = 1
""")
    assert run.startup["kv_mib"] == [("CPU", 300.0), ("CPU", 200.0)] and run.startup["kv_self_mib"] == 500.0
    assert run.engine == "llama.cpp"


def test_a_program_started_twice_is_two_runs():
    load = "llm_load_tensors: offloaded 2/2 layers to GPU\nllama_new_context_with_model: n_ctx = 512\nllama_new_context_with_model: graph splits = {}\n"
    assert [run.startup["graph_splits"] for run in read(load.format(3) + load.format(5))] == [3, 5]
    assert [
        run.startup["graph_splits"]
        for run in read("llama_context: graph splits = 1\n\nllama_context: graph splits = 2\n")
    ] == [1, 2]


def test_command_and_settings():
    runs = read(
        'model=/m/x.gguf\n\nCUDA_VISIBLE_DEVICES=0 numactl -N 0 \\\n./bin/llama-sweep-bench \\\n  -m "$model" -fa \\\n  -ub 1024\n'
        + HEAD
        + rows(1, pp=1024)
    )
    (run,) = runs
    assert run.certainty == "stated" and run.program == "llama-sweep-bench" and run.model == "x.gguf"
    assert run.settings.n_ubatch == 1024 and run.settings.env == {"CUDA_VISIBLE_DEVICES": "0"} and run.lines == (3, 9)


def test_settings_of_a_command_above_are_marked_as_inferred():
    main = "main: n_kv_max = 2048, n_batch = 2048, n_ubatch = 1024, flash_attn = 1, n_gpu_layers = -1, n_threads = 8, n_threads_batch = 8\n"
    runs = read(
        "$ ./llama-sweep-bench -m x.gguf -c 512 -ub 512 -rtr -fa\n"
        + HEAD
        + rows(1)
        + "\nwith -ub 1024:\n"
        + main
        + HEAD
        + rows(1, pp=1024)
    )
    assert [run.certainty for run in runs] == ["stated", "inferred"]
    assert (runs[1].settings.n_ubatch, runs[1].settings.n_ctx, runs[1].settings.rtr) == (
        1024,
        2048,
        True,
    ) and "line 1" in runs[1].notes[0]
    other = read(
        "$ ./llama-sweep-bench -m x.gguf -ub 512\n"
        + HEAD
        + rows(1)
        + "\n**bob** replied on 2025-06-03\n\n"
        + HEAD
        + rows(1)
    )
    assert other[1].settings is None and other[1].certainty == "none", "another author's table is not this command's"


def test_a_command_that_cannot_have_printed_the_log_is_remarked():
    log = "llama_new_context_with_model: n_ubatch   = 512\nllama_new_context_with_model: graph splits = 1\n"
    assert any(
        "the command says 4096, the log 512" in note
        for note in read("./llama-sweep-bench -m x -b 4096 -ub 4096\n" + log)[0].notes
    )
    assert not read("./llama-sweep-bench -m x -ub 512\n" + log)[0].notes


def test_a_question_for_the_version_is_no_run():
    (run,) = read(
        "$ ./llama-server --version\nversion: 3728 (8ffad187)\n$ ./llama-server -m x.gguf -c 512\nllama_context: graph splits = 1\n"
    )
    assert run.startup["build"] == {"number": 3728, "commit": "8ffad187"} and run.lines[0] == 3


# ---- sources ----


def test_files_bytes_and_lines(tmp_path):
    text = HEAD + rows(2)
    (tmp_path / "plain.log").write_text(text)
    (tmp_path / "packed.log.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "wide.txt").write_bytes(text.encode("utf-16-le"))
    for source in (
        tmp_path / "plain.log",
        str(tmp_path / "packed.log.gz"),
        tmp_path / "wide.txt",
        text.encode(),
        text.splitlines(),
    ):
        assert len(read(source)[0].rows) == 2
    assert read("") == [] and read("just a word") == []


@pytest.mark.parametrize("source", ["/nowhere/run.log", "missing.txt"])
def test_a_file_that_is_not_there(source):
    with pytest.raises(IkexploreError, match="no such file"):
        read(source)


def test_other_bad_sources(tmp_path):
    with pytest.raises(IkexploreError, match="int"):
        read(3)
    with pytest.raises(IkexploreError, match="lines of text"):
        read([b"x"])
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(IkexploreError, match=r"broken\.gz"):
        read(tmp_path / "broken.gz")


def test_markdown_and_json_are_safe():
    runs = read(
        "# <script>alert(1)</script> | x\n./llama-server -m '<b>.gguf' -c 512\nllama_context: graph splits = 1\n"
    )
    assert "<script>" not in runs[0].to_markdown() and "<b>" not in runs.to_markdown()
    assert runs.to_json() and runs[0].to_dict()["startup"] == {"graph_splits": 1}
