"""The page in a real browser: it opens from a file, nothing leaves it, and its tables can be worked with."""

from __future__ import annotations

import json
import shutil
import time

import page_results as made
import pytest

from initbench.analysis import page

pytest.importorskip("selenium", reason="needs selenium")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs the Debian packages chromium and chromium-driver"
)

EIGHTH, EIGHTH_ROWS = {"nesterov": [False], "batch_size": [64], "width": [50]}, 1_296
"""Of the sweep: enough where it is no question how many rows a page can bear."""
WAIT = 60
"""Seconds in which a busy machine does what a quiet one does at once."""


@pytest.fixture(scope="module")
def driver():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--force-prefers-reduced-motion",
        "--window-size=1280,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Paths of pages: a whole sweep, an eighth of one with a comparison's figures alone, and one of hostile names."""
    root = tmp_path_factory.mktemp("browser")
    hostile = {**made.FEW, "init": ["he_normal", made.HOSTILE], "activation": ["<img src=x onerror=alert(2)>", "relu"]}
    texts = {"sweep": page.html(made.sweep(root / "sweep")),
             "hostile": page.html(made.training(root / "hostile", **hostile))}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "figures", lambda *_: ())
        texts["eighth"] = page.html(made.training(root / "eighth", **EIGHTH))
    for name, text in texts.items():
        (root / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: root / f"{name}.html" for name in texts}


class Shown:
    """A page that is open, and its table of runs."""

    def __init__(self, driver, path):
        for kind in ("browser", "performance"):
            driver.get_log(kind)  # what came before is forgotten
        driver.get(path.as_uri())
        self.driver = driver
        self.until(lambda: self.script("return document.querySelector('.grid').dataset.ready") == "yes")
        self.until(lambda: self.script("return performance.getEntriesByName('grids').length") == 1)

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def until(self, holds):
        end = time.monotonic() + WAIT
        while not (found := holds()):
            assert time.monotonic() < end
            time.sleep(0.05)
        return found

    @property
    def count(self):
        """How many rows the page says are shown."""
        return int(self.one(".count").text.split()[0].replace(",", ""))

    def column(self, title):
        """What stands in a column, of the rows that are drawn."""
        field = self.field(title)
        return self.script(f"return [...document.querySelectorAll('.tabulator-row [tabulator-field={field}]')]"
                           ".map(cell => cell.textContent)")  # fmt: skip

    def field(self, title):
        told = json.loads(self.script("return document.querySelector('script[type=\"application/json\"]').textContent"))
        return f"c{[column['title'] for column in told['columns']].index(title)}"

    def menu(self, column):
        self.one(f".menu[data-column='{column}'] > summary").click()

    def choose(self, column, level):
        self.menu(column)
        boxes = self.driver.find_elements("css selector", f".menu[data-column='{column}'] label")
        next(box for box in boxes if box.text == level).click()
        self.menu(column)


@pytest.fixture
def sweep(driver, written):
    return Shown(driver, written["sweep"])


@pytest.fixture
def eighth(driver, written):
    return Shown(driver, written["eighth"])


def test_nothing_leaves_the_page_and_nothing_is_complained_of(driver, written):
    Shown(driver, written["sweep"])
    asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = {told["params"]["request"]["url"] for told in asked if told["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith("data:")} == {written["sweep"].as_uri()}
    assert driver.get_log("browser") == []


def test_the_answer_is_painted_before_the_tables_are_made(sweep):
    painted, made_tables = sweep.script(
        "return [performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByName('grids')[0].startTime]"
    )
    assert painted < made_tables


def test_of_10368_rows_few_are_drawn(sweep):
    assert sweep.count == 10_368
    assert 10 < sweep.script("return document.querySelectorAll('.tabulator-row').length") < 200


def test_search(sweep):
    sweep.one("input[type=search]").send_keys("he_normal tanh")
    sweep.until(lambda: sweep.count == 10_368 // 18)
    assert set(sweep.column("init")) == {"he_normal"}
    assert set(sweep.column("activation")) == {"tanh"}


def test_sort_by_mouse_and_by_keyboard(sweep):
    header = sweep.one(f".tabulator-col[tabulator-field={sweep.field('test_accuracy')}]")
    header.click()
    table = made.runs()["test_accuracy"]
    sweep.until(lambda: sweep.column("test_accuracy")[0] == f"{table.max():.4g}")
    assert header.get_attribute("aria-sort") == "descending"
    sweep.script("arguments[0].focus()", header)
    header.send_keys("\ue007")  # enter
    sweep.until(lambda: sweep.column("test_accuracy")[0] == f"{table.min():.4g}")
    assert header.get_attribute("aria-sort") == "ascending"


def test_filter_by_factor(eighth):
    eighth.choose("init", "zeros")
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 6)
    eighth.choose("lr", "0.01")
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 18)
    assert set(eighth.column("lr")) == {"0.01"}
    eighth.choose("init", "ones")
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 9)
    eighth.driver.find_element("xpath", "//button[text()='Show all rows']").click()
    eighth.until(lambda: eighth.count == EIGHTH_ROWS)


