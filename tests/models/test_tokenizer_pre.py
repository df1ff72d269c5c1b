"""The cuts that pre-tokenizers make, one example for each rule that tells them apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import tokenizer as naive
from tokenizers import Regex, pre_tokenizers

from ikexplore.errors import ModelError
from ikexplore.models import tokenizer_pre


def cut(name, text):
    """The words that the expressions of a pre-tokenizer make of a text."""
    splits = [pre_tokenizers.Split(Regex(e), behavior="isolated") for e in tokenizer_pre.patterns(name)]
    return [w for w, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize("name", sorted(tokenizer_pre._PATTERNS))
def test_nothing_is_lost_and_the_expressions_compile(name):
    text = "Hello, World's 12345 ~x é日本\n\n  end \t"
    assert "".join(cut(name, text)) == text


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("qwen2", "I'Ll go 123", ["I", "'Ll", " go", " ", "1", "2", "3"]),
        ("qwen2", "a\u00a0 b\n\n c", ["a", "\u00a0", " b", "\n\n", " c"]),
        ("llama-bpe", "x1234567", ["x", "123", "456", "7"]),
        ("qwen35", "e\u0301t\u0301", ["e\u0301t\u0301"]),
        ("qwen2", "e\u0301t", ["e", "\u0301t"]),
        ("gpt-2", "I'LL it's 12 34  x\t", ["I", "'", "LL", " it", "'s", " 12", " 34", " ", " x", "\t"]),
        ("default", "Hi, 1234567!", ["Hi", ",", " ", "123", "456", "7", "!"]),
        ("starcoder", "a 12", ["a", " ", "1", "2"]),
        ("falcon", "`a` 1234", ["`", "a", "`", " ", "123", "4"]),
        ("deepseek-llm", "Hi  日本。\n12  ", ["Hi", "  ", "日本", "。", "\n", "12", "  "]),
        ("deepseek-coder", "x = 12", ["x", " = ", "1", "2"]),
        ("deepseek-v3", "1234 (foo) ~ b ~x", ["123", "4", " (", "foo", ")", " ", "~", " b", " ", "~x"]),
        ("gpt-4o", "HelloWORLDs don't 1234", ["Hello", "WORLDs", " don't", " ", "123", "4"]),
        ("tekken", "don't 12", ["don", "'t", " ", "1", "2"]),
        ("bloom", "a,b c", ["a", ",", "b", " c"]),
        ("seed-coder", "x.\n", ["x", ".", "\n"]),
        ("qwen2", "x.\n", ["x", ".\n"]),
    ],
)
def test_cuts(name, text, words):
    assert cut(name, text) == words


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet=list("aZ'sTrElL 19٣²\n\r\t\u00a0\u3000.~é日\u0301€"), max_size=30))
def test_qwen2_cuts_like_the_rules_written_by_hand(text):
    assert cut("qwen2", text) == naive.words_qwen2(text)


def test_a_name_that_is_not_known_is_an_error_that_lists_the_known():
    with pytest.raises(ModelError, match=r"unknown pre-tokenizer 'qwen-2'.*known: .*qwen2"):
        tokenizer_pre.patterns("qwen-2")
