"""Runs of launches as one: each kernel against a NumPy twin, and generation as with single launches, bit for bit."""

import numpy as np
import pytest
from cuda_harness import down, quantized, up
from hybrid_harness import cards, flags, rig, tokens
from hybrid_harness import quantized as in_type
from shim import ShimRuntime, needs_compiler

import ikexplore as ikx
from ikexplore.models.build import build
from ikexplore.placement import place
from ikexplore.run import Session
from ikexplore.run.hybrid import fuse, program
from ikexplore.run.hybrid.launches import GpuLowering, Launch, Memory, Place
from ikexplore.schedule.abilities import rules
from ikexplore.schedule.schedule import schedule

pytestmark = needs_compiler
RNG = np.random.default_rng


class Backwards(ShimRuntime):
    """Blocks of a grid in the other order: a card promises none."""

    backwards = True


@pytest.fixture(scope="module", params=[ShimRuntime, Backwards])
def device(request):
    return cards(kind=request.param)[0]


def normal(*shape):
    return RNG(sum(shape)).standard_normal(shape).astype(np.float32)


def run(device, kernel, grid, block, args):
    """Arrays go to the device; addresses and numbers as they are."""
    buffers = [up(device, a) if isinstance(a, np.ndarray) else a for a in args]
    given = [b.ptr if hasattr(b, "ptr") else np.float32(b) if isinstance(b, float) else b for b in buffers]
    device.launch("ops_fused", kernel, (grid,), (block,), given)
    device.check_guards()


