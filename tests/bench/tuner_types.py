"""Relative squared error of quant types on normal weights, by the codecs here: makes ikexplore/tune/types.json.

    python tests/bench/tuner_types.py [--write]
"""

import json
import sys
from pathlib import Path

import numpy as np

import ikexplore as ikx

TYPES = ("q8_0", "iq6_k", "q6_k", "iq5_k", "iq5_ks", "iq4_k", "iq4_ks", "iq4_xs", "iq3_k", "iq3_s", "iq3_xxs", "iq2_k",
         "iq2_ks")  # fmt: skip
FILE = Path(__file__).resolve().parents[2] / "ikexplore" / "tune" / "types.json"
SHAPE = (128, 2048)


def error(kind: str) -> float:
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    quant = ikx.quant(kind)
    back = quant.decode(quant.encode(x), SHAPE[1])
    return float(np.mean((x - back) ** 2) / np.mean(x**2))


def main() -> None:
    found = {kind: float(f"{error(kind):.4g}") for kind in TYPES}
    table = {"made by": "tests/bench/tuner_types.py --write", "error": found}
    for kind, value in found.items():
        print(f"{kind:8} {ikx.quant(kind).bpw:6.3f} bpw  {value:.5f}")
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
