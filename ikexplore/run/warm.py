"""Compile kernels before they are needed; they stay on disk, so that later processes start without compiling."""

from collections.abc import Callable, Sequence

from ..errors import QuantError

#: what ``warm`` compiles when no types are named, each with its repacked form
USUAL = ("q8_0", "q6_k", "q5_k", "q4_k", "q4_0", "q3_k", "q2_k", "iq5_k", "iq4_k", "iq4_ks", "iq4_xs", "iq4_nl", "iq3_k",
         "iq2_k")


def warm(types: Sequence[str] = (), on_progress: Callable[[dict], None] | None = None) -> int:
    """Compile every op of a model and the matrix products of ``types`` (default: USUAL) and of their repacked forms.

    ``on_progress`` hears events as `sweep`'s, phase "compile". Returns the number of kernels that are ready now; those
    that were on disk already are only loaded. Raises QuantError for an unknown type.
    """
    from ikexplore_kernels import dense, product, rows
    from ikexplore_kernels.abi import op_address
    from ikexplore_kernels.formats import get

    from .. import demo
    from .session import Session

    try:
        formats = [get(name.lower()) for name in types or USUAL]
    except ValueError as error:
        raise QuantError(str(error)) from None
    formats += [f.repacked for f in formats if f.repacked is not None]
    wanted = [(dense.dense_product if f.dense else product.product, f) for f in formats]
    wanted += [(rows.get_rows_dense if f.dense else rows.get_rows, f) for f in formats if f.interleave == 1]
    with Session(demo.model(), on_progress=on_progress) as session:
        for n in (1, 8):
            session.eval([0] * n)
    for done, (op, f) in enumerate(wanted):
        if on_progress:
            text = f"{op.__name__} {f.name}"
            on_progress({"phase": "compile", "done": done, "total": len(wanted), "text": text})
        op_address(op, f)
    return len(wanted)
