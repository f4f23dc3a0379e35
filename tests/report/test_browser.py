"""The page in a browser without a network: no error, nothing that a screen reader stumbles over, controls that do what they say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.bench import page as bench_page
from harness.load import page as load_page
from harness.report.page import render
from harness.report.subjects import read
from tests import made
from tests.bench.frozen import frozen_bench, frozen_sweep
from tests.conftest import ROOT, start
from tests.load.test_findings import findings
from tests.report.folders import evaluated, model, numbers, pictured, segmented, with_slices, worded

MOVE = "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('input')); }"
REGRESSION = ["mae", "r2", "residuals", "error_by_label", {"histogram": {"low": -5.0, "high": 5.0}}]
RANKING = [*({"ndcg": {"query": "query", "k": k}} for k in (1, 3, 5)), {"ranking_gains": {"query": "query", "depth": 8}}]
DEMO = ("bootstrap={replicates: 40, seed: 1}", "slices=[[writer]]", "examples={worst: 12, per: confusion, also: [random]}")
PAGES = (
    "demo", "two runs", "one run", "slices", "three runs", "regression", "ranking", "segmentation", "texts", "examples",
    "examples of two runs", "bench", "bench of a sweep", "load test",
)  # fmt: skip
LIGHT, PHONE = {"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def demo(folder: Path) -> Path:
    """Return the run of `make demo`, on one rank, with slices, intervals and examples."""
    shutil.copytree(ROOT / "examples" / "digits", folder, ignore=shutil.ignore_patterns("model", "data"))
    words = [word for text in DEMO for word in ("--set", text)]
    for argv in (["prepare.py"], ["-m", "harness", "evaluate", "job.yaml", "-o", "run", *words]):
        done = start([sys.executable, *argv], folder)
        assert done.code == 0, done.text
    return folder / "run"


@pytest.fixture(scope="module")
def files(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "demo": render(read([demo(folder / "digits")])),
        "segmentation": render(read([segmented(folder / "segmented")])),
        "texts": render(read([worded(folder / "worded")])),
        "two runs": render(read(runs)),
        "one run": render(read(runs[1:])),
        "slices": render(read([with_slices(folder / "run", 1000)])),
        "three runs": render(read([*runs, evaluated(folder / "third", 0.7)])),
        "regression": render(read([numbers(folder / "numbers", REGRESSION)])),
        "ranking": render(read([numbers(folder / "ranked", RANKING)])),
        "examples": render(read([pictured(folder / "pictured")])),
        "examples of two runs": render(read([folder / "pictured", pictured(folder / "others", -1.0)])),
        "bench": bench_page.render(frozen_bench()),
        "bench of a sweep": bench_page.render(frozen_sweep()),
        "load test": load_page.render(findings(slow=100, failed=30)),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in texts}


def opened(browser: Any, file: Path, **options: Any) -> tuple[Any, list[str]]:
    """Open a page in a context of its own, without a network; what it complains of is gathered."""
    page = browser.new_context(offline=True, **options).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(file.as_uri())
    return page, complaints


@pytest.mark.parametrize("name", PAGES)
def test_no_errors_and_no_barriers(browser: Any, files: dict[str, Path], name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    assert set(files) == set(PAGES) and files[name].stat().st_size < 2_000_000
    for options in (LIGHT, PHONE):
        page, complaints = opened(browser, files[name], **options)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        barriers = [(each["id"], each["impact"]) for each in Axe().run(page).response["violations"]]
        assert (complaints, barriers) == ([], [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", ["demo", "slices", "three runs"])
def test_forest_plots_can_be_read_on_a_phone(browser: Any, files: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, files[name], **PHONE)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    plots = page.locator(".at-narrow svg").all()
    assert len(plots) > 1 and not page.locator(".at-wide").first.is_visible()
    for plot in plots:
        box = plot.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390  # nothing of it has to be scrolled to
        assert box["width"] / float(plot.get_attribute("width")) > 0.95  # so that letters of 12 pixels are some
    names = page.locator("#metrics .at-narrow").first.inner_text()
    page, _ = opened(browser, files[name], **LIGHT)
    assert page.locator(".at-wide").first.is_visible() and not page.locator(".at-narrow").first.is_visible()
    assert set(page.locator("#metrics .at-wide").first.inner_text().split()) & set(names.split()) >= {"accuracy"}


def test_slices_are_sorted_and_filtered(browser: Any, files: dict[str, Path]) -> None:
    page, complaints = opened(browser, files["slices"])
    rows, first = (
        page.locator("#slices table.sortable tbody tr:not([hidden])"),
        "#slices table.sortable tbody tr:not([hidden]) >> nth=0",
    )
    page.get_by_role("button", name="log_loss").click()
    assert page.locator(first).inner_text().startswith("city=city 0000")
    page.get_by_role("button", name="log_loss").press("Enter")
    assert page.locator(first).inner_text().startswith("city=city 0999")
    page.get_by_role("button", name="recall").click()
    assert page.locator("#slices table.sortable tbody tr").last.inner_text().startswith("city=city 0003")  # it has no value
    page.get_by_role("spinbutton", name="At least").fill("150")
    assert rows.count() == sum(100 + i >= 150 for i in range(1000) if i % 10)
    page.get_by_role("searchbox", name="Slice").fill("CITY 09")
    assert rows.count() == 90 and page.locator("#slices .controls output").inner_text() == "90 of 1,000 slices"
    assert complaints == []


def test_the_slider_shows_the_counts_at_each_threshold(browser: Any, files: dict[str, Path]) -> None:
    page, complaints = opened(browser, files["one run"])
    block = page.locator(".thresholds").first
    points = json.loads(block.locator("script").inner_text())
    for place in (0, len(points["threshold"]) // 3, len(points["threshold"]) - 1):
        block.get_by_role("slider").evaluate(MOVE, place)
        block.get_by_label("Cost of a false positive").fill("2.5")
        tp, fp = points["tp"][place], points["fp"][place]
        fn, tn = points["positive"] - tp, points["negative"] - fp
        shown = {
            name: block.locator(f"[data-cell={name}]").inner_text() for name in ("tp", "fp", "fn", "tn", "precision", "cost")
        }
        assert shown == {
            "tp": f"{tp:,}", "fp": f"{fp:,}", "fn": f"{fn:,}", "tn": f"{tn:,}",
            "precision": f"{tp / (tp + fp):.6g}", "cost": f"{2.5 * fp + fn:,.6g}",
        }  # fmt: skip
    block.get_by_role("slider").press("Home")
    assert block.locator("[data-cell=tp]").inner_text() == f"{points['tp'][0]:,}"
    assert complaints == []


def test_what_the_slider_shows_is_what_the_model_does(browser: Any, files: dict[str, Path]) -> None:
    examples = made.examples()
    positive = examples.x[:, 0] + 0.5 * examples.x[:, 2] > 0
    score = np.array(model(0.2)(examples.x))[:, 0].astype(np.float64)
    page, complaints = opened(browser, files["one run"])
    block = page.locator(".thresholds").first
    for place in (0, 50, 120, len(np.unique(score)) - 1):
        at = np.unique(score)[place] - 1e-9  # the threshold is this score; its last bit may differ by the batch
        called = score >= at
        tp, fp, fn = ((called & positive).sum(), (called & ~positive).sum(), (~called & positive).sum())
        block.get_by_role("slider").evaluate(MOVE, place)
        shown = {
            name: float(block.locator(f"[data-cell={name}]").inner_text().replace(",", ""))
            for name in ("threshold", "tp", "fp", "fn", "tn", "precision", "recall", "specificity", "f1", "lift", "cost")
        }
        assert shown == pytest.approx(
            {
                "threshold": at, "tp": tp, "fp": fp, "fn": fn, "tn": (~called & ~positive).sum(), "precision": tp / (tp + fp),
                "recall": tp / positive.sum(), "specificity": 1 - fp / (~positive).sum(), "f1": 2 * tp / (2 * tp + fp + fn),
                "lift": positive[called].mean() / positive.mean(), "cost": fp + fn,
            },
            rel=1e-5,
        )  # fmt: skip
    assert complaints == []


def test_examples_are_chosen_by_list_and_group(browser: Any, files: dict[str, Path]) -> None:
    page, complaints = opened(browser, files["examples"])
    groups, shown = page.locator(".kept .group"), page.locator(".kept .group:not([hidden])")
    names = [(own.get_attribute("data-list"), own.locator(".what").text_content() or "") for own in groups.all()]
    assert shown.count() == len(names) and page.locator(".kept .group[open]").count() == 1
    page.get_by_label("List").select_option("confident")
    assert shown.count() == sum(own == "confident" for own, _ in names) and page.get_by_role("heading", name="Worst").count() == 0
    page.get_by_role("searchbox", name="Group").fill("CAT AS")
    chosen = [name for name in names if name[0] == "confident" and "cat as" in name[1]]
    assert [own.locator(".what").inner_text() for own in shown.all()] == [name for _, name in chosen]
    assert all(own.is_visible() for own in shown.all())  # what they lie in is open
    assert page.locator(".kept output").inner_text() == f"{len(chosen)} of {len(names)} groups"
    page.get_by_label("List").select_option("")
    page.get_by_role("searchbox", name="Group").fill("")
    assert shown.count() == len(names) and complaints == []


def test_a_cell_leads_to_its_group(browser: Any, files: dict[str, Path]) -> None:
    page, complaints = opened(browser, files["examples"])
    pictures = page.locator(".kept .group:has(:target) img")
    table = page.locator("#confusion details", has_text="Data: Confusion matrix").first
    table.locator("summary").click()
    link = table.get_by_role("link").first
    group = str(link.get_attribute("aria-label")).partition(": examples of ")[2]
    label, _, prediction = group.partition(" as ")
    for way in ("table", "drawing", "again"):
        # What is chosen hides the group; a link to it shows it all the same.
        page.get_by_role("searchbox", name="Group").fill("nothing is called so")
        (link if way == "table" else page.locator(f"#confusion svg a[href='{link.get_attribute('href')}']").last).click()
        assert page.locator(".kept .group:has(:target) .what").inner_text() == group
        assert pictures.first.is_visible() and page.get_by_role("searchbox", name="Group").input_value() == ""
        texts = [str(own.get_attribute("alt")) for own in pictures.all()]
        assert texts and all(text.endswith(f": {label}, predicted {prediction}") for text in texts)
    page, _ = opened(browser, files["examples"], java_script_enabled=False)
    page.locator("#confusion svg a").last.click()
    assert page.locator(":target img").first.is_visible() and complaints == []


def test_it_can_be_read_without_scripts_and_printed(browser: Any, files: dict[str, Path]) -> None:
    page, _ = opened(browser, files["slices"], java_script_enabled=False)
    assert page.locator("#slices table.sortable tbody tr").count() == 1000 and not page.locator(".controls").is_visible()
    page, _ = opened(browser, files["one run"], viewport={"width": 700, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(page.pdf()) > 10_000


def test_closed_groups_and_plots_are_printed(browser: Any, files: dict[str, Path]) -> None:
    shown = """(wanted) => [...document.querySelectorAll(wanted)].filter((each) => each.checkVisibility({contentVisibilityAuto: true})
                          && each.getBoundingClientRect().height > 0).length"""
    for name in ("demo", "examples of two runs"):
        page, complaints = opened(browser, files[name])
        cards = page.locator(".kept li").count()
        assert 0 < page.evaluate(shown, ".kept li") < cards  # all but the first groups are closed
        page.evaluate(
            "addEventListener('beforeprint', () => { window.asked = document.querySelectorAll('.group:not([open])').length; })"
        )
        assert page.pdf().count(b"/Type /Page\n") > 5 and page.evaluate("window.asked") == 0
        assert (
            0 < page.evaluate(shown, ".kept li") < cards and page.locator(".group[open]").count() < page.locator(".group").count()
        )
        page.emulate_media(media="print")  # by the style sheet, without a script
        assert page.evaluate(shown, ".kept li") == cards and complaints == []
        assert page.evaluate(shown, "details.more figure") == page.locator("details.more figure").count()
        assert page.evaluate(shown, "details.data > summary") == 0  # what cannot be opened on paper is not there
    page.emulate_media(media="screen")
    page.get_by_label("List").last.select_option("random")
    page.emulate_media(media="print")
    chosen = page.locator(".kept").last.locator(".group[data-list=random] li").count()
    assert (
        0
        < page.locator(".kept")
        .last.locator("li")
        .evaluate_all("(cards) => cards.filter((each) => each.getBoundingClientRect().height > 0).length")
        == chosen
    )  # what is not chosen is not printed either
