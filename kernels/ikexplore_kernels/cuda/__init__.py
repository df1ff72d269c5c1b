"""CUDA: the sources of the device kernels, and how they are compiled, loaded and launched.

`source` puts together the CUDA C++ text of a module, `build` compiles it (NVRTC), `runtime` runs it on a card (CuPy).
The same text also compiles as C++17 against a small header, which is how the tests run every kernel on a CPU. A module
is either a quant type (``formats/<type>.cu``, beside the type's Python) or a set of ops (``cuda/<name>.cu``).
Nothing here imports CuPy before a device is asked for.
"""
