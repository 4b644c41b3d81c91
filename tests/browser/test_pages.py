"""The pages in a real browser: drawn, readable, and asking no other host for anything."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rheostat.service.tokens import new_token
from tests.browser.browsing import DESKTOP, PHONE, Browser
from tests.domain.examples import JOB
from tests.serving import Serving, make_token, serving

SIZES = {"phone": PHONE, "desktop": DESKTOP}


def address(server: Serving, path: str = "/") -> str:
    return f"{server.client.base_url}".rstrip("/") + path


def paths(server: Serving) -> dict[str, str]:
    trial = server.client.get(f"/v1/jobs/{JOB}/trials").json()["trials"][-1]["trial_id"]
    return {
        "home": "/",
        "job": f"/jobs/{JOB}",
        "tag": f"/jobs/{JOB}?tag=mlflow_run",
        "trial": f"/trials/{trial}",
        "nodes": "/nodes",
        "problem": "/jobs/none",
        "sign-in": "/sign-in",
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_drawn_and_readable(browser: Browser, server: Serving, size: str, dark: bool) -> None:
    charts = {"home": 1, "job": 7, "tag": 7, "trial": 2, "nodes": 0, "problem": 0, "sign-in": 0}
    for name, path in paths(server).items():
        browser.look_at(address(server, path), SIZES[size], dark=dark)
        browser.keep_screenshot(f"{name}-{size}-{'dark' if dark else 'light'}")
        assert browser.count("figure.chart .main-svg:first-child") == charts[name], name
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth"), name
        assert browser.barriers() == [], name
        complaints = [text for text in browser.complaints() if not (name == "problem" and "404" in text)]
        assert complaints == [], name
        assert browser.hosts() == {urlsplit(address(server)).netloc}, name


def test_an_empty_server_says_how_to_begin(browser: Browser, empty_server: Serving) -> None:
    browser.look_at(address(empty_server))
    assert "No job is registered yet" in browser.text("main")
    assert (browser.barriers(), browser.complaints()) == ([], [])


def test_a_report_shows_without_a_reload(browser: Browser, server: Serving) -> None:
    (trial,) = server.client.get(f"/v1/jobs/{JOB}/trials", params={"state": "running"}).json()["trials"]
    browser.look_at(address(server, f"/trials/{trial['trial_id']}"))
    browser.run("void (window.isOld = true)")
    before = browser.text("#reports .count")
    report = {"epoch": trial["epochs"] + 1, "metric": 0.31, "energy_joules": 150.0, "time_seconds": 2.0}
    server.client.post(f"/v1/trials/{trial['trial_id']}/observe", json=report).raise_for_status()
    browser.wait_until(lambda: browser.text("#reports .count") != before)
    browser.wait_until(lambda: "0.31" in browser.text("#reports"))
    points = "document.querySelector('#curve .plot').data.at(-1).y.at(-1)"
    browser.wait_until(lambda: browser.run(points) == 0.31)
    assert browser.run("window.isOld")


def test_a_page_says_that_its_server_is_away_until_it_is_back(
    browser: Browser, empty_server: Serving, empty_url: str, tmp_path: Path
) -> None:
    browser.look_at(address(empty_server))
    empty_server.kill()
    browser.run("void keepUp()")
    browser.wait_until(lambda: "The server does not answer. What you see is as of" in browser.text("#away"))
    assert browser.barriers() == []
    browser.complaints()
    port = urlsplit(address(empty_server)).port
    with serving(empty_url, tmp_path / "log of the next", "--port", str(port)):
        browser.run("void keepUp()")
        browser.wait_until(lambda: browser.run("document.getElementById('away').hidden"))


def test_everything_can_be_done_by_keyboard(browser: Browser, server: Serving) -> None:
    browser.look_at(address(server))
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to content"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.driver.find_element(By.ID, "search").send_keys("nothing", Keys.ENTER)
    browser.wait_until(lambda: "search=nothing" in browser.driver.current_url)
    assert "No job's name has" in browser.text("#jobs")


def test_figures_take_the_colours_of_the_page(browser: Browser, server: Serving) -> None:
    colours = []
    for dark in (False, True):
        browser.look_at(address(server, f"/jobs/{JOB}"), dark=dark)
        text = browser.run("getComputedStyle(document.querySelector('#costs .xtick text')).fill")
        colours.append((browser.run("getComputedStyle(document.body).backgroundColor"), text))
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


def test_a_browser_signs_in_with_a_token(browser: Browser, empty_server: Serving, empty_url: str) -> None:
    token = make_token(empty_url, "viewer", "--scope", "read")
    browser.look_at(address(empty_server, "/?search=x"))
    # A server without tokens needs none; it notices the first one within seconds.
    browser.wait_until(lambda: bool(browser.driver.refresh()) or "/sign-in" in browser.driver.current_url)
    field = browser.driver.find_element(By.ID, "token")
    field.send_keys(new_token(), Keys.ENTER)
    browser.wait_until(lambda: browser.count("#problem") == 1)
    assert browser.barriers() == []
    browser.driver.find_element(By.ID, "token").send_keys(token, Keys.ENTER)
    browser.wait_until(lambda: "/sign-in" not in browser.driver.current_url)
    assert browser.driver.get_cookie("rheostat_token")["httpOnly"]
    browser.driver.find_element(By.XPATH, "//button[text()='Sign out']").click()
    browser.wait_until(lambda: "/sign-in" in browser.driver.current_url)
    assert browser.driver.get_cookie("rheostat_token") is None
    browser.complaints()
