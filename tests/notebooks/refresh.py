"""Run notebooks and store what they show, so that a page without a kernel has every figure.

    python tests/notebooks/refresh.py [NAME ...]        # all by default; run it on a quiet machine

Stored: texts, tables, figures as PNG. Not stored: widgets and their state (the panel's static picture stays), times of
cells, anything about where it ran. Lines that must come out the same on every machine carry the tag
``nbval-check-output`` and are compared by the tests.
"""

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"
SECONDS = 600
PANEL = 940  # pixels that the panel's picture is shown in
WIDGET = "application/vnd.jupyter.widget-view+json"


def run(book: Any) -> Any:
    """The notebook after a run in an empty folder. Raises where a cell fails or says something on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        done = NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    for cell in done.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise SystemExit(f"cell {cell.id} says on stderr: {output.text}")
    return done


def small(png: str) -> str:
    """A chart with at most 128 colours: a third of the bytes, no difference to the eye."""
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return min(base64.b64encode(out.getvalue()).decode(), png.replace("\n", ""), key=len)


def raster(svg: str) -> str:
    """The panel's picture as a PNG: viewers that do not trust a notebook show no SVG."""
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chrome.new_page(device_scale_factor=2, viewport={"width": 1000, "height": 1000})
        page.set_content(f"<body style='margin: 0'>{svg}</body>")
        png = page.locator("svg").first.screenshot()
        chrome.close()
    return small(base64.b64encode(png).decode())


def joined(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream that follow each other, as one: how they are cut depends on the clock."""
    out: list[Any] = []
    for output in outputs:
        if out and output.output_type == "stream" == out[-1].output_type and output.name == out[-1].name:
            out[-1].text += output.text
        else:
            out.append(output)
    return out


def tidy(book: Any) -> Any:
    """The notebook less what belongs to one run: widgets, state, times, the kernel's version."""
    book.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
         "language_info": {"name": "python"}})
    count = 0
    for cell in book.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = joined(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "image/svg+xml" in data:
                data["image/png"] = raster(data.pop("image/svg+xml"))
                output.metadata["image/png"] = {"width": PANEL, "alt": data["text/plain"]}
            elif "image/png" in data:
                data["image/png"] = small(data["image/png"])
            if "metadata" in output:  # a picture's width and its text for those who do not see it
                output.metadata = {kind: about for kind, about in output.metadata.items() if kind in data}
    return book


def main(names: list[str]) -> None:
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        book = tidy(run(nbformat.read(path, as_version=4)))
        nbformat.write(book, path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
