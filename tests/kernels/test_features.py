"""The kernels on processors with fewer instructions than this one, and for ARM: the same sums by other instructions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_harness import some
from llvmlite import binding as llvm
from llvmlite import ir

from ikexplore_kernels import target

HERE = Path(__file__).resolve().parent
#: features that numba compiles for, and what this processor needs to run them
SETS = {
    "baseline": ("x86-64", "+sse2", set()),
    "avx2": ("haswell", "+avx,+avx2,+fma,+f16c,+sse4.2,+ssse3,+popcnt,+bmi,+bmi2", {"avx2", "fma", "f16c"}),
    "avx-vnni, 256 bits": ("haswell", "+avx,+avx2,+fma,+f16c,+sse4.2,+ssse3,+popcnt,+bmi,+bmi2,+avx512f,+avx512vl,+avx512vnni",
                           {"avx512vl", "avx512vnni"}),
}
#: a type with a table, blocks of 256 and scales per 16; attention with an f16 cache; grid points where AVX-512 does not
#: permute them. No more, as compiling takes long
PRODUCT = "test_product.py::test_product[7-iq4_k]"
ATTENTION = "test_attention.py::test_flash_attention[4-2-64-64-9-60-4-kinds0-0-None]"
EIGHT = "test_attention.py::test_8_bits_are_exact_for_queries_in_8_bits[4-2-64-64-9-60-4-kinds0-0-None]"
GRIDS = [f"test_formats_unpack.py::test_unpack_gives_the_weights_of_decode[{name}]" for name in ("iq3_s_r4", "iq2_xs")]
TESTS = {"baseline": [PRODUCT, ATTENTION],
         "avx2": ["test_product.py::test_product[1-iq4_k]", PRODUCT, ATTENTION, EIGHT, *GRIDS],
         "avx-vnni, 256 bits": [PRODUCT, EIGHT]}


@pytest.mark.parametrize("name", some(list(SETS), ["avx2"], "the same code on AVX2 is tested"))
def test_products_and_attention_with(name, tmp_path):
    cpu, features, needs = SETS[name]
    if not needs <= {k for k, on in llvm.get_host_cpu_features().items() if on}:
        pytest.skip(f"this processor has no {', '.join(sorted(needs))}")
    env = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "IKEXPLORE_CACHE": str(tmp_path),
                        "IKEXPLORE_ALL": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:nbval",
               *(str(HERE / t) for t in TESTS[name])]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=HERE.parent.parent)
    assert done.returncode == 0 and f"{len(TESTS[name])} passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.fixture(scope="module")
def arm():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        return llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite was built without the AArch64 target")


@pytest.mark.parametrize("features, seven, want, never", [
    ({"neon", "dotprod", "i8mm"}, False, {"usdot": 4}, "mul"),
    ({"neon", "dotprod"}, True, {"sdot": 4}, "mul"),
    ({"neon", "dotprod"}, False, {"sdot": 8}, "mul"),
    ({"neon"}, False, {"mul": 1}, "dot"),
])
def test_byte_products_for_arm(arm, monkeypatch, features, seven, want, never):
    """64 products of bytes: one instruction per 128 bits, two where both signs must be handled, none without dotprod."""
    for flag, value in {"ARM": True, "VNNI512": False, "VNNI256": False, "AVX2": False, "FEATURES": features}.items():
        monkeypatch.setattr(target, flag, value)
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    sums, bytes = ir.VectorType(ir.IntType(32), 16), ir.VectorType(ir.IntType(8), 64)
    kind = ir.FunctionType(ir.VoidType(), [sums.as_pointer(), bytes.as_pointer(), bytes.as_pointer()])
    function = ir.Function(module, kind, "products")
    b = ir.IRBuilder(function.append_basic_block())
    acc, u, s = (b.load(a) for a in function.args)
    b.store(target._emit_dp(b, acc, u, s, seven), function.args[0])
    b.ret_void()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = arm.create_target_machine(cpu="generic", features=",".join(f"+{f}" for f in sorted(features)), opt=2)
    found = [line.split()[0] for line in machine.emit_assembly(parsed).splitlines() if line.startswith("\t")]
    for word, count in want.items():
        hits = sum(word in x for x in found)
        assert hits >= count if word == "mul" else hits == count, found
    assert not any(never in x for x in found), found
