"""The live page in a real browser: load, drive, plan, pause, reconnect, and a wrong token."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

from worldmodel.viewing.live.serve import LiveServer, ServeConfig

webdriver = pytest.importorskip("selenium.webdriver")
Serve = Callable[[ServeConfig], AbstractContextManager[LiveServer]]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium: apt-get install -y chromium chromium-driver"
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--window-size=1280,900"),
)


class Page:
    """A browser window, asked in JavaScript."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def text(self, selector: str) -> str:
        return str(self.driver.execute_script(f"return document.querySelector('{selector}').textContent"))

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def click(self, selector: str) -> None:
        """Click as a person does: what is covered or disabled cannot be."""
        self.until(lambda: self.driver.find_element("css selector", selector).is_enabled())
        self.driver.find_element("css selector", selector).click()

    def keys(self, kind: str, key: str) -> None:
        codes = {"ArrowLeft": 37, "ArrowUp": 38, " ": 32, "Enter": 13, "Escape": 27, "g": 71, "p": 80, "s": 83, "w": 87}
        self.driver.execute_cdp_cmd(
            "Input.dispatchKeyEvent",
            {
                "type": kind,
                "key": key,
                "windowsVirtualKeyCode": codes[key],
                **({"text": "\r"} if (kind, key) == ("keyDown", "Enter") else {}),
            },
        )

    def press(self, key: str) -> None:
        self.keys("keyDown", key)
        self.keys("keyUp", key)

    def until(self, holds: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"still '{self.text('#status')}', '{self.text('#planning')}'"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, server: LiveServer) -> Page:
    """The page, loaded anew, waiting for someone to act."""
    page = Page(browser)
    browser.get("about:blank")
    browser.get(server.url)
    page.until(lambda: page.ask("document.querySelectorAll('#strip button').length") == 10)
    page.click("#strip button")
    page.click("#begin-at")
    page.until(lambda: page.text("#status") == "Ready · 1 watching")
    return page


def test_it_loads_whole_and_without_a_complaint(page: Page) -> None:
    assert "Reacher" in page.text("#env")
    for image in ("real", "dream"):
        page.until(lambda name=image: page.ask(f"document.getElementById('{name}').naturalWidth") == 32)
    assert page.ask("document.getElementById('episode-kind').textContent").startswith("held out")
    # Everything came from this server.
    assert all("127.0.0.1" in name for name in page.ask("performance.getEntriesByType('resource').map(e => e.name)"))
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_arrow_keys_drive_both(page: Page, server: LiveServer) -> None:
    real, dream = (page.ask(f"document.getElementById('{name}').src") for name in ("real", "dream"))
    page.keys("keyDown", "ArrowLeft")
    page.until(lambda: "dream frames/s" in page.text("#status") and "after 0.0 s" not in page.text("#apart"))
    page.until(lambda: page.ask("document.getElementById('real').src") != real)
    page.until(lambda: page.ask("document.getElementById('dream').src") != dream)
    assert page.ask("document.getElementById('knob').style.transform").startswith("translate(-")
    page.keys("keyUp", "ArrowLeft")
    page.until(lambda: page.ask("document.getElementById('knob').style.transform").startswith("translate(0px"))


FAKE_GAMEPAD = """
window.stick = {id: "Fake stick", index: 0, connected: true, axes: [0, 0, 0, 0], buttons: [], mapping: "standard"};
navigator.getGamepads = () => [null, window.stick];
dispatchEvent(new Event("gamepadconnected"));
"""


def test_a_gamepad_drives_until_it_is_let_go_or_pulled_out(page: Page) -> None:
    knob = "document.getElementById('knob').style.transform"
    assert "No gamepad" in page.text("#gamepad")
    page.driver.execute_script(FAKE_GAMEPAD)
    page.until(lambda: "Fake stick" in page.text("#gamepad"))
    real = page.ask("document.getElementById('real').src")
    assert page.text("#status") == "Ready · 1 watching"  # a stick that rests does nothing
    page.ask("window.stick.axes = [-0.9, -0.5, 0, 0]")  # left and up: a gamepad counts down as more
    page.until(lambda: "dream frames/s" in page.text("#status"))
    page.until(lambda: page.ask("document.getElementById('real').src") != real)
    matrix = "new DOMMatrix(getComputedStyle(document.getElementById('knob')).transform)"
    x, y = page.ask(f"[{matrix}.e, {matrix}.f]")
    assert x < 0
    assert y < 0
    page.ask("window.stick.axes = [0.05, 0, 0, 0]")  # no stick rests quite in the middle
    page.until(lambda: page.ask(knob).startswith("translate(0px, 0px"))
    page.ask("window.stick.axes = [0.9, 0, 0, 0]")
    page.until(lambda: not page.ask(knob).startswith("translate(0px"))
    page.ask("window.stick = null")
    page.ask("dispatchEvent(new Event('gamepaddisconnected'))")
    page.until(lambda: page.ask(knob).startswith("translate(0px, 0px"))
    assert "No gamepad" in page.text("#gamepad")


