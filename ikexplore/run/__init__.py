"""Running a model on this machine: sessions, sweeps, text, quality."""

from .base_logits import base_logits
from .crosscheck import Difference, crosscheck
from .imatrix import Imatrix, imatrix
from .kld import Kld, kld
from .pareto import Pareto, pareto
from .quantize import Quantized, quantize
from .recipe import Recipe
from .requantize import requantized
from .session import Session
from .sweep import Sweep, sweep
from .text import Perplexity, detokenize, generate, logits, perplexity, tokenize

__all__ = [
    "Difference", "Imatrix", "Kld", "Pareto", "Perplexity", "Quantized", "Recipe", "Session", "Sweep", "base_logits",
    "crosscheck", "detokenize", "generate", "imatrix", "kld", "logits", "pareto", "perplexity", "quantize", "requantized",
    "sweep", "tokenize",
]