def test_columns_are_chosen(eighth):
    header = f".tabulator-col[tabulator-field={eighth.field('lr')}]"
    shown = f"return getComputedStyle(document.querySelector('{header}')).display"
    assert eighth.script(shown) != "none"
    eighth.choose("columns", "lr")
    assert eighth.script(shown) == "none"
    assert eighth.field("cell_id")
    eighth.choose("columns", "cell id")
    assert len(eighth.column("cell_id")[0]) == 16


def test_brushing_an_axis_filters_the_table(eighth):
    """Drag along the upper half of the first axis, where half of the initializers are."""
    from selenium.webdriver import ActionChains

    lines = eighth.one(".lines")
    eighth.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", lines)
    size = lines.size
    top, bottom = 36, size["height"] - 28  # where the page places the axes
    corner = {"x": 55 - size["width"] // 2, "y": -size["height"] // 2}

    def drag(start, end):
        chain = ActionChains(eighth.driver, duration=50).move_to_element_with_offset(
            lines, corner["x"], corner["y"] + start
        )
        chain.click_and_hold().move_by_offset(0, (end - start) // 2).move_by_offset(0, end - start - (end - start) // 2)
        chain.release().perform()

    drag(top + 4, (top + bottom) // 2)
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 2)
    kept = eighth.one(".chip").text
    assert kept.startswith("init ")
    assert set(eighth.column("init")) <= {"uniform", "zeros", "ones"}
    eighth.one("input[type=search]").send_keys("sgd")
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 4)
    eighth.one(".chip").click()
    eighth.until(lambda: eighth.count == EIGHTH_ROWS // 2)
    assert "he_normal" in eighth.column("init")


def test_a_range_is_kept_without_a_mouse(eighth):
    eighth.menu("range")
    form = eighth.one(".menu[data-column=range] form")
    eighth.script("const select = arguments[0].querySelector('select');"
                 "select.value = [...select.options].find(o => o.text === 'val_accuracy').value", form)  # fmt: skip
    form.find_element("name", "low").send_keys("0.7")
    form.find_element("css selector", "button").send_keys("\ue007")
    expected = int((made.runs(**EIGHTH)["val_accuracy"].round(9) >= 0.7).sum())
    eighth.until(lambda: eighth.count == expected)
    assert eighth.one(".chip").text.startswith("val_accuracy 0.7")
    assert all(float(value) >= 0.7 for value in eighth.column("val_accuracy"))


def test_names_are_text(driver, written):
    from selenium.common.exceptions import NoAlertPresentException

    shown = Shown(driver, written["hostile"])
    with pytest.raises(NoAlertPresentException):
        driver.switch_to.alert  # noqa: B018
    assert made.HOSTILE in shown.column("init")
    assert shown.script("return document.querySelectorAll('main img, main script').length") == 0
    shown.choose("init", made.HOSTILE)
    shown.until(lambda: set(shown.column("init")) == {made.HOSTILE})
    assert driver.get_log("browser") == []


def test_dark_and_light(eighth):
    def background():
        return eighth.script("return getComputedStyle(document.body).backgroundColor")

    def card():
        return eighth.script("return getComputedStyle(document.querySelector('.card')).backgroundColor")

    eighth.script("document.documentElement.dataset.theme = 'light'; dispatchEvent(new Event('resize'))")
    light = background()
    eighth.one("#theme").click()
    dark = background()
    brightness = [sum(map(int, color.strip("rgb()").split(", ")[:3])) for color in (light, dark, card())]
    assert brightness[0] > 700
    assert brightness[1] < 150
    assert brightness[2] > 700  # figures are drawn for paper
    eighth.one("#theme").click()
    assert background() == light


def within(box, width):
    return box["x"] >= 0 and box["width"] > 0 and box["x"] + box["width"] <= width


def test_a_narrow_window_scrolls_in_one_direction(driver, written):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": 390, "height": 850, "deviceScaleFactor": 1, "mobile": False})  # fmt: skip
    try:
        shown = Shown(driver, written["sweep"])
        assert shown.script("return document.documentElement.scrollWidth") <= 390
        for menu in driver.find_elements("css selector", ".menu > summary"):
            menu.click()
            choices = menu.find_element("xpath", "../div")
            shown.until(lambda choices=choices: within(choices.rect, 390))
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_first_stop_of_the_keyboard_leads_to_the_answer(eighth):
    from selenium.webdriver import ActionChains

    ActionChains(eighth.driver).send_keys("\ue004").perform()  # tab
    assert eighth.script("return document.activeElement.textContent") == "Skip to the answer"
    reached = eighth.script("return [...document.querySelectorAll('.tabulator-col')].every(e => e.tabIndex === 0)")
    assert reached