def in_eight_bits(device, q, s, y):
    """Whether codes and scales on the device are those of rows y, as quantize_q8 makes them."""
    codes, scales, (n, k) = device.alloc(y.size), device.alloc(y.size // 4), y.shape
    at = up(device, y)
    device.launch("activations", "quantize_q8", [-(-k // 512), n], [128], [at.ptr, codes.ptr, scales.ptr, k, k])
    np.testing.assert_array_equal(down(device, q, y.shape, np.int8), down(device, codes, y.shape, np.int8))
    np.testing.assert_array_equal(down(device, s, (y.size // 16,)), down(device, scales, (y.size // 16,)))
    naive, _, spread = quantized(y)
    close = np.sort(spread, axis=2)[..., 1] < 1e-5
    same = (down(device, q, y.shape, np.int8) == naive).reshape(len(y), -1, 32).all(axis=2)
    assert (same | close).all()


# -- kernels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, block", [(96, 32), (416, 128)])
@pytest.mark.parametrize("slots, adds, bits", [(3, True, True), (0, True, True), (0, False, True), (3, True, False)])
def test_add_norm(device, n, block, slots, adds, bits):
    parts, w, x, z, weight = normal(4, n), normal(3), normal(n), normal(n + 1)[:n].copy(), normal(n)
    at = up(device, x)
    total, y, q, s = (device.alloc(size) for size in (4 * n, 4 * n, n, n // 4))
    run(device, "add_norm", 1, block, [parts if slots else 0, w, slots, 4 * n, at, z if adds else 0, total, y, weight, n, 1e-5,
                                       q if bits else 0, s if bits else 0])
    want = np.einsum("sn,s->n", parts[:3].astype(np.float64), w) if slots else x
    np.testing.assert_allclose(down(device, at, (n,)), want, rtol=1e-5, atol=1e-6)
    if adds:
        want = want + z
        np.testing.assert_allclose(down(device, total, (n,)), want, rtol=1e-5, atol=1e-6)
    want = want / np.sqrt(np.square(want).mean() + 1e-5) * weight
    got = down(device, y, (1, n))
    np.testing.assert_allclose(got[0], want, rtol=2e-5, atol=2e-6)
    if bits:
        in_eight_bits(device, q, s, got)


def turned(x, turns, mode, n_rot):
    first = np.arange(0, n_rot, 2) if mode == 0 else np.arange(n_rot // 2)
    second = first + (1 if mode == 0 else n_rot // 2)
    y, (c, s) = x.copy(), turns.T
    y[:, first] = x[:, first] * c - x[:, second] * s
    y[:, second] = x[:, first] * s + x[:, second] * c
    return y


@pytest.mark.parametrize("mode, normed, stores", [(0, True, True), (2, False, True), (2, True, False)])
def test_turn_and_store(device, mode, normed, stores):
    """Three heads of Q, two of K; K in half at cell 4, V turned: channels are rows of a cache of 8 cells."""
    size, n_rot, past = 40, 32, np.array([4, 5], np.int64)
    q, k, v, turns = normal(3, 48), normal(2, size), normal(64), normal(16, 2)
    wq, wk = normal(size), normal(size + 1)[1:].copy()
    qn, qy, kn, ky = (device.alloc(4 * rows * size) for rows in (3, 3, 2, 2))
    k_cells, v_cells = up(device, np.zeros((8, 80), np.float16)), up(device, np.zeros((64, 8), np.float32))
    args = [q, qn if normed else 0, wq, qy, 3, 192, 4 * size, 4 * size, 1e-6, k, kn if normed else 0, wk, ky, 2, 4 * size,
            4 * size, 4 * size, 1e-6, size, n_rot, mode, turns]
    nowhere = [0, 0, 1, 0, 0, 0, *[0] * 6, 1, 0, 0, 0]
    args += [k_cells, 1, 80, 2, 0, 160, v, 64, 4, 0, v_cells, 0, 64, 32, 0, 4] if stores else nowhere
    run(device, "turn_and_store", 5 + stores, 64, [*args, past])
    rows = [q[:, :size], k]
    if normed:
        rows = [x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + 1e-6) * w for x, w in zip(rows, (wq, wk))]
        np.testing.assert_allclose(down(device, qn, (3, size)), rows[0], rtol=1e-5)
        np.testing.assert_allclose(down(device, kn, (2, size)), rows[1], rtol=1e-5)
    for x, y in zip(rows, (qy, ky)):
        np.testing.assert_allclose(down(device, y, x.shape), turned(x, turns, mode, n_rot), rtol=2e-5, atol=1e-6)
    want_k, want_v = np.zeros((8, 80), np.float16), np.zeros((64, 8), np.float32)
    if stores:
        want_k[4], want_v[:, 4] = down(device, ky, (80,)).astype(np.float16), v
    np.testing.assert_array_equal(down(device, k_cells, want_k.shape, np.float16), want_k)
    np.testing.assert_array_equal(down(device, v_cells, want_v.shape), want_v)


@pytest.mark.parametrize("n, used, least, over", [(40, 6, 0, True), (128, 8, 2, True), (7, 7, 0, False)])
def test_route(device, n, used, least, over):
    x = np.round(normal(n), 1)  # some are equal
    p, order, w, total, normed = (device.alloc(4 * size) for size in (n, n, used, 1, used))
    sums = [total, normed] if over else [0, 0]
    run(device, "route", 1, min(256, -(-n // 32) * 32), [x, p, order, w, *sums, n, used, 1.0, least, 0.4])
    e = np.exp(x.astype(np.float64))
    probabilities = down(device, p, (n,))
    np.testing.assert_allclose(probabilities, e / e.sum(), rtol=2e-6)
    want = np.argsort(-probabilities, kind="stable")
    cut = (np.arange(n) >= least) & (probabilities[want] < np.float32(0.4) * probabilities.max()) & bool(least)
    want = np.where(cut, -1, want)
    np.testing.assert_array_equal(down(device, order, (n,), np.int32), want)
    chosen = np.where(want < 0, 0, probabilities[want])[:used]
    np.testing.assert_array_equal(down(device, w, (used,)), chosen)
    if over:
        np.testing.assert_allclose(down(device, total, (1,)), chosen.sum(), rtol=1e-6)
        np.testing.assert_allclose(down(device, normed, (used,)), chosen / chosen.sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", [0, 1])
def test_gates_in_eight_bits(device, kind):
    gate, up_, biases, ids = normal(3, 96), normal(3, 97)[:, :96].copy(), normal(2, 4, 96), np.array([3, 0, 2], np.int32)
    y, q, s = device.alloc(4 * 288), device.alloc(288), device.alloc(72)
    args = [gate, up_, y, 96, 3, 384, 384, kind, biases[0].copy(), biases[1].copy(), 384, ids, 12, 3, q, s]
    run(device, "gated_q8", 2, 64, args)
    a, b = gate + biases[0][ids], up_ + biases[1][ids]
    want = a / (1 + np.exp(-a)) * b
    if kind == 1:
        a, b = np.minimum(a, 7), np.clip(b, -7, 7)
        want = a / (1 + np.exp(-1.702 * a)) * (b + 1)
    got = down(device, y, (3, 96))
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=3e-6)
    in_eight_bits(device, q, s, got)


@pytest.mark.parametrize("sink", [False, True])
def test_ends_of_attention_in_eight_bits(device, sink):
    """Three heads of 64 from four parts, of which one saw nothing."""
    parts, sinks = normal(3, 4, 66), normal(3)
    parts[..., 1] = np.abs(parts[..., 1])
    parts[:, 2, :2] = -np.inf, 0
    y, q, s = device.alloc(4 * 192), device.alloc(192), device.alloc(48)
    run(device, "merge_q8", 3, 32, [parts, y, 4, 64, 3, sinks if sink else 0, q, s])
    e = np.exp(parts[..., 0].astype(np.float64))
    total = (e * parts[..., 1]).sum(axis=1) + (np.exp(sinks.astype(np.float64)) if sink else 0)
    want = (e[..., None] * parts[..., 2:]).sum(axis=1) / total[:, None]
    got = down(device, y, (1, 192))
    np.testing.assert_allclose(got.reshape(3, 64), want, rtol=2e-5, atol=2e-6)
    in_eight_bits(device, q, s, got)


# -- whole models -----------------------------------------------------------------------------------------------------------


def generated(model, line, kind=ShimRuntime, gpus=1):
    """Logits of two tokens on stand-ins, and the last program."""
    ids, runtimes = tokens(model, 2), cards(gpus, kind)
    with Session(model, flags(line), machine=rig(gpus), runtimes=runtimes) as session:
        logits = np.concatenate([session.eval(ids[i : i + 1]) for i in range(len(ids))])
        last = list(session._programs.values())[-1]
    for runtime in runtimes:
        runtime.check_guards()
    return logits, last


def kernels(hybrid):
    return {step.kernel for work in hybrid.work.values() for step in work.steps if isinstance(step, Launch)}


@pytest.mark.parametrize("arch, kind, line, gpus, uses", [
    ("llama", "iq4_nl", "-ngl 99", 1, "add_norm turn_and_store gated_q8 merge_q8"),
    ("llama", "", "-ngl 99 -no-fa", 1, "add_norm turn_and_store"),
    ("llama", "q8_0", "-ngl 99 -ot attn=CUDA1 -ot ffn_down=CPU", 2, "turn_and_store merge_q8"),
    ("qwen3moe", "", "-ngl 99", 1, "add_norm turn_and_store route gated_q8 merge_q8"),
    ("qwen3moe", "", "-ngl 99 -muge -mqkv -ctk q8_0", 1, "add_norm route gated_q8"),
    ("gpt-oss", "q8_0", "-ngl 99", 1, "add_norm turn_and_store gated_q8 merge_q8"),
    ("deepseek2", "q8_0", "-ngl 99", 1, "add_norm gated_q8"),
    ("qwen2", "q4_0", "-ngl 99 -ctk bf16", 1, "add_norm turn_and_store gated_q8 merge_q8"),
])  # fmt: skip
def test_fused_launches_give_what_single_ones_give(made, llama, moe, monkeypatch, arch, kind, line, gpus, uses):
    model = {"llama": llama, "qwen3moe": moe}.get(arch) or made(arch)
    model = in_type(model, kind) if kind else model
    got, hybrid = generated(model, line, gpus=gpus)
    assert set(uses.split()) <= kernels(hybrid)
    np.testing.assert_array_equal(generated(model, line, Backwards, gpus)[0], got)
    monkeypatch.setattr(program, "fused", list)
    want, hybrid = generated(model, line, gpus=gpus)
    assert not {"add_norm", "turn_and_store", "route", "gated_q8", "merge_q8"} & kernels(hybrid)
    np.testing.assert_array_equal(got, want)


def test_blocks_that_meet_are_found(llama, monkeypatch):
    """K is planned where Q was: turned by one kernel, blocks of K could write what blocks of Q have not read yet."""
    want, _ = generated(llama, "-ngl 99")
    monkeypatch.setattr(fuse, "_independent", lambda *chains: True)
    np.testing.assert_array_equal(generated(llama, "-ngl 99")[0], want)
    assert not np.array_equal(generated(llama, "-ngl 99", Backwards)[0], want)


def test_sums_where_experts_are_stay_single():
    """The sum of two experts of 64 with a row, and its norm: fused unless the plan put the sum where the experts were."""

    def steps(y):
        parts, routed, row, normed = (Place("compute", at) for at in (0, 512, 768, 1024))
        every = [("ops_elements", "multi_add", [parts, 9, routed, 64, 1, 2, 512, 256]),
                 ("ops_elements", "binary", [row, routed, y, 0, *[64, 1, 1, 1], *[256] * 3, *[64, 1, 1, 1], *[256] * 3]),
                 ("ops_rows", "rms_norm", [y, normed, 7, 64, 1, 256, 256, 256, 256, 1e-6])]
        return [Launch(module, kernel, (1, 1, 1), 64, args, node) for node, (module, kernel, args) in enumerate(every)]

    for at, want in ((768, ["add_norm"]), (1280, ["add_norm"]), (128, ["multi_add", "add_norm"])):
        assert [step.kernel for step in fuse.fused(steps(Place("compute", at)))] == want
    (one,) = fuse.fused(steps(Place("compute", 768)))
    assert one.node == 2 and one.args[4:8] == [Place("compute", at) for at in (512, 768, 768, 1024)]


@pytest.mark.parametrize("arch, single, few", [("llama", 22, 14), ("qwen3moe", 31, 17)])
def test_launches_of_a_layer(llama, moe, arch, single, few):
    """What docs/cuda.md says of a layer, from one product with Wq to the next."""
    _, hybrid = generated(in_type(llama, "iq4_nl") if arch == "llama" else moe, "-ngl 99")
    counts = []
    for split in (hybrid.steps[1], hybrid.work[1].steps):
        products = [i for i, s in enumerate(split) if s.kernel.startswith("gemv") and "Qcur" in hybrid.graph.name[s.node]]
        counts.append(products[1] - products[0])
    assert counts == [single, few]


@pytest.mark.parametrize("name, single, few", [
    ("llama-3.1-8b", 707, 450),
    ("qwen3-30b-a3b", 1491, 770),
    ("deepseek-v2-lite", 1100, 885),
])  # fmt: skip
def test_launches_of_a_token_of_real_models(data, name, single, few):
    """What docs/cuda.md says of models that are there as headers: lowered with made-up addresses, not run."""
    model = ikx.Model.from_header(data / "schedule" / "models" / f"{name}-q4_k_m.json.gz")
    settings, machine = ikx.Settings.parse("-c 4096 -ngl 99"), rig(free_mib=1 << 20)
    placed = place(model, settings, machine)
    graph = build(model, settings, machine, tensors=placed.tensors, corrected=True, n_tokens=1, n_kv=4096, n_outputs=1)
    planned = schedule(graph, placed, rules(placed.context, machine), settings.offload_policy)
    caches = [leaf for leaf in graph.name[: graph.n_leafs] if leaf.startswith("cache_")]
    weights = {i: (i + 1) << 40 for i in range(len(placed.tensors.names))}
    memory = Memory(weights, {cache: (i + 1) << 30 for i, cache in enumerate(caches)}, 64)
    lowering = GpuLowering(planned, 0, memory, lambda params, factors: 128)
    assert planned.backend_seq == "C0"
    first, end = (graph.n_leafs + int(at[1]) for at in (planned.cut.start, planned.cut.end))
    steps = lowering.lower([row for row in range(first, end) if not graph.is_view_op[row]])
    assert all(isinstance(step, Launch) for step in steps)
    assert (len(steps), len(fuse.fused(steps))) == (single, few)


def test_heads_with_a_matrix_each_are_one_launch(made):
    """MLA's products of a token: weights of q8_0 take one for the 8 bits of all heads and one for the products."""
    _, hybrid = generated(in_type(made("deepseek2"), "q8_0"), "-ngl 99")
    for name in ("q_nope2-1", "kqv-1"):
        of = [s.kernel for steps in hybrid.steps.values() for s in steps if hybrid.graph.name[s.node] == name]
        assert of[-1].startswith("gemv") and len(of) == 1 + (of[-1] != "gemv_f16"), of


def test_watched_evaluations_launch_node_by_node(moe):
    class Sees:
        def wants(self, graph, row):
            return True

        def see(self, trace, row):
            rows.add(row)

    rows, modules, ids = set(), [], tokens(moe, 1)

    class Lists(ShimRuntime):
        def launch(self, module, *args, **more):
            modules.append(module)
            super().launch(module, *args, **more)

    with Session(moe, flags("-ngl 99"), machine=rig(), runtimes=cards(kind=Lists)) as session:
        session.observer = Sees()
        watched = session.eval(ids)
        hybrid = next(iter(session._programs.values()))
        assert "ops_fused" not in modules and {s.node for s in hybrid.steps[1]} <= rows
        session.observer = None
        session.rewind()
        np.testing.assert_array_equal(session.eval(ids), watched)
        assert "ops_fused" in modules
