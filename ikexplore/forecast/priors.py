"""What is assumed of a factor before any run was seen: log of time over datasheet time, and its standard deviation."""

#: factors of kernels and systems, the same on every rig
PRIORS: dict[str, tuple[float, float]] = {
    "cpu.attn1.cycles": (0.4, 0.3), "cpu.attn1.gqa": (2.3, 0.4),
    "cpu.attn1.q8": (0.5, 0.3), "cpu.core": (0.2, 0.3), "cpu.gemm.iq": (2.0, 0.6), "cpu.gemm.iqk": (1.8, 0.5),
    "cpu.gemm.k": (1.5, 0.5), "cpu.gemm.legacy": (1.0, 0.5), "cpu.gemm.onthefly": (0.65, 0.3),
    "cpu.gemm.packed": (1.0, 0.5), "cpu.gemm.trellis": (1.2, 0.5), "cpu.gemm.trellis-float": (1.5, 0.5),
    "cpu.gemm.trellis-int": (0.65, 0.3), "cpu.gemv.iq": (1.9, 0.6), "cpu.gemv.iq-packed": (1.9, 0.6),
    "cpu.gemv.trellis": (3.5, 0.4), "cpu.gemv.trellis-int": (3.0, 0.4), "cpu.node": (0.0, 0.8),
    "cpu.node.numa": (0.4, 0.3), "cpu.node.threads": (0.5, 0.2), "cpu.numa": (0.3, 0.4),
    "cpu.numa.compute": (0.1, 0.15), "cpu.numa.mmap": (0.05, 0.1), "cpu.other": (0.0, 0.8), "cpu.read": (0.25, 0.3),
    "cpu.read.mmap": (0.03, 0.1), "cpu.read.packed": (-0.05, 0.1), "cpu.read.size": (0.1, 0.15), "cpu.smt": (0.1, 0.2),
    "cpu.smt.compute": (0.0, 0.2), "cpu.threads": (0.12, 0.07), "cpu.unpack.iq": (0.0, 0.7),
    "cpu.unpack.iqk": (0.0, 0.7), "cpu.unpack.k": (0.0, 0.7), "cpu.unpack.legacy": (0.0, 0.7),
    "cpu.unpack.onthefly": (1.0, 0.7), "cpu.unpack.packed": (0.0, 0.7), "cpu.unpack.trellis": (2.3, 0.5),
    "cpu.unpack.trellis-float": (1.0, 0.7), "cpu.unpack.trellis-int": (1.0, 0.5), "disk.read": (0.0, 0.5),
    "disk.token": (-2.3, 0.7), "gpu.attn.old": (0.4, 0.4), "gpu.attn1.compute.gqa": (2.4, 0.5), "gpu.attn1.gqa": (0.0, 0.4),
    "gpu.attn1.latent": (0.0, 0.4),
    "gpu.attn1.old": (1.0, 0.6), "gpu.attn1.vector": (-0.5, 0.5), "gpu.attn1.vector.q8": (0.4, 0.4),
    "gpu.decode.grid": (0.0, 0.6),
    "gpu.decode.packed": (0.7, 0.7), "gpu.decode.trellis": (0.0, 0.6), "gpu.expert.int8": (0.0, 0.6),
    "gpu.expert.packed": (0.3, 0.7), "gpu.expert.trellis": (0.3, 0.7), "gpu.gemm.experts": (0.3, 0.3),
    "gpu.gemm.int8": (1.4, 0.5), "gpu.gemm.packed": (1.8, 0.6), "gpu.gemm.trellis": (1.8, 0.6),
    "gpu.gemv.trellis": (0.0, 0.7), "gpu.node": (0.0, 0.6), "gpu.node.ada": (-0.35, 0.2), "gpu.other": (0.0, 0.8),
    "gpu.read": (0.4, 0.3), "link.act": (0.5, 0.7), "link.paged": (0.0, 0.3), "link.pinned": (0.03, 0.12),
    "peer": (0.0, 0.7), "split": (0.0, 0.6), "split.windows": (0.7, 0.4),
}  # fmt: skip

#: how far one rig, or one mix of types on it, is from the rest
SPREADS: dict[str, tuple[float, float]] = {
    "rig.cpu.read": (0.0, 0.24), "rig.cpu.rate": (0.0, 0.2), "rig.gpu.read": (0.0, 0.24), "rig.gpu.rate": (0.0, 0.17),
    "rig.gpu.node": (0.0, 0.15), "rig.link": (0.0, 0.35), "rig.stage": (0.0, 0.25),
    "rig.split": (0.0, 0.3), "rig.peer": (0.0, 0.8),
    "mix.pp": (0.0, 0.1), "mix.tg": (0.0, 0.09),
}  # fmt: skip

#: the band: share of the factors' variance, and what no run repeats, so that it holds 80 % on rigs that were left out
BAND_SHARE, BAND_NOISE = 0.6, {"pp": 0.07, "tg": 0.07}

#: standard deviation of the log of one run's rates that nothing explains
NOISE = {"pp": 0.1, "tg": 0.085}
