"""What an operator does on the page of a job, in a real browser: orders, and what-if."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rheostat.service.operations import open_service
from tests.browser.browsing import DESKTOP, PHONE, Browser
from tests.domain.examples import JOB
from tests.serving import Serving
from tests.visualization.examples import explore


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a job on a server of its own, since orders change it."""
    home = tmp_path_factory.mktemp("controls")
    database = f"sqlite:///{home / 'rheostat.db'}"
    service = open_service(database, timedelta(hours=1))
    explore(service)
    service.close()
    serving = Serving(database, home / "log")
    serving.start()
    yield f"{serving.client.base_url}".rstrip("/") + f"/jobs/{JOB}"
    serving.close()


def test_an_order_is_given_and_ended_by_forms(browser: Browser, url: str) -> None:
    browser.look_at(url)
    browser.driver.find_element(By.CSS_SELECTOR, "#control summary").click()
    browser.driver.find_element(By.ID, "pin-reason").send_keys("a demonstration", Keys.ENTER)
    browser.wait_until(lambda: "The job is pinned." in browser.text("#orders"))
    assert "a demonstration" in browser.text("#orders")
    for name, size in (("phone", PHONE), ("desktop", DESKTOP)):
        browser.look_at(url, size, dark=name == "phone")
        browser.driver.find_element(By.CSS_SELECTOR, "#control summary").click()
        browser.keep_screenshot(f"pinned-{name}")
        assert browser.barriers() == []
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    browser.look_at(url)
    browser.driver.find_element(By.CSS_SELECTOR, "#orders button").click()
    browser.wait_until(lambda: "The pin is removed" in browser.text("#orders"))
    assert browser.count("#orders .order") == 0
    assert browser.complaints() == []


def test_the_slider_prices_the_runs_on_the_page_itself(browser: Browser, url: str) -> None:
    browser.look_at(url)
    assert "which this job has" in browser.text("#what-if-answer")
    browser.driver.find_element(By.ID, "eta-slider").send_keys(Keys.HOME)
    browser.wait_until(lambda: "The best known would" in browser.text("#what-if-answer"))
    assert browser.run("document.getElementById('eta-knob').value") == "0"
    assert browser.driver.current_url == url
    assert browser.barriers() == []
    browser.keep_screenshot("slider-desktop-light")
    browser.look_at(f"{url}/what-if?eta_knob=0.5", PHONE)
    browser.keep_screenshot("what-if-phone-light")
    assert (browser.barriers(), browser.complaints()) == ([], [])
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
