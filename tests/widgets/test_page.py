"""The panel in a real browser, with an engine behind it that serves discussion 491's plan."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scene
from harness import Page

from ikexplore_widgets import Explorer


@pytest.fixture
def opened(chrome: Any) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def make(explorer: Explorer | None = None, **more: Any) -> Page:
        if explorer is None:
            explorer = Explorer(scene.qwen235(), scene.rig(), engine=scene.FakeEngine())
            explorer.settings = scene.settings()
            explorer._panel.pin()
        page = Page(chrome, explorer, **more)
        pages.append(page)
        return page

    yield make
    for page in pages:
        errors = page.errors
        page.close()
        page.explorer.close()
        assert not errors, errors


def test_rtr_turns_183_splits_into_149_and_says_against_what(opened):
    p = opened()
    cell = '.kpi[data-key="splits"]'
    assert "183" in p.text(cell)
    p.page.click(".k-rtr .sw")
    p.until(lambda: "149" in p.text(cell))
    assert "was 183" in p.text(cell)
    assert "-rtr off" in p.text(".cmp")
    assert "102 host tensors become IQ4_XS_R8" in p.text(".k-rtr")
    assert p.text(".cmd mark") == "-rtr"
    p.page.click(".head .link")  # swap: the settings before are back, and -rtr is what is pinned
    p.until(lambda: p.text(f"{cell} .v") == "183")
    assert "-rtr on" in p.text(".cmp")


def test_points_arrive_while_it_runs_and_stop_keeps_them(opened):
    explorer = Explorer(engine=scene.FakeEngine(pace=0.15, rows=200))
    p = opened(explorer)
    points = lambda: int(p.page.get_attribute(".thru", "data-points") or 0)  # noqa: E731
    assert p.page.get_attribute(".ikx", "data-running") == "0"
    p.page.click("button.run")
    p.until(lambda: points() >= 2)
    assert p.text("button.run") == "Stop"
    assert p.page.is_visible(".prog")
    begin = time.monotonic()
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".ikx", "data-running") == "0")
    assert time.monotonic() - begin < 1.0
    kept = points()
    p.pump(0.4)
    assert points() == kept >= 2
    assert p.page.locator(".thru svg.pp circle").count() == kept


def test_an_earlier_run_stays_beside_the_next_one(opened):
    explorer = Explorer(engine=scene.FakeEngine(pace=0.02, rows=3))
    p = opened(explorer, width=1920)
    for switch in (None, ".k-rtr .sw", ".k-fmoe .sw"):
        if switch:
            p.page.click(switch)
            p.until(lambda: "not measured" in p.text(".kpis"))
        p.page.click("button.run")
        p.until(lambda: p.page.get_attribute(".thru", "data-points") == "3")
        p.until(lambda: p.page.get_attribute(".ikx", "data-running") == "0")
    rows = [row.inner_text() for row in p.page.locator(".runs tbody tr").all()]
    assert len(rows) == 3
    assert any("pinned" in row for row in rows) and any("now" in row and "-no-fmoe" in row for row in rows)
    p.page.click(".thru .clear")
    p.until(lambda: p.page.locator(".runs tbody tr").count() == 2)


def test_a_bad_rule_is_red_and_the_panel_goes_on(opened):
    p = opened()
    p.page.click(".rules .link")
    p.page.keyboard.type("blk\\.(=CUDA1")
    p.until(lambda: "rule not used" in p.text(".rule small"))
    assert "bad" in (p.page.get_attribute(".rule small", "class") or "")
    assert p.page.evaluate("document.activeElement.value") == "blk\\.(=CUDA1", "typing goes on in the same field"
    assert "blk\\.(=CUDA1" not in p.explorer.settings.command()
    assert "-ot rule 1" in p.text(".finds")
    p.page.click(".k-rtr .sw")
    p.until(lambda: "149" in p.text('.kpi[data-key="splits"]'))
    p.page.click('.find:has-text("rule 1") .link')
    p.until(lambda: p.page.locator(".rule").count() == 5)


def test_every_key_of_a_fast_typist_arrives(opened):
    p = opened(Explorer(engine=scene.FakeEngine()))
    p.page.select_option("select.rig", "sim2")
    p.page.click(".rules .link")
    wanted = r"blk\.[01]\.ffn_(up|down)_exps\.=CPU"
    p.page.keyboard.type(wanted)
    p.until(lambda: p.explorer.settings.overrides == ((wanted.removesuffix("=CPU"), "CPU"),))
    p.pump(0.3)
    assert p.page.input_value(".rule textarea") == wanted
    assert p.text(".rule output") == "4"


@pytest.mark.parametrize("selector, typed, told", [
    (".k-ub .other", "0", "1 or more"), (".k-c input", "many", "whole number"), (".k-t input", "x", "whole number"),
])
def test_a_bad_number_says_what_to_do_and_changes_nothing(opened, selector, typed, told):
    p = opened(Explorer(engine=scene.FakeEngine()))
    before = p.explorer.settings
    row = selector.split(" ")[0]
    p.page.fill(selector, typed)
    p.page.keyboard.press("Enter")
    p.until(lambda: told in p.text(f"{row} .eff"))
    assert "bad" in (p.page.get_attribute(f"{row} .eff", "class") or "") and "\n" not in p.text(f"{row} .eff")
    assert p.explorer.settings == before
    p.page.fill(selector, "128" if row != ".k-t" else "1")
    p.page.keyboard.press("Enter")
    p.until(lambda: "bad" not in (p.page.get_attribute(f"{row} .eff", "class") or ""))


def test_a_wrong_path_says_so_and_a_right_one_opens(opened):
    p = opened(Explorer(engine=scene.FakeEngine()))
    p.page.select_option(".k-model select", "open")
    p.page.wait_for_selector(".k-path input") if p.until(lambda: p.page.query_selector(".k-path input")) else None
    p.page.fill(".k-path input", "/nowhere/model.txt")
    p.page.keyboard.press("Enter")
    p.until(lambda: "is no GGUF file" in p.text(".k-path"))
    p.page.fill(".k-path input", "/somewhere/other.gguf")
    p.page.keyboard.press("Enter")
    p.until(lambda: p.page.query_selector(".k-path") is None)
    assert p.page.locator(".k-model option:checked").inner_text() == "other.gguf"


def test_dragging_over_layers_writes_a_rule(opened):
    p = opened()
    box = p.page.locator(".place canvas").bounding_box()
    at = lambda layer: box["x"] + box["width"] * (layer + 1.5) / 96  # noqa: E731
    y = box["y"] + 130
    p.page.mouse.move(at(60), y)
    p.page.mouse.down()
    p.page.mouse.move(at(63), y, steps=4)
    p.page.mouse.up()
    assert "layers 60–63" in p.text(".assign")
    p.page.click('.assign .to:has-text("CUDA1")')
    p.until(lambda: p.page.locator(".rule").count() == 6)
    assert p.page.input_value(".rule textarea") == r"blk\.(60|61|62|63)\.ffn_.*_exps\.=CUDA1"
    assert p.until(lambda: p.text(".rule output")) == "12"


def test_keyboard_reaches_tensors_splits_and_assignment(opened):
    p = opened()
    p.page.focus(".place canvas")
    p.page.keyboard.press("ArrowRight")
    p.page.keyboard.press("ArrowRight")
    assert "blk.1.ffn_down_exps.weight" in p.text(".tip") and "blk.1" in p.text(".vh")
    p.page.keyboard.press("Enter")
    p.pump(0.1)
    assert "layer 1" in p.text(".assign")
    p.page.keyboard.press("Escape")
    assert p.page.query_selector(".assign") is None
    p.page.focus(".splits canvas")
    for _ in range(3):
        p.page.keyboard.press("ArrowRight")
    assert "Split 3 of 183" in p.text(".tip")
    assert "3 activations" in p.text(".tip") or "4 activations" in p.text(".tip")


def test_the_same_axis_zooms_both_diagrams(opened):
    p = opened()
    picture = lambda name: p.page.evaluate(f"document.querySelector('.{name} canvas').toDataURL()")  # noqa: E731
    before = picture("place"), picture("splits")
    p.page.click('.splits [aria-label="Zoom in"]')
    p.pump(0.1)
    after = picture("place"), picture("splits")
    assert before[0] != after[0] and before[1] != after[1]
    p.page.click('.splits [aria-label="Fit"]')
    p.page.mouse.move(5, 5)
    p.pump(0.1)
    assert (picture("place"), picture("splits")) == before


def test_paste_reads_a_command_line_and_names_what_it_does_not_know(opened):
    p = opened()
    p.page.click("button.paste")
    line = "CUDA_VISIBLE_DEVICES=0 ./bin/llama-sweep-bench -m x.gguf -c 8192 -ub 1024 -rtr --frobnicate 3"
    p.page.fill(".foot textarea", line)
    p.page.keyboard.press("Control+Enter")
    p.until(lambda: p.explorer.settings.n_ubatch == 1024)
    p.until(lambda: "--frobnicate" in p.text(".notice"))
    assert p.explorer.settings.rtr and p.explorer.settings.n_ctx == 8192
    p.until(lambda: "-ub 1024" in p.text(".cmd"))
    assert " ".join(p.text(".cmd").split()) == p.explorer.settings.command()
    p.page.click(".notice button")
    p.until(lambda: not p.page.is_visible(".notice"))


def test_an_error_in_a_run_is_one_line(opened):
    p = opened(Explorer(engine=scene.FakeEngine(fail="sweep")))
    p.page.click("button.run")
    p.until(lambda: p.page.is_visible(".notice"))
    assert p.text(".notice span") == "RuntimeError: no kernel for this"
    p.until(lambda: p.page.get_attribute(".ikx", "data-running") == "0" and p.text("button.run") == "Run")
    assert p.page.is_visible(".notice")


def test_hostile_names_are_text(opened):
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\x1b[31m\u202egnp.\u202c' + "A" * 300
    model = scene.Model([["token_embd.weight", [256, 512], "q8_0"], [f"blk.0.{evil}.weight", [256, 256], "q8_0"],
                         ["blk.0.ffn_up_exps.weight", [256, 64, 8], "q8_0"]], 1, evil + "B" * 10_000_000)
    p = opened(Explorer(model, engine=scene.FakeEngine()))
    p.page.hover(".place canvas")
    p.page.focus(".place canvas")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowDown"):
        p.page.keyboard.press(key)
    p.pump(0.2)
    assert p.page.evaluate("window.hacked") is None
    assert p.page.locator(".ikx img, .ikx script").count() == 0
    title = p.page.inner_text(".ikx h2")
    assert title.startswith("<img src=x") and len(title) <= 160 and "\u202e" not in title and "\x1b" not in title
    assert len(str(p.explorer.get_state())) < 200_000


def test_few_and_small_messages_during_a_run(opened):
    p = opened(Explorer(engine=scene.FakeEngine(pace=0.02, rows=500)))
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".thru", "data-points") not in (None, "0"))
    messages, size = p.messages, p.bytes
    p.pump(2.0)
    assert 5 <= p.messages - messages <= 22, "ten a second and not one more"
    assert p.bytes - size < 2 * 300_000
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".ikx", "data-running") == "0")


def test_toggling_leaves_the_page_as_large_as_it_was(opened):
    p = opened()
    nodes = lambda: p.page.evaluate("document.querySelectorAll('*').length")  # noqa: E731
    p.until(lambda: p.page.get_attribute(".thru", "data-forecast"))
    p.pump(0.2)
    before = nodes()
    for _ in range(10):
        for splits in ("149", "183"):
            p.page.click(".k-rtr .sw")
            p.until(lambda: p.text('.kpi[data-key="splits"] .v') == splits)  # noqa: B023
    p.until(lambda: nodes() == before)  # the last redraw may still be to come


def test_theme_follows_the_page(opened):
    p = opened()
    ground = lambda: p.page.evaluate("getComputedStyle(document.querySelector('.ikx')).backgroundColor")  # noqa: E731
    assert ground() == "rgb(255, 255, 255)"
    p.page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    p.until(lambda: p.page.get_attribute(".ikx", "data-theme") == "dark")
    assert ground() == "rgb(28, 29, 32)"


def test_leaving_the_page_leaves_nothing_behind(opened):
    p = opened()
    assert p.page.evaluate("count()") > 5
    p.page.evaluate("dispose()")
    assert p.page.evaluate("count()") == 0 and p.page.locator(".ikx").count() == 0


@pytest.mark.parametrize("width", [420, 700, 960, 1280, 1920])
def test_nothing_sticks_out_at_any_width(opened, width):
    p = opened(width=width)
    wide = p.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    crossing = p.page.evaluate("""[...document.querySelectorAll('.ikx .row')].filter(row => {
      const b = row.querySelector('b'), c = row.children[1]; if (!b || !c) return false;
      const range = document.createRange(); range.selectNodeContents(b);
      const t = range.getBoundingClientRect(), k = c.getBoundingClientRect();
      return k.width > 0 && t.right > k.left + 0.5 && t.bottom > k.top && t.top < k.bottom; }).map(r => r.className)""")
    assert crossing == []
