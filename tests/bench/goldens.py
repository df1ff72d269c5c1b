"""Logits of every model, setting, cache and quant type of the reference set: python tests/bench/goldens.py [models ...].

Prints a line per case: relative L2 in percent, what it may be, the verdict; then how many fall short. ``--f16`` and
``--quant`` take one half each, ``--only TEXT`` the cases whose name has it, ``--shared FOLDER`` another folder.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests" / "run")]

from golden_cases import Reference  # noqa: E402


def rows_of(reference, f16, quant, only):
    if f16:
        for key in reference.f16_keys():
            if only in key:
                yield lambda key=key: [reference.f16_row(key)]
                if "ctk" in key:
                    yield lambda key=key: [reference.cache_row(key)]
        yield lambda: [r for r in reference.other_rows() if only in r.case]
        yield lambda: reference.text_rows(reference.folder.parent)
    if quant:
        for kind in reference.quants:
            if only in kind:
                yield lambda kind=kind: reference.quant_rows(kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--f16", action="store_true")
    parser.add_argument("--quant", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    args = parser.parse_args()
    both = args.f16 == args.quant
    folder = args.shared / "golden" / "models"
    print("| model | case | what | % | bound | |\n|---|---|---|---|---|---|", flush=True)
    short = total = 0
    for name in args.models or sorted(p.name for p in folder.iterdir() if p.is_dir()):
        for make in rows_of(Reference(folder / name), both or args.f16, both or args.quant, args.only):
            try:
                rows = make()
            except Exception as error:
                print(f"| {name} | {type(error).__name__}: {error} | | | | FALLS SHORT |", flush=True)
                short, total = short + 1, total + 1
                continue
            for row in rows:
                print(row, flush=True)
                total, short = total + 1, short + (not row.good)
    print(f"{total} comparisons, {short} fall short")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
