"""Running a model on this machine: sessions, sweeps, text, quality."""

from .requantize import requantized
from .session import Session
from .sweep import Sweep, sweep
from .text import Perplexity, detokenize, generate, logits, perplexity, tokenize

__all__ = [
    "Perplexity", "Session", "Sweep", "detokenize", "generate", "logits", "perplexity", "requantized", "sweep", "tokenize",
]
