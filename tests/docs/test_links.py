"""What the pages point at is there: files, headings, sources named in the text."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = ("ikexplore", "kernels", "widgets", "tests")
PLACES = ("*.md", "docs/*.md", "notebooks/*.md", *(f"{home}/**/*.md" for home in HOMES))
PAGES = sorted({path for place in PLACES for path in ROOT.glob(place)})
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
LONGEST = 140
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_NAMED = re.compile(r"\b((?:docs|tests|ikexplore|kernels|widgets|notebooks)/[\w./-]*\w\.(?:md|py|js|ipynb|json|toml|gz|png))\b")
_ROOMS = "forecast|run|runs|machine|models|placement|schedule|settings|logs|tune|plots"
_INSIDE = re.compile(rf"(?<![\w/])((?:{_ROOMS})/[\w/]+\.(?:py|toml|json))\b")


def text(path):
    return path.read_text(encoding="utf-8")


def anchors(path):
    """The names that GitHub gives to a page's headings."""
    found = set()
    for title in re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S), re.M):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title.lower())).replace(" ", "-")
        found.add(next(n for n in (name, *(f"{name}-{i}" for i in range(1, 99))) if n not in found))
    return found


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path):
    broken = []
    for target in _LINK.findall(text(path)):
        where, _, name = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        page = (path.parent / where).resolve() if where else path
        if not page.exists() or (name and name not in anchors(page)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_files_that_are_named_exist(path):
    said = text(path)
    assert [name for name in _NAMED.findall(said) if not (ROOT / name).exists()] == []
    assert [name for name in _INSIDE.findall(said) if not (ROOT / "ikexplore" / name).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_lines_of_prose_can_be_read(path):
    lines = re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S).splitlines()
    assert [line for line in lines if len(line) > LONGEST and not line.startswith(("|", "    ", "- "))] == []


def test_sources_point_at_pages_that_exist():
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for home in HOMES
        for path in (ROOT / home).rglob("*.py")
        for page in re.findall(r"(?<!/)\bdocs/[\w-]+\.md\b", text(path))
    }
    own = {where for where in named if where[0] != "tests/docs/test_links.py"}
    assert {where for where in own if not (ROOT / where[1]).exists()} == set() and len(own) > 3


def test_every_page_is_in_the_index():
    index = text(ROOT / "docs" / "README.md")
    missing = {page.name for page in (ROOT / "docs").glob("*.md")} - set(_LINK.findall(index)) - {"README.md"}
    assert missing == set()


def test_every_picture_is_shown_and_taken_by_a_test():
    shown = {target.rpartition("/")[2] for page in PAGES for target in _LINK.findall(text(page))}
    taken = text(ROOT / "tests" / "widgets" / "test_browser.py")
    for picture in (ROOT / "docs").glob("*.png"):
        assert picture.name in shown
        assert re.search(rf"\b{picture.stem.split('-')[1]}\b", taken), picture.name


def test_the_pages_are_found():
    assert {"README.md", "CHANGELOG.md", "docs/guide.md", "docs/proven.md", "ikexplore/demo/README.md"} <= set(NAMES)