@pytest.mark.parametrize("surface", ["pad", "dream"])
def test_dragging_drives_too(surface: str, page: Page) -> None:
    pad = page.driver.find_element("css selector", f"#{surface}")
    actions = webdriver.ActionChains(page.driver)
    actions.click_and_hold(pad).move_by_offset(40, -20).perform()
    page.until(lambda: "dream frames/s" in page.text("#status"))
    assert not page.ask("document.getElementById('knob').style.transform").startswith("translate(0px")
    webdriver.ActionChains(page.driver).release().perform()


def test_space_pauses_and_lets_go_on(page: Page) -> None:
    page.press("w")
    page.until(lambda: "dream frames/s" in page.text("#status"))
    page.press(" ")
    page.until(lambda: "Paused" in page.text("#status"))
    assert page.ask("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    page.press(" ")
    page.until(lambda: "dream frames/s" in page.text("#status"))


def test_only_who_holds_something_lets_go_when_leaving_the_window(page: Page) -> None:
    wandering = "document.getElementById('wander').getAttribute('aria-pressed') == 'true'"
    page.press("w")
    page.until(lambda: page.ask(wandering))
    page.ask("dispatchEvent(new Event('blur'))")
    time.sleep(0.5)
    assert page.ask(wandering)
    page.keys("keyDown", "ArrowLeft")
    page.until(lambda: not page.ask(wandering))
    page.ask("dispatchEvent(new Event('blur'))")
    page.until(lambda: page.ask("document.getElementById('knob').style.transform").startswith("translate(0px"))
    page.keys("keyUp", "ArrowLeft")


def test_a_goal_is_chosen_planned_for_and_done(page: Page) -> None:
    assert page.ask("document.getElementById('plan').disabled")
    page.click("#strip button:nth-child(5)")
    page.click("#recorded-goal")
    page.until(lambda: not page.ask("document.getElementById('plan').disabled"))
    page.press("p")
    page.until(lambda: page.ask("document.getElementById('ends').children.length") > 0)
    page.until(lambda: page.ask("document.getElementById('future').children.length") == 3)
    page.until(lambda: page.ask("document.getElementById('happened').children.length") == 3)
    page.until(lambda: "the goal after" in page.text("#planning"))


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.ask("document.querySelector('#strip button:nth-child(5)').focus()")  # as Tab does
    page.press("Enter")
    page.press("g")
    page.until(lambda: page.text("#goal-name").endswith("frame 4"))
    page.ask("document.querySelector('#strip button:nth-child(3)').focus()")
    page.press("Enter")
    page.press("s")
    shown = "document.querySelector('#strip button:nth-child(3) img').src"
    page.until(lambda: page.ask("document.getElementById('real').src") == page.ask(shown))
    page.press("p")
    page.until(lambda: page.text("#planning").startswith("Searching"))
    page.press("Escape")
    page.until(lambda: not page.ask("document.getElementById('plan').disabled"))
    real = page.ask("document.getElementById('real').src")
    page.keys("keyDown", "ArrowLeft")
    page.until(lambda: page.ask("document.getElementById('real').src") != real)
    page.keys("keyUp", "ArrowLeft")


def test_a_goal_can_be_drawn(page: Page) -> None:
    page.click("#draw")
    paper = page.driver.find_element("css selector", "#paper")
    before = page.ask("document.getElementById('paper').toDataURL()")
    webdriver.ActionChains(page.driver).click_and_hold(paper).move_by_offset(60, 30).release().perform()
    drawn = page.ask("document.getElementById('paper').toDataURL()")
    assert drawn != before
    page.click("#use-drawing")
    page.until(lambda: page.text("#goal-name") == "Drawn")


def test_it_finds_its_way_back_after_a_lost_connection(browser: Any, serve: Serve) -> None:
    page = Page(browser)
    with serve(ServeConfig(port=0)) as server:
        port = urlsplit(server.url).port
        browser.get(server.url)
        page.until(lambda: "Ready" in page.text("#status"))
    page.until(lambda: "Trying again" in page.text("#status"))
    with serve(ServeConfig(port=port)):
        page.until(lambda: "Ready" in page.text("#status"))


@pytest.mark.parametrize("width", [320, 375])
def test_nothing_sticks_out_on_a_phone(page: Page, width: int) -> None:
    size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask("document.getElementById('pad').getBoundingClientRect().right") < width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_token_is_asked_for_beyond_this_machine(browser: Any, serve: Serve) -> None:
    with serve(ServeConfig(host="0.0.0.0", port=0)) as server:
        _enter(Page(browser), f"http://127.0.0.1:{urlsplit(server.url).port}/", server.token)


def _enter(page: Page, address: str, token: str) -> None:
    browser = page.driver
    browser.get("about:blank")
    browser.get(f"{address}#token=wrong")
    page.until(lambda: page.ask("document.getElementById('door').open"))
    assert "not the right one" in page.text("#door-why")
    assert page.ask("document.getElementById('real').naturalWidth") == 0
    browser.find_element("css selector", "#token").send_keys(token)
    page.click("#door button")
    page.until(lambda: "watching" in page.text("#status"))
    browser.get("about:blank")
    browser.get(address)  # it is remembered as long as the window is open
    page.until(lambda: "watching" in page.text("#status"))
