"""Compiling: NVRTC by hand for checks without a card (`compile_ptx`), CuPy's RawModule for runs (`load`)."""

from __future__ import annotations

import ctypes
import functools
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .source import source

__all__ = ["ARCHITECTURES", "OPTIONS", "available", "compile_ptx", "load", "nvrtc_version"]

#: what the tests compile for: Turing, Ampere, Hopper
ARCHITECTURES = (75, 80, 90)

#: No fast math: results are compared bit by bit. -fmad=false: a product and a sum are rounded one by one, as on the CPU;
#: where a fused one is meant the code says fma_rn.
OPTIONS = ("--std=c++17", "-fmad=false")

_WHERE = ("nvidia/cuda_nvrtc", "nvidia/cu12", "nvidia/cu13")  # folders of the wheels, inside site-packages
_MISSING = "no NVRTC was found: pip install nvidia-cuda-nvrtc-cu12 (or CuPy, which brings its own)"


def _candidates() -> list[str]:
    spec = find_spec("nvidia")
    roots = [Path(p).parent for p in (spec.submodule_search_locations or [])] if spec else []
    found = []
    for root in roots:
        for folder in _WHERE:
            for pattern in ("lib/libnvrtc.so.*", "bin/**/nvrtc64_*.dll"):
                found += [
                    str(p) for p in sorted((root / folder).glob(pattern)) if "builtins" not in p.name and "alt" not in p.name
                ]
    names = ["nvrtc64_120_0.dll", "nvrtc64_130_0.dll"] if sys.platform == "win32" else ["libnvrtc.so.12", "libnvrtc.so.13"]
    return found + names


@functools.lru_cache(maxsize=1)
def _nvrtc() -> Any:
    """The library. Raises RuntimeError where there is none."""
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise RuntimeError(_MISSING)


def _checked(library: Any, status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"NVRTC: {what}: {library.nvrtcGetErrorString(status).decode()}")


def nvrtc_version() -> tuple[int, int]:
    """Version of NVRTC. Raises RuntimeError where there is none."""
    library, major, minor = _nvrtc(), ctypes.c_int(), ctypes.c_int()
    _checked(library, library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "asking for the version")
    return major.value, minor.value


def compile_ptx(*names: str, arch: int = 80, text: str | None = None, quick: bool = False) -> str:
    """PTX of a translation unit with these modules (or of ``text``) for compute capability ``arch`` (75, 80 ...).

    ``quick`` leaves most optimisations out, eight times as fast, where NVRTC can. No card and no driver are needed.
    Raises RuntimeError with the compiler's words where it does not compile, or where no NVRTC is installed.
    """
    library, program = _nvrtc(), ctypes.c_void_p()
    code = (source(*names) if text is None else text).encode()
    label = ("_".join(names) or "text")[:60]
    made = library.nvrtcCreateProgram(ctypes.byref(program), code, f"{label}.cu".encode(), 0, None, None)
    _checked(library, made, "creating a program")
    try:
        fast = ("--Ofast-compile=max",) if quick and nvrtc_version() >= (12, 9) else ()
        options = [o.encode() for o in (*OPTIONS, *fast, f"--gpu-architecture=compute_{arch}")]
        status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if status:
            raise RuntimeError(f"{label} does not compile for sm_{arch}:\n{_string(library, program, 'ProgramLog')}")
        return _string(library, program, "PTX")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _string(library: Any, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    _checked(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), f"size of {what}")
    buffer = ctypes.create_string_buffer(size.value)
    _checked(library, getattr(library, f"nvrtcGet{what}")(program, buffer), what)
    return buffer.value.decode(errors="replace")


@functools.cache
def load(name: str) -> Any:
    """The module as a cupy.RawModule, compiled at its first launch and kept in CuPy's disk cache."""
    import cupy

    return cupy.RawModule(code=source(name), options=OPTIONS, backend="nvrtc")


def available() -> tuple[bool, str]:
    """Can kernels run on a card here? If not, why, and what to do, in one line."""
    if find_spec("cupy") is None:
        return False, 'CuPy is not installed: pip install "ikexplore[cuda]" (CUDA 12), or "cupy-cuda13x[ctk]" for CUDA 13'
    try:
        import cupy

        runtime = cupy.cuda.runtime
        driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            return False, "no NVIDIA driver is visible here: install one, or give the container its GPUs (--gpus all)"
        if driver // 1000 < built // 1000:
            return False, (
                f"this CuPy is for CUDA {built // 1000} and the driver knows CUDA {driver // 1000}.{driver % 1000 // 10}: "
                f'pip install "cupy-cuda{driver // 1000}x[ctk]", or update the driver'
            )
        count = runtime.getDeviceCount()
    except ImportError as error:
        return False, f"CuPy does not import ({_line(error)}): reinstall the wheel for your CUDA, cupy-cuda12x or cupy-cuda13x"
    except Exception as error:
        return False, f"no CUDA device can be used ({_line(error)}): nvidia-smi tells what the driver sees"
    if not count:
        return False, "no CUDA device: nvidia-smi tells what the driver sees"
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        return False, f'CuPy finds no NVRTC ({_line(error)}): pip install "cupy-cuda{built // 1000}x[ctk]"'
    return True, f"{count} CUDA device{'s' if count > 1 else ''}"


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
