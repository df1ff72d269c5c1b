"""The furniture: what lies at the top, how long files are, what they must not mention, what the README promises."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "docs", "ikexplore", "kernels", "notebooks",
    "pyproject.toml", "tests", "widgets",
}  # fmt: skip
SOURCES = {".py", ".js", ".css", ".cu", ".cuh", ".html", ".toml", ".md", ".sh"}
LONGEST = 400
MAIN_JOB = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/ikexplore lab"
TEST_JOB = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def _listed() -> list[Path]:
    """Files of the repository: those that git knows or would add; without git all but the usual build outputs."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        told = subprocess.run(words, capture_output=True, check=True, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}).stdout
        names = [name for name in told.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"(^|/)(\.venv|\.git|__pycache__|build|dist|\.\w+_cache|\.hypothesis|[\w.]+\.egg-info)(/|$)")
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not hidden.search(name)]
    own = re.compile(r"^(ikexplore-notebooks|\.venv)/")  # made by the two commands of the README
    return [ROOT / name for name in names if not own.match(name) and (ROOT / name).is_file()]


FILES = _listed()
TEXTS = [path for path in FILES if path.suffix in SOURCES | {".ipynb", ""} and "data" not in path.relative_to(ROOT).parts]


def test_the_files_are_found():
    assert len(FILES) > 50 and ROOT / "ikexplore" / "lab.py" in FILES


def test_only_the_known_entries_lie_at_the_top():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} - TOP == set()
    assert all((ROOT / name).exists() for name in TOP)


def test_no_source_file_is_longer_than_a_few_screens():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TEXTS if path.suffix in SOURCES}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST} == {}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_a_machine_is_mentioned(path):
    text = path.read_text(encoding="utf-8")
    places = ["/" + place + "/" for place in ("work", "root", "home", "opt/venv")] + ["/" + "tmp/"]
    found = [place for place in places if re.search(rf"(?<![\w.$~:/]){re.escape(place)}\w", text)]
    assert found == []


def test_the_readme_holds_the_two_commands_word_for_word():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert MAIN_JOB in lines and TEST_JOB in lines


def test_the_check_runs_exactly_the_second_command():
    script = ROOT / ".ci" / "run"
    assert TEST_JOB in script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)
    if os.name == "posix":
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_versions_agree():
    import ikexplore

    assert f'version = "{ikexplore.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"## {ikexplore.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
