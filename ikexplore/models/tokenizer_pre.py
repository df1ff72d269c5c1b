"""Pre-tokenizers by their GGUF name: the regular expressions that cut text into words before BPE merges it.

Names and expressions are those with which ik_llama.cpp 8337e4c runs (they stand in the models' own tokenizer.json,
adapted where its regex engine needed it). Each expression cuts every part that the one before left: matches are words,
and so is what lies between them. Where the reference cuts other than the model's own tokenizer would, this follows the
reference.
"""

from ..errors import ModelError

_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_QWEN35 = (
    _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS = (  # a word in camel case is cut before its capitals; only ASCII letters have a case here
    r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+C"
    r"|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*C"
)
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4O = _WORDS.replace("C", _CONTRACTIONS + "?") + r"|\p{N}{1,3}" + _REST
_TEKKEN = _WORDS.replace("C", "") + r"|\p{N}" + _REST
_DEEPSEEK_WORDS = (  # the reference's table of symbols has no '~' (U+007E), which shows here and here only
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|(?:[^\r\n\p{L}\p{P}\p{S}]|~)?[\p{L}\p{M}]+"""
    r"| ?(?:(?!~)[\p{P}\p{S}])+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _class(ranges: str) -> str:
    """A character class from code points in hexadecimal: "41-5A B5"."""
    return "".join("-".join(chr(int(end, 16)) for end in r.split("-")) for r in ranges.split())


_DEEPSEEK_LLM_LETTERS = _class(
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 "
    "3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A "
    "1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 "
    "1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 "
    "212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D "
    "A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F "
    "104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)
_IDEOGRAPHS = f"[{_class('4E00-9FA5 800-4E00 AC00-D7FF')}]+"
_CHINESE_JAPANESE = f"[{_class('4E00-9FA5 3040-309F 30A0-30FF')}]+"
_MARKS = rf"\s?[{_class('21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002')}]+"
_NO_MARKS = rf" ?[^(\s|.,!?{_class('2026 3002 FF0C 3001 964 6D4 60C')})]+"

#: expressions -> the names that use them
_FAMILIES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"), "default"),
    (
        (_LLAMA3,),
        "llama3 llama-v3 llama-bpe laguna falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 "
        "chatglm-bpe",
    ),
    ((_QWEN2,), "qwen2 deepseek-r1-qwen kormo openpangu f2llmv2 stablelm2 megrez hunyuan grok-2 solar-open"),
    ((_QWEN35,), "qwen35"),
    (
        (_GPT2,),
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en jina-v2-code "
        "roberta-bpe mpt olmo jais trillion granite-docling exaone4",
    ),
    ((r"\p{N}", _GPT2), "starcoder refact command-r cohere2_moe smollm codeshell exaone minerva-7b mellum2"),
    ((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"), "falcon"),
    (
        (
            r"[\r\n]",
            rf"\s?[{_DEEPSEEK_LLM_LETTERS}]+",
            _MARKS,
            r"\s+\z",
            _IDEOGRAPHS,
            r"\p{N}+",
        ),
        "deepseek-llm",
    ),
    ((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _IDEOGRAPHS, r"\p{N}"), "deepseek-coder"),
    ((r"\p{N}{1,3}", _CHINESE_JAPANESE, _DEEPSEEK_WORDS), "deepseek-v3 hunyuan-dense joyai-llm"),
    ((_GPT4O,), "gpt-4o llama4 kanana2 minimax-m2"),
    ((_TEKKEN,), "tekken"),
    ((_NO_MARKS,), "poro-chat bloom gpt3-finnish"),
    ((_NO_MARKS, r"\p{N}"), "viking"),
    (
        (
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
        "bailingmoe bailingmoe2 llada-moe",
    ),
    (
        (
            _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}"
            r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        "seed-coder",
    ),
)
_PATTERNS = {name: expressions for expressions, names in _FAMILIES for name in names.split()}

#: a word that is a token as a whole is that token, whatever the merges say
_LIKE_LLAMA3 = "llama3 llama-v3 llama-bpe laguna falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"
IGNORE_MERGES = frozenset({*_LIKE_LLAMA3.split(), "tekken"})
#: BOS is put before the text unless the metadata says otherwise
WITH_BOS = IGNORE_MERGES
#: no BOS unless the metadata names one
NO_BOS = frozenset({"glm4", "chatglm-bpe"})


def patterns(name: str) -> tuple[str, ...]:
    """The expressions of a pre-tokenizer. Raises ModelError for a name that is not known: a guess would be wrong."""
    found = _PATTERNS.get(name)
    if found is None:
        known = ", ".join(sorted(_PATTERNS))
        raise ModelError(f"unknown pre-tokenizer {name!r:.60} (tokenizer.ggml.pre); known: {known}")
    return found
