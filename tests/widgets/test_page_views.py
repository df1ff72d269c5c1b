"""Views in a real browser: forecast, rig, model, quick picks, long rules, files, and names for all that takes focus."""

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


def test_the_forecast_is_a_band_without_marks_and_moves_with_a_switch(opened):
    p = opened()
    first = p.until(lambda: p.page.get_attribute(".thru", "data-forecast"))
    assert p.page.locator(".thru svg.pp path.band").count() == 1 and p.page.locator(".thru svg.pp circle").count() == 0
    p.page.click(".k-rtr .sw")
    p.until(lambda: p.page.get_attribute(".thru", "data-forecast") not in (first, None))
    p.until(lambda: "was ≈" in p.text('.kpi[data-key="pp"]'))
    assert "forecast of pinned" in p.text(".thru .key")
    p.page.hover(".thru svg.pp path.band", position={"x": 20, "y": 10})
    assert "Forecast, not measured" in p.text(".tip") and "80 %" in p.text(".tip")
    p.page.click(".thru .ask")
    p.until(lambda: p.page.locator(".where svg rect").count() >= 5)
    assert "CPU experts 80 %" in p.text(".where") and "was 16.0 s" in p.text(".where")
    p.page.click(".thru .ask")
    p.until(lambda: not p.page.is_visible(".where"))


def test_measured_points_and_a_far_higher_forecast_do_not_share_a_scale(opened):
    class Fast(scene.FakeEngine):
        def forecast(self, plan: Any) -> Any:
            made = super().forecast(plan)
            made.rows = [{k: v * (1 if k in ("pp", "tg", "n_kv") else 1000) for k, v in row.items()} for row in made.rows]
            return made

    p = opened(Explorer(engine=Fast(pace=0.01, rows=3)))
    p.page.select_option("select.rig", "sim2")
    p.until(lambda: p.page.locator(".thru svg.pp path.band").count() == 1)
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".thru", "data-points") == "3")
    p.until(lambda: p.page.locator(".thru svg.pp path.band").count() == 0)
    assert "≈ 287k ↑" in p.page.locator(".thru svg.pp text").evaluate_all("all => all.map(t => t.lastChild.textContent)")
    assert p.page.locator(".thru svg.pp circle").count() == 3


def test_the_rig_is_edited_by_keyboard(opened):
    p = opened()
    p.page.focus(".head .edit")
    p.page.keyboard.press("Enter")
    p.until(lambda: p.page.locator(".devices tbody tr").count() == 5)
    p.page.fill('.rigview [aria-label="Number of GPUs"]', "2")
    p.page.keyboard.press("Enter")
    p.until(lambda: p.page.locator(".devices tbody tr").count() == 3)
    memory = '[aria-label="CUDA1, Free memory, MiB"]'
    p.page.fill(memory, "lots")
    p.page.keyboard.press("Tab")
    p.until(lambda: "lots" in p.text(".rigview .bad"))
    assert p.page.get_attribute(memory, "aria-invalid") == "true"
    p.page.fill(memory, "12000")
    p.page.keyboard.press("Enter")
    p.until(lambda: p.explorer.machine.gpus[1].free_mib == 12000)
    p.until(lambda: not p.page.is_visible(".rigview .bad"))
    assert p.page.get_attribute('[aria-label="CUDA1, Memory, GB/s"]', "placeholder")
    p.until(lambda: p.page.locator("select.rig option:checked").inner_text().startswith("edited"))


def test_detection_can_be_stopped_from_the_page(opened):
    p = opened(Explorer(engine=scene.FakeEngine(slow=1.0)))
    p.page.click(".head .edit")
    p.until(lambda: p.page.is_visible(".rigview .detect"))
    p.page.click(".rigview .detect")
    p.until(lambda: p.text(".rigview .detect") == "Stop" and p.text("button.run") == "Stop")
    assert p.text(".head .status") == "looking at this computer"
    p.page.click(".rigview .detect")
    p.until(lambda: p.text(".rigview .detect") == "Detect this computer" and p.text("button.run") == "Run")


