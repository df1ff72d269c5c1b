"""Every notebook runs from a clean kernel, says nothing on stderr, and holds calls, not logic."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from nbconvert import HTMLExporter

from ikexplore import lab

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SECONDS = 600
INDEX, OWN_TYPE = "00_index.ipynb", "10_your_own_quant_type.ipynb"


def cells(name: str) -> list[dict]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]


def code(name: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code")


@pytest.fixture(scope="module")
def nbval(request, tmp_path_factory):
    """What `pytest --nbval-lax` says of the notebooks asked for, in one process: {name: [failures]} and all that it printed."""
    folder = tmp_path_factory.mktemp("nbval")
    wanted = {item.callspec.params["name"] for item in request.session.items if item.originalname == "test_runs_by_nbval"}
    paths = [str(ROOT / part) for part in (".", "kernels", "widgets")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
           "JUPYTER_CONFIG_DIR": str(folder), "IPYTHONDIR": str(folder), "PYTEST_ADDOPTS": ""}
    copies = [folder / name for name in sorted(wanted)]
    for copy in copies:
        copy.write_bytes((FOLDER / copy.name).read_bytes())
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout", str(SECONDS // 2), "-q", "--junitxml",
               "report.xml", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder), *map(str, copies)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    said = done.stdout[-4000:] + done.stderr[-2000:]
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(folder / "report.xml").getroot().iter("testcase"):
        name = next((copy.name for copy in copies if copy.stem in case.get("classname", "") + case.get("name", "")), "")
        found.setdefault(name, []).extend(case.get("name", "") for kind in ("failure", "error") if case.find(kind) is not None)
    return found, said


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_by_nbval(name, nbval):
    found, said = nbval
    assert name in found, said
    assert not found[name], f"{found[name]}: {said}"


# --- what is stored: enough for a page without a kernel, and no more ------------------------------------------------------

FIGURES = re.compile(r"plots\.\w+\(.*\)$|\.plot\(\)$|plt\.show\(\)$|^Explorer\(\)$")
IMAGES = ("image/png", "image/svg+xml")
PRIVATE = re.compile(r"/(tmp|home|root|work|opt|Users)/|[A-Z]:\\\\")


def shows_a_figure(cell: dict) -> bool:
    """By its last line that is more than a closing bracket: figures are what a cell ends with."""
    return cell["cell_type"] == "code" and bool(FIGURES.search("".join(cell["source"]).rstrip().splitlines()[-1]))


def stored(cell: dict) -> list[dict]:
    return [output.get("data", {}) for output in cell["outputs"]]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_figure_is_stored_and_no_widget(name):
    book = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    for cell in cells(name):
        if cell["cell_type"] == "code":
            assert cell["execution_count"] and not [o for o in cell["outputs"] if o["output_type"] == "error"]
            has = any(kind in data for data in stored(cell) for kind in IMAGES)
            assert has == shows_a_figure(cell), f"{name}, cell {cell['id']}: run tests/notebooks/refresh.py"
    assert "application/vnd.jupyter.widget" not in json.dumps(book["cells"]) and "widgets" not in book["metadata"]
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell.get("id") for cell in book["cells"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_light_and_says_nothing_of_where_it_ran(name):
    assert (FOLDER / name).stat().st_size < 300_000
    outputs = [output for cell in cells(name) if cell["cell_type"] == "code" for output in cell["outputs"]]
    for output in outputs:
        output.get("data", {}).pop("image/png", None)
    assert not PRIVATE.search(json.dumps(outputs))


def test_shown_on_a_page_without_a_kernel():
    """As `jupyter nbconvert --to html` writes them: each figure is in the page, and no script waits for a kernel."""
    for name in NOTEBOOKS:
        page, _ = HTMLExporter().from_filename(str(FOLDER / name))
        body = page[page.index("<body") :]
        figures = sum(map(shows_a_figure, cells(name)))
        assert len(re.findall(r'<img[^>]+src="data:image/|<svg', body)) >= figures, name
        assert "widget-view" not in body


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_holds_calls_and_no_logic(name):
    lines = [line.strip() for line in code(name).splitlines()]
    words = ("def ", "class ", "async def ", "import ikexplore_kernels", "from ikexplore_kernels")
    logic = [line for line in lines if line.startswith(words)]
    assert not logic or name == OWN_TYPE


def test_a_quant_type_takes_thirty_lines():
    """The functions that make it and the call that registers it; blank lines do not count."""
    parts = [cell for cell in map("".join, (c["source"] for c in cells(OWN_TYPE) if c["cell_type"] == "code"))
             if "def " in cell or "register_quant(" in cell]
    lines = [line for part in parts for line in part.splitlines() if line.startswith((" ", "def ", "mine = "))]
    assert 20 < len(lines) <= 30


@pytest.mark.parametrize("name", [n for n in NOTEBOOKS if n[:2].isdigit() and n != INDEX])
def test_a_tutorial_ends_with_a_line_to_paste(name):
    last = [cell for cell in cells(name) if cell["cell_type"] == "code"][-1]
    assert ".command()" in "".join(last["source"])


def test_the_index_leads_to_all_and_the_panel_comes_first():
    links = re.findall(r"\]\((\w+\.ipynb)\)", "".join(cells(INDEX)[0]["source"]))
    assert links == ["explorer.ipynb", *(n for n in NOTEBOOKS if n[:2].isdigit() and n != INDEX)]
    assert lab.FIRST == INDEX
    assert "Explorer()" in code("explorer.ipynb")
