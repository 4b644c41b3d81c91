"""A headless Chromium that notes what it asks for, and what goes wrong in it."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.waiting import PATIENCE_SECONDS

PHONE = (390, 844)
DESKTOP = (1280, 900)
PAPER = (717, 1046)
"""A4 less Chromium's margins, in CSS's pixels."""
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_AXE = "const done = arguments[0]; axe.run().then(({ violations }) => done(violations));"


class Browser:
    """A browser with one window."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def look_at(self, url: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Open a page on a screen of a size, or as it is printed, and wait until its figures are drawn."""
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = "print" if size == PAPER else ""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self.driver.get(url)
        self.wait_until(lambda: self.count("figure.chart") == self.count("figure.chart .main-svg:first-child"))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, PATIENCE_SECONDS, 0.1).until(lambda _: is_so())

    def count(self, selector: str) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str = "body") -> str:
        # In one step: a live part of the page may be replaced between two.
        return str(self.driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))

    def run(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def complaints(self) -> list[str]:
        """Return the errors and warnings in the console since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def hosts(self) -> set[str]:
        """Return the hosts that were asked for anything since the last time."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if url.startswith(("http", "ws"))}

    def barriers(self) -> list[str]:
        """Return what keeps people from using the page, by sight, hearing or keyboard, as axe-core finds it."""
        axe = files("axe_core_python") / "axe.min.js"
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe.read_text()})
        violations = self.driver.execute_async_script(_AXE)
        return [f"{one['id']}: {node['html'][:200]}" for one in violations for node in one["nodes"]]

    def keep_screenshot(self, name: str) -> None:
        """Keep a picture of the whole page, for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("window.innerWidth")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE[0]}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        (SCREENSHOTS / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Yield a browser with an empty profile in a folder."""
    options = ChromeOptions()
    options.binary_location = next(path for name in _PROGRAMS if (path := shutil.which(name)))
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_script_timeout(PATIENCE_SECONDS)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
