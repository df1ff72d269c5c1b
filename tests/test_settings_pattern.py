"""-ot's regexes: what ECMAScript (std::regex) says, in Python's words."""

import shutil
import subprocess

import pytest

from ikexplore.errors import SettingsError
from ikexplore.settings import compile_pattern

NAMES = [
    "blk.0.ffn_up_exps.weight",
    "blk.13.ffn_gate_exps.weight",
    "blk.3.attn_k.weight",
    "output.weight",
    "token_embd.weight",
    "blk.3.exp_probs_b.bias",
    "A.weight",
    "a b",
    "x]y",
    "x}y",
    "a-b",
    "blk[3]",
    "a{b",
    "iZ",
    "tab\there",
]
PATTERNS = [
    "exps",
    r"blk\.(0|1|2|13|)\.ffn_.*_exps.",
    r"blk\.(?:[x]|[5-9][0-9]).ffn",
    "^blk",
    "weight$",
    r"\d+\.attn",
    r"blk\.[[:digit:]]+\.",
    r"[[:alpha:]]_k",
    "[^]b",
    "[]",
    "[^a-z.0-9_]",
    r"\A",
    r"\Z",
    r"\.weight",
    r"\x62lk",
    r"\u0062lk",
    r"a\-b",
    r"[a\-]b",
    "x]y",
    "x}y",
    r"\[3\]",
    r"(b|o)(lk|utput)",
    r"(.)\1",
    r"\bffn",
    r"(?=blk)b",
    r"blk(?!\.3)",
    "ffn_(up|gate)",
    "a{0}b",
    "k{1}",
    "[0-9]{2}",
    "e+?",
    "(a|b)*",
    "",
    r"\s",
    r"\t",
    r"\w-\w",
    r"[\w.]+$",
    r"\S+\.\S+\.",
    "[.]",
    r"[\]]",
    "[a&&b]",
    "[[]",
    r"\p",
    "-",
    "[a-]b",
    r"\/",
    "(()|x)",
]
BAD = [
    "(",
    ")",
    "[",
    "a)",
    "*a",
    "+",
    "a{",
    "a{x}",
    "(?<=a)b",
    "(?P<n>a)",
    "(?i)a",
    "(?#x)",
    "\\",
    r"\xZ1",
    r"\u12",
    "[z-a]",
    "[[:nope:]]",
    "(?>a)",
    "[a",
]


#: wrong by ECMAScript; libstdc++ alone lets them pass
BAD_BY_THE_STANDARD = ["a++", "a{2}+", "a*+b", r"\c1"]


@pytest.mark.parametrize("pattern", BAD + BAD_BY_THE_STANDARD)
def test_a_bad_regex_says_where_and_why(pattern):
    with pytest.raises(SettingsError) as caught:
        compile_pattern(pattern)
    message = str(caught.value)
    assert "position" in message and repr(pattern) in message and "\n" not in message


def test_the_position_counts_from_one_in_the_users_text():
    for pattern, position in (("ab(c", 3), ("[[:digit:]]+(x", 13), ("ab*+", 4), ("a(?<b)", 2), ("a{", 2)):
        with pytest.raises(SettingsError, match=f"position {position}:"):
            compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        (r"\A", "A.weight", True),
        (r"\A", "blk", False),
        (r"\Z", "iZ", True),
        ("[]", "anything", False),
        ("[^]", "x", True),
        ("[[:digit:]]", "blk.3", True),
        ("[[:digit:]]", "blk", False),
        (r"\d", "٣", False),
        ("exps", "blk.0.ffn_up_exps.weight", True),
        ("ffn_.*", "blk.3.exp_probs_b.bias", False),
        ("x}y", "x}y", True),
        (r"(0|1|)\.", "blk.", True),
    ],
)
def test_constructs_that_differ_from_python(pattern, name, found):
    assert bool(compile_pattern(pattern).search(name)) is found


PROGRAM = r"""
#include <iostream>
#include <regex>
#include <string>
int main() {
    std::string pattern, name;
    while (std::getline(std::cin, pattern)) {
        std::getline(std::cin, name);
        try {
            std::cout << (std::regex_search(name, std::regex(pattern)) ? 1 : 0) << "\n";
        } catch (const std::regex_error &) {
            std::cout << "bad\n";
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler to compare with std::regex")
def test_the_same_matches_as_the_engines_own_regex(tmp_path):
    (tmp_path / "search.cpp").write_text(PROGRAM)
    subprocess.run(["g++", "-O0", "-o", tmp_path / "search", tmp_path / "search.cpp"], check=True)
    asked = [(pattern, name) for pattern in PATTERNS for name in NAMES] + [(pattern, "x") for pattern in BAD]
    told = subprocess.run(
        [tmp_path / "search"],
        input="".join(f"{p}\n{n}\n" for p, n in asked),
        text=True,
        capture_output=True,
        check=True,
    ).stdout.split()
    ours = []
    for pattern, name in asked:
        try:
            ours.append(str(int(bool(compile_pattern(pattern).search(name)))))
        except SettingsError:
            ours.append("bad")
    assert [(a, o, t) for a, o, t in zip(asked, ours, told, strict=True) if o != t] == []
