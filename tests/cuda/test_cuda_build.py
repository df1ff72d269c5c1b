"""Sources and their compilation: every module with NVRTC, no card needed."""

import functools
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ikexplore_kernels import formats
from ikexplore_kernels.cuda import build, source
from ikexplore_kernels.cuda.runtime import CupyRuntime, packed


@functools.cache
def no_nvrtc() -> str:
    """Why NVRTC cannot be used, or nothing."""
    try:
        build.nvrtc_version()
    except RuntimeError as error:
        return str(error)
    return ""


def test_every_quant_type_has_a_cuda_source():
    missing = [name for name in formats.names() if name not in source.format_modules()]
    assert not missing, f"no .cu beside the codec of: {', '.join(missing)}"


@pytest.mark.parametrize("arch", build.ARCHITECTURES)
@pytest.mark.parametrize("part", range(6))
def test_every_module_compiles(part, arch):
    """All of a part in one translation unit; each kernel of a type is there. Without optimisations, which take long."""
    if no_nvrtc():
        pytest.skip(no_nvrtc())
    names = source.modules()[part::6]
    ptx = build.compile_ptx(*names, arch=arch, quick=True)
    assert f".target sm_{arch}" in ptx
    for name in names:
        if name in source.format_modules():
            for kind in ("decode", "decode_half", "gemv", "gemv_many"):
                assert f".entry {kind}_{name}(" in ptx


def test_as_a_card_would_get_them():
    """With all optimisations, a module of ops and types of several kinds."""
    if no_nvrtc():
        pytest.skip(no_nvrtc())
    ptx = build.compile_ptx("activations", "experts", "q4_k", "iq2_xs", "iq6_k", "bf16_r16")
    assert "dp4a.s32.s32" in ptx and "fma.rn.f32" in ptx and "prmt.b32" in ptx


def test_a_module_is_one_text_with_every_header_once():
    text = source.source("q4_k", "q5_k")
    assert '#include "' not in text
    assert text.count("struct Part {") == 1 and "decode_q5_k" not in source.source("q4_k")
    assert "block = 256, bytes = 144, meta = 0, rows = 1" in text
    with pytest.raises(ValueError, match="no CUDA module 'q4_x'"):
        source.source("q4_x")
    with pytest.raises(ValueError, match="no CUDA module"):
        source.source("../cuda/common")


def test_what_does_not_compile_is_shown_with_its_line():
    if no_nvrtc():
        pytest.skip(no_nvrtc())
    text = source.expanded('#include "common.cuh"\nKERNEL(f, int* x) {\n    *x = y;\n}\n', "mine.cu")
    with pytest.raises(
        RuntimeError, match=r'^mine does not compile for sm_80:\nmine.cu\(3\): error: identifier "y" is undefined'
    ):
        build.compile_ptx("mine", arch=80, text=text)


def test_without_a_card_the_reason_is_one_line():
    can, reason = build.available()
    assert reason and "\n" not in reason
    if not can:
        with pytest.raises(RuntimeError) as error:
            CupyRuntime()
        assert str(error.value) == reason


@pytest.mark.parametrize(
    ("driver", "built", "devices", "says"),
    [
        (0, 12090, 0, "no NVIDIA driver is visible"),
        (11040, 12090, 1, r"knows CUDA 11\.4: pip install \"cupy-cuda11x"),
        (12040, 12090, 0, "no CUDA device"),
        (13000, 12090, 2, "^2 CUDA devices$"),
    ],
)
def test_what_does_not_fit_is_said(driver, built, devices, says, monkeypatch):
    """A CuPy that is not there, with facts of its driver made up."""
    runtime = SimpleNamespace(driverGetVersion=lambda: driver, runtimeGetVersion=lambda: built, getDeviceCount=lambda: devices)
    cuda = SimpleNamespace(runtime=runtime, nvrtc=SimpleNamespace(getVersion=lambda: (12, 9)))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(build, "find_spec", lambda name: object())
    can, reason = build.available()
    assert re.search(says, reason) and can == says.startswith("^")


def test_arguments_are_typed():
    assert [type(a) for a in packed([1, 1.5, np.int32(2)])] == [np.int64, np.float32, np.int32]
    with pytest.raises(TypeError, match="not str"):
        packed(["x"])
    with pytest.raises(TypeError, match="not bool"):
        packed([True])
