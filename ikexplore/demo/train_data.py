"""Text, tokenizer and batches for the demo model (numpy and tokenizers, no torch)."""

import lzma
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
CORPUS = HERE / "corpus.txt.xz"
#: bytes at the end of the corpus that steer training (never the held-out text, which is not in the corpus at all)
VALID_BYTES = 40_000
END = "<|endoftext|>"

#: how 'qwen2' splits text before merging (public regular expression of the Qwen2 tokenizer)
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus() -> tuple[list[str], str]:
    """(novels to train on, text to validate on). A form feed divides the novels in the file."""
    novels = lzma.decompress(CORPUS.read_bytes()).decode("utf-8").split("\f")
    cut = novels[-1].rindex("\n\n", 0, len(novels[-1]) - VALID_BYTES)
    valid = novels[-1][cut:].lstrip()
    novels[-1] = novels[-1][:cut] + "\n"
    return [n.lstrip("\n") for n in novels], valid


def make_tokenizer(novels: list[str], n_vocab: int) -> Tokenizer:
    """Byte-level BPE of `n_vocab` tokens: the 256 bytes, merges, and `<|endoftext|>` last."""
    tok = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated")
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tok.train_from_iterator(novels, trainer)
    tok.add_special_tokens([END])
    assert tok.get_vocab_size() == n_vocab
    return tok


def token_list(tok: Tokenizer) -> list[str]:
    """All tokens by id, as GGUF has them: one character of a token stands for one byte."""
    ids = sorted((i, token) for token, i in tok.get_vocab().items())
    return [token for _, token in ids]


def encode_novels(tok: Tokenizer, novels: list[str]) -> np.ndarray:
    """int64 [n]: the novels one after the other, each between two end marks."""
    end = token_list(tok).index(END)
    ids = [end]
    for novel in novels:
        ids += [*tok.encode(novel).ids, end]
    return np.array(ids)


def batch(data: np.ndarray, rng: np.random.Generator, size: int, length: int) -> np.ndarray:
    """int64 [size, length + 1] from random places of `data`: inputs are all but the last column, targets all but
    the first."""
    starts = rng.integers(0, len(data) - length, size)
    return np.stack([data[s : s + length + 1] for s in starts])
