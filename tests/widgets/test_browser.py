"""The main job end to end: `ikexplore lab`, the explorer notebook, real kernels, in a headless Chromium.

With IKEXPLORE_SCREENSHOTS=1 the pictures of the documentation are written to docs/.
"""

import os
import time

import pytest
from conftest import missing  # tests/widgets/conftest.py
from lab import ROOT, Notebook, lab

#: what Chromium says about pages that we did not write
FOREIGN = ("favicon", "Source map", "DevTools")
SHOTS = os.environ.get("IKEXPLORE_SCREENSHOTS") == "1"


def shot(book: Notebook, name: str) -> None:
    if SHOTS:
        book.page.screenshot(path=str(ROOT / "docs" / f"screenshot-{name}.png"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    why = missing()
    if why:
        pytest.skip(why)
    with lab(tmp_path_factory.mktemp("lab")) as found:
        yield found


def run_until(book: Notebook, points: int) -> None:
    book.page.click(".ikx button.run")
    book.page.wait_for_function(f"+document.querySelector('.ikx .thru').dataset.points >= {points}", timeout=300_000)


@pytest.mark.timeout(900)
def test_open_run_stop(address, chrome, capsys):
    book = Notebook(chrome, address, width=1280, height=900)
    page = book.page
    begin = time.monotonic()
    book.run_all()
    book.panel(120)
    opened = time.monotonic() - begin
    assert page.inner_text(".ikx h2") == "ikexplore demo"
    assert page.get_attribute(".ikx", "data-theme") == "light"
    assert page.inner_text(".ikx .cmd").strip().startswith("-c 4096")

    page.fill(".ikx .k-ub .other", "64")  # many short rows
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.ikx .cmd').innerText.includes('-ub 64')")
    run_until(book, 3)
    last = page.get_attribute(".ikx .thru", "data-last").split()
    assert int(last[1]) == 64 and float(last[3]) > 0 and float(last[4]) > 0
    shot(book, "running")
    assert page.get_attribute(".ikx", "data-running") == "1"
    begin = time.monotonic()
    page.click(".ikx button.run")
    page.wait_for_selector('.ikx[data-running="0"]')
    stopped = time.monotonic() - begin
    kept = int(page.get_attribute(".ikx .thru", "data-points"))
    page.wait_for_timeout(700)
    assert stopped < 3  # on a busy machine; what was seen is printed
    assert int(page.get_attribute(".ikx .thru", "data-points")) == kept >= 3
    assert page.locator(".ikx .thru svg.pp circle").count() == kept

    page.focus(".ikx .k-rtr .sw")
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    for key in ("b", "a", "d", "d", "Enter"):  # keys belong to the panel: no cell is added, deleted or opened
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('.ikx .cmd').innerText.includes('-rtr')")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert page.evaluate("document.activeElement.className") == "sw"
    run_until(book, 3)
    page.click(".ikx button.run")
    page.wait_for_selector('.ikx[data-running="0"]')
    with capsys.disabled():
        print(f"\npanel live {opened:.1f} s after Run All, stopped after {stopped:.2f} s")
    errors = [e for e in book.errors if not any(word in e for word in FOREIGN)]
    page.close()
    assert errors == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width, height", [(1280, 1000), (1920, 1080)])
def test_described_gpus_a_bad_rule_and_both_themes(address, chrome, width, height):
    book = Notebook(chrome, address, width=width, height=height)
    page = book.page
    book.run_all()
    book.panel(120)
    run_until(book, 12)
    page.click(".ikx button.run")
    page.wait_for_selector('.ikx[data-running="0"]')
    page.select_option(".ikx select.rig", "sim2")
    page.wait_for_function("document.querySelectorAll('.ikx .lab.lane').length === 3")
    assert page.locator(".ikx .mem small", has_text="simulated").count() == 2
    page.click(".ikx .rules .link")
    page.keyboard.type(r"blk\.[23]\.ffn_(up=CPU")
    page.wait_for_selector(".ikx .rule small.bad")
    page.keyboard.press("Control+A")
    page.keyboard.type(r"blk\.[23]\.ffn_.*_exps=CPU")
    page.wait_for_function("document.querySelector('.ikx .rule output').innerText === '6'")
    assert page.locator(".ikx .rule small.bad").count() == 0
    assert "-ot" in page.inner_text(".ikx .cmd mark")
    page.click(".ikx .k-rtr .sw")
    run_until(book, 14)
    page.wait_for_selector('.ikx[data-running="0"]', timeout=300_000)
    page.evaluate("document.activeElement.blur()")
    book.wide()
    book.top()
    shot(book, f"light-{width}")
    book.theme("JupyterLab Dark")
    page.wait_for_selector('.ikx[data-theme="dark"]')
    book.top()
    shot(book, f"dark-{width}")
    book.theme("JupyterLab Light")
    page.wait_for_selector('.ikx[data-theme="light"]')
    errors = [e for e in book.errors if not any(word in e for word in FOREIGN)]
    page.close()
    assert errors == []

