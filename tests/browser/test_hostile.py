"""Names as long and as odd as the API takes them, in a real browser."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from rheostat import service as use_cases
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import Gpu, Target
from rheostat.service.operations import open_service
from tests.browser.browsing import PAPER, PHONE, Browser
from tests.domain.examples import JOB
from tests.service.examples import converge, done, measure, predict, register, report
from tests.serving import Serving

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'&{{7*7}}"
LONG = "W" * 128
GPU = Gpu(
    model=(EVIL + 9 * "\N{HEBREW LETTER ALEF}" + LONG)[:128],
    count=8,
    min_power_limit_watts=100,
    max_power_limit_watts=250,
)
TAGS = {"k" * 64: (3 * EVIL)[:256], "long": "m" * 256, "link": f"https://host.test/{'y' * 238}", "js": "javascript:1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("hostile")
    database = f"sqlite:///{home / 'rheostat.db'}"
    service = open_service(database, timedelta(hours=1))
    target = Target(metric=EVIL, value=0.9, direction="maximize")
    register(service, policy="rheostat", eta_knob=1.0, power_limits_watts=[150, 200, 250], target=target)
    for node in (EVIL, LONG, "\N{HEBREW LETTER ALEF}\N{FIRE}"):
        trial = predict(service, GPU, node=node, tags=TAGS)
        measure(service, trial.batch_size, GPU, w250=300.0, w200=200.0)
        converge(service, trial, 400.0)
    done(use_cases.pin_job(service, JOB, OrderRequest(batch_size=64, reason=f"{EVIL} {LONG}{LONG}")))
    done(use_cases.pause_job(service, JOB, PauseRequest(reason=EVIL)))
    report(service, predict(service, GPU, node=LONG), 1, metric=0.2, energy_joules=80.0, time_seconds=1.0)
    register(service, "j" * 128)
    service.close()
    serving = Serving(database, home / "log", RHEOSTAT_SITE_NAME=EVIL[:80])
    serving.start()
    yield serving
    serving.close()


@pytest.mark.parametrize("size", [PHONE, PAPER], ids=["phone", "paper"])
def test_names_from_outside_break_neither_a_page_nor_out_of_it(
    browser: Browser, server: Serving, size: tuple[int, int]
) -> None:
    base = f"{server.client.base_url}".rstrip("/")
    trial = server.client.get(f"/v1/jobs/{JOB}/trials").json()["trials"][-1]["trial_id"]
    for path in (
        "/",
        f"/jobs/{JOB}",
        f"/jobs/{'j' * 128}",
        f"/trials/{trial}",
        "/nodes",
        "/?search=%E2%80%AE%3Cscript",
    ):
        browser.look_at(base + path, size)
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert not browser.run("window.pwned"), path
        assert browser.count("img[src=x]") == 0, path
        assert browser.hosts() == {urlsplit(base).netloc}, path
        assert size == PAPER or browser.barriers() == [], path
    assert browser.complaints() == []
