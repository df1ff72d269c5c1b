"""Running a model on this machine: sessions, sweeps, text, quality."""

from .base_logits import base_logits
from .imatrix import Imatrix, imatrix
from .kld import Kld, kld
from .quantize import Quantized, quantize
from .recipe import Recipe
from .requantize import requantized
from .session import Session
from .sweep import Sweep, sweep
from .text import Perplexity, detokenize, generate, logits, perplexity, tokenize

__all__ = [
    "Imatrix", "Kld", "Perplexity", "Quantized", "Recipe", "Session", "Sweep", "base_logits", "detokenize", "generate", "imatrix",
    "kld", "logits", "perplexity", "quantize", "requantized", "sweep", "tokenize",
]