def test_a_hostile_header_is_text_in_the_model_view(opened):
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\x1b[31m\u202egnp'
    model = scene.Model([["token_embd.weight", [256, 512], "q8_0"], [f"blk.0.{evil}.weight", [256, 256], "q8_0"]], 1, evil)
    model.metadata |= {evil: evil + "B" * 10_000_000, "tokens": [evil] * 100_000}
    p = opened(Explorer(model, engine=scene.FakeEngine()))
    p.page.click("h2 .more")
    p.until(lambda: p.page.locator(".facts dt").count() > 5)
    assert p.page.evaluate("window.hacked") is None and p.page.locator(".ikx img, .ikx script").count() == 0
    words = p.page.inner_text(".facts")
    assert "<script>window.hacked=1" in words and "\u202e" not in words and "\x1b" not in words and len(words) < 5000
    assert "100000 values" in words
    wide = p.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    p.page.click(".facts .cap .link")
    p.until(lambda: not p.page.is_visible(".facts"))


def test_a_quick_pick_writes_a_rule_and_a_rule_tells_what_it_takes(opened):
    p = opened()
    p.page.click(".rules .quick")
    p.page.select_option('.pick [aria-label="Which weights"]', "down")
    p.page.fill('.pick [aria-label="First layer"]', "60")
    p.page.fill('.pick [aria-label="Last layer"]', "62")
    p.page.select_option('.pick [aria-label="Device"]', "CUDA1")
    p.page.click(".pick .btn")
    p.until(lambda: p.page.locator(".rule").count() == 6)
    assert p.page.input_value(".rule textarea") == r"blk\.(60|61|62)\.ffn_down_exps\.=CUDA1"
    p.until(lambda: p.page.locator(".rule .tell").nth(5).inner_text() == "99")
    p.page.locator(".rule .tell").nth(5).click()
    lines = p.until(lambda: p.page.locator(".rule .told:visible li").all_inner_texts())
    assert "ffn_down_exps 63–93" in lines and "by rule 1: ffn_down_exps 60–62" in lines
    assert p.page.locator('.rule .tell[aria-expanded="true"]').count() == 1


def test_a_long_rule_shows_all_of_itself_while_it_is_edited(opened):
    p = opened()
    field = p.page.locator(".rule textarea").first
    closed = field.bounding_box()["height"]
    field.focus()
    opened_height = field.bounding_box()["height"]
    assert closed < 24 and opened_height >= 2 * closed - 2
    assert p.page.evaluate("(e => e.scrollHeight <= e.clientHeight + 1)(document.activeElement)")
    p.page.keyboard.press("Enter")
    assert "\n" not in field.input_value()
    field.blur()
    assert field.bounding_box()["height"] == closed


def test_files_are_saved_by_the_page(opened, tmp_path):
    p = opened(Explorer(engine=scene.FakeEngine(pace=0.01, rows=2)))
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".thru", "data-points") == "2")
    got: list[Any] = []
    p.page.on("download", lambda file: got.append(file))
    for kind, begin in (("svg", b"<svg"), ("png", b"\x89PNG"), ("md", b"### "), ("jsonl", b'{"model"')):
        p.page.focus("button.save")
        p.page.keyboard.press("Enter")
        p.page.click(f'.menu [data-as="{kind}"]')
        p.until(lambda: got)
        file = got.pop()
        file.save_as(tmp_path / file.suggested_filename)
        assert (tmp_path / file.suggested_filename).read_bytes().startswith(begin) and file.suggested_filename.endswith(kind)
        assert p.page.evaluate("document.activeElement.className") == "btn save"


def test_a_panel_without_its_kernel_says_so(opened):
    p = opened(Explorer(engine=scene.FakeEngine(pace=0.2, rows=100)))
    p.page.click("button.run")
    p.until(lambda: p.page.get_attribute(".ikx", "data-running") == "1")
    p.page.evaluate("void (window.model.send = () => { throw new Error('Cannot send') })")
    p.page.click(".k-rtr .sw")
    p.page.wait_for_selector(".notice:has-text('Run the cell again')")
    assert p.page.get_attribute(".ikx", "data-running") == "0" and p.page.is_disabled("button.run")


NAMELESS = """[...document.querySelectorAll(
    '.ikx button, .ikx input, .ikx select, .ikx textarea, .ikx canvas, .ikx svg[role=img]')]
  .filter(e => e.getClientRects().length && !(e.getAttribute('aria-label') || e.innerText || e.closest('label')))
  .map(e => e.outerHTML.slice(0, 160))"""
UNREACHED = """[...document.querySelectorAll('.ikx button, .ikx input, .ikx select, .ikx textarea, .ikx canvas')]
  .filter(e => e.getClientRects().length && !e.disabled && e.tabIndex < 0).map(e => e.outerHTML.slice(0, 160))"""


def test_all_that_can_be_used_has_a_name_and_is_reached_by_tab(opened):
    p = opened()
    p.until(lambda: p.page.get_attribute(".thru", "data-forecast"))
    for button in ("h2 .more", ".head .edit", ".thru .ask", ".rules .quick", "button.save"):
        p.page.click(button)
    p.until(lambda: p.page.is_visible(".where") and p.page.is_visible(".facts") and p.page.is_visible(".rigview"))
    assert p.page.evaluate(NAMELESS) == [] and p.page.evaluate(UNREACHED) == []
    names = p.page.evaluate("[...document.querySelectorAll('.ikx canvas')].map(c => c.getAttribute('aria-label'))")
    assert "183 splits over 5 devices" in " ".join(names) and all(len(name) > 40 for name in names)


@pytest.mark.parametrize("width", [420, 960, 1280, 1920])
def test_open_views_do_not_stick_out(opened, width):
    p = opened(width=width)
    p.until(lambda: p.page.get_attribute(".thru", "data-forecast"))
    for button in ("h2 .more", ".head .edit", ".thru .ask", ".rules .quick"):
        p.page.click(button)
    p.until(lambda: p.page.is_visible(".where") and p.page.is_visible(".facts") and p.page.is_visible(".rigview"))
    wide = p.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
