"""The lines of llama-perplexity --kl-divergence."""

from typing import Any


def lines(r: Any) -> list[str]:
    """Statistics of a Kld in three blocks, with the reference's labels and digits."""
    if not r.chunks:
        return ["nothing was finished"]
    ppl = [("Mean PPL(Q)", r.ppl, r.ppl_error), ("Mean PPL(base)", r.ppl_base, r.ppl_base_error),
           ("Cor(ln(PPL(Q)), ln(PPL(base)))", r.correlation, None), ("Mean ln(PPL(Q)/PPL(base))", r.ln_ratio, r.ln_ratio_error),
           ("Mean PPL(Q)/PPL(base)", r.ppl_ratio, r.ppl_ratio_error),
           ("Mean PPL(Q)-PPL(base)", r.ppl_difference, r.ppl_difference_error)]
    out = ["====== Perplexity statistics ======"]
    for name, value, error in ppl:
        out.append(f"{name:30}: " + (f"{100 * value:6.2f}%" if error is None else f"{value:10.6f} ± {error:10.6f}"))
    out += ["", "====== KL divergence statistics ======", f"Mean    KLD: {r.mean:10.6f} ± {r.error:10.6f}"]
    out += [f"{_label(p)} KLD: {v:10.6f}" for p, v in reversed(r.percentiles.items())]
    out += ["", "====== Token probability statistics ======"]
    out += [f"Mean    Δp: {100 * r.p_mean:6.3f} ± {100 * r.p_mean_error:5.3f} %"]
    out += [f"{_label(p)} Δp: {100 * v:6.3f}%" for p, v in reversed(r.p_percentiles.items())]
    out += [f"RMS Δp    : {100 * r.p_rms:6.3f} ± {100 * r.p_rms_error:5.3f} %",
            f"Same top p: {100 * r.top1:6.3f} ± {100 * r.top1_error:5.3f} %"]
    return [*out, *([f"interrupted after {r.chunks} chunks"] if r.stopped else [])]


def _label(percent: float) -> str:
    named: dict[float, str] = {0: "Minimum", 50: "Median ", 100: "Maximum"}
    return named.get(percent) or f"{percent:4.1f}%  "
