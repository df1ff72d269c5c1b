"""Running a model on this machine: sessions, sweeps, text, quality."""

from .quantize import Quantized, load_imatrix, quantize
from .recipe import Recipe
from .requantize import requantized
from .session import Session
from .sweep import Sweep, sweep
from .text import Perplexity, detokenize, generate, logits, perplexity, tokenize

__all__ = [
    "Perplexity", "Quantized", "Recipe", "Session", "Sweep", "detokenize", "generate", "load_imatrix", "logits", "perplexity",
    "quantize", "requantized", "sweep", "tokenize",
]
