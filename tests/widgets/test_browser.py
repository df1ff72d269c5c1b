"""The main job end to end: `ikexplore lab`, the explorer notebook, real kernels, in a headless Chromium.

With IKEXPLORE_SCREENSHOTS=1 the pictures of the documentation are written to docs/.
"""

import os
import shlex
import time

import pytest
import scene
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



class Traffic:
    """Frames and bytes that the kernel sends to a page."""

    def __init__(self, page) -> None:
        self.frames = self.bytes = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, frame) -> None:
        text = frame if isinstance(frame, (str, bytes)) else frame.get("payload", "")
        kind = b"comm_msg" if isinstance(text, bytes) else "comm_msg"
        if kind in text:  # what the panel sends; JupyterLab's own chatter is not counted
            self.frames, self.bytes = self.frames + 1, self.bytes + len(text)


#: sets window.took to the milliseconds from a click on a switch to the first change of two cells
WATCH = """() => {
  const begin = performance.now(), took = window.took = {};
  for (const key of ['splits', 'pp']) {
    const cell = document.querySelector(`.kpi[data-key="${key}"] .v`), before = cell.innerText;
    const seen = new MutationObserver(() => {
      if (cell.innerText !== before) { took[key] = performance.now() - begin; seen.disconnect(); }
    });
    seen.observe(cell, {characterData: true, childList: true, subtree: true});
  }
  document.querySelector('.ikx .k-rtr .sw').click();
}"""


@pytest.mark.timeout(900)
def test_a_session_with_discussion_491(address, chrome, capsys):
    book = Notebook(chrome, address, width=1280, height=1000)
    page = book.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    traffic = Traffic(page)
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    book.run_all()
    book.panel(120)
    splits = '.ikx .kpi[data-key="splits"]'

    page.select_option(".ikx .k-model select", "header:qwen3-235b-a22b-iq4_xs")
    page.wait_for_selector('.ikx h2:has-text("Qwen3 235B A22B")')
    page.select_option(".ikx .k-profile select", "2025-06")
    page.select_option(".ikx select.rig", "sim2")
    page.click(".ikx .head .edit")
    page.fill('.ikx .rigview [aria-label="Number of GPUs"]', "4")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.ikx .lab.lane').length === 5")
    page.fill('.ikx .rigview [aria-label="CPU, Cores"]', "48")
    page.keyboard.press("Enter")
    page.fill('.ikx .rigview [aria-label="CPU, Memory, MiB"]', "128000")
    page.keyboard.press("Enter")
    page.click(".ikx .rigview .cap .link")
    page.click(".ikx button.paste")
    argv = scene.facts()["pub-491-no-rtr"]["argv"]
    page.fill(".ikx .foot textarea", "./build/bin/llama-sweep-bench -m Qwen3-235B.gguf " + shlex.join(argv))
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(f'{splits}:has-text("183")')
    assert page.locator(".ikx .rule").count() == 5 and page.locator(".ikx .rule small.bad").count() == 0
    page.click('.ikx .head .btn:has-text("Pin")')
    page.wait_for_selector('.ikx .thru:not([data-forecast=""])')
    before = page.inner_text('.ikx .kpi[data-key="pp"]')
    took = []
    for wanted in ("149", "183", "149"):
        page.wait_for_timeout(400)
        page.evaluate(WATCH)
        page.wait_for_selector(f'{splits} .v:has-text("{wanted}")')
        page.wait_for_function("window.took.pp && window.took.splits")
        took.append(page.evaluate("[window.took.splits, window.took.pp]"))
    assert "was 183" in page.inner_text(splits) and "149" in page.inner_text(splits)
    after = page.inner_text('.ikx .kpi[data-key="pp"]')
    assert "PP, forecast" in after and after != before and "was ≈" in after
    assert page.locator(".ikx .thru svg.pp circle").count() == 0, "nothing was measured"
    pictures(book, "491")

    page.select_option(".ikx .k-model select", "demo")
    page.wait_for_selector('.ikx h2:has-text("ikexplore demo")')
    page.fill(".ikx .k-ub .other", "16")  # so many short rows that it cannot end before Stop
    page.keyboard.press("Enter")
    page.fill(".ikx .k-c input", "4096")
    page.keyboard.press("Enter")
    page.wait_for_function("/-c 4096.*-ub 16/.test(document.querySelector('.ikx .cmd').innerText)")
    run_until(book, 2)
    frames, size, begin = traffic.frames, traffic.bytes, time.monotonic()
    page.wait_for_timeout(3000)
    seconds = time.monotonic() - begin
    frames, size = traffic.frames - frames, traffic.bytes - size
    assert page.get_attribute(".ikx", "data-running") == "1"
    page.click(".ikx button.run")
    page.wait_for_selector('.ikx[data-running="0"]')
    assert int(page.get_attribute(".ikx .thru", "data-points")) >= 2
    assert frames <= 11 * seconds + 1 and size <= 300_000 * seconds

    page.select_option(".ikx .k-model select", "header:qwen3-235b-a22b-iq4_xs")
    page.wait_for_selector(f'{splits}:has-text("149")')
    page.wait_for_selector('.ikx .thru:not([data-forecast=""])')  # what comes last: nothing is redrawn under the mouse
    page.wait_for_timeout(500)
    page.evaluate("document.querySelector('.ikx .place').scrollIntoView({block: 'center'})")
    box = page.locator(".ikx .place canvas").bounding_box()
    x, y = box["x"] + box["width"] * 62.5 / 96, box["y"] + 130
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 1.5 / 96, y, steps=3)
    page.mouse.up()
    page.click('.ikx .assign .to:has-text("CUDA1")')
    page.wait_for_function("document.querySelectorAll('.ikx .rule').length === 6")
    page.wait_for_function("/CUDA1/.test(document.querySelector('.ikx .rule textarea').value)")
    assert page.input_value(".ikx .rule textarea").endswith(r"\.ffn_.*_exps\.=CUDA1")
    page.wait_for_function("document.querySelector('.ikx .cmd').innerText.includes('61|62|63') ||"
                           "document.querySelector('.ikx .cmd').innerText.includes('61|62')")
    page.click(".ikx button.copy")
    page.wait_for_selector('.ikx button.copy:has-text("Copied")')
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == " ".join(page.inner_text(".ikx .cmd").split()) and "=CUDA1" in copied and copied.endswith("-rtr")
    with capsys.disabled():
        told = ", ".join(f"plan {a:.0f} ms and forecast {b:.0f} ms" for a, b in took)
        print(f"\nafter a click: {told}; during a run {frames / seconds:.1f} messages/s, {size / seconds / 1000:.1f} kB/s")
    errors = [e for e in book.errors if not any(word in e for word in FOREIGN)]
    page.close()
    assert errors == []


def pictures(book: Notebook, name: str) -> None:
    """The panel in both themes and widths, for the documentation."""
    if not SHOTS:
        return
    book.wide()
    for width, height in ((1280, 1100), (1920, 1200)):
        book.page.set_viewport_size({"width": width, "height": height})
        for theme in ("Light", "Dark"):
            book.theme(f"JupyterLab {theme}")
            book.page.evaluate("document.activeElement.blur()")
            book.top()
            shot(book, f"{name}-{theme.lower()}-{width}")
    book.page.set_viewport_size({"width": 1280, "height": 1000})
    book.theme("JupyterLab Light")
