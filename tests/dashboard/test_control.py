"""Orders on the page of a job: who may give them, and that no other site can."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest

from rheostat import service as use_cases
from rheostat.schemas.control import JobControl, OrderRequest
from rheostat.service.audit import list_audit
from rheostat.service.tokens import create_token
from tests.dashboard.conftest import Page, Pages
from tests.domain.examples import JOB
from tests.service.examples import done, register

PATH = f"/jobs/{JOB}"


@dataclass(frozen=True)
class Tab:
    """A browser's tab with the page of the job: its cookies, and the proof in its forms."""

    pages: Pages
    cookies: Mapping[str, str]
    proof: str

    @classmethod
    def opened(cls, pages: Pages, **cookies: str) -> "Tab":
        page = pages.get(PATH, cookies=cookies).answer
        proof = re.search(r'name="proof" value="(\w+)"', page.text)
        assert proof is not None
        return cls(pages, {**cookies, **dict(page.cookies)}, proof[1])

    def order(self, order: str, headers: Mapping[str, str] | None = None, /, **fields: str) -> httpx.Response:
        form = {"proof": self.proof, "order": order, **fields}
        return self.pages.send("POST", PATH, data=form, cookies=dict(self.cookies), headers=headers)


@pytest.fixture
def job(empty: Pages) -> Pages:
    register(empty.service)
    return empty


def control_of(pages: Pages) -> JobControl:
    return use_cases.get_job(pages.service, JOB).control or JobControl()


def test_a_job_is_pinned_on_its_page_which_then_says_so(job: Pages) -> None:
    answer = Tab.opened(job).order("pin", batch_size="16", power_limit_watts="", reason="the <b>exam</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    pin = control_of(job).pin
    assert pin is not None
    assert (pin.batch_size, pin.power_limit_watts, pin.by) == (16, None, "local")
    page = job.get(PATH)
    assert "Pinned to batch size 16: nothing is explored. “the <b>exam</b>” By local, just now ." in page.text
    assert "<b>exam" not in page.html


def test_what_was_done_is_said_once(job: Pages) -> None:
    answer = Tab.opened(job).order("pin", batch_size="16")
    said = answer.headers["set-cookie"]
    assert (f"Path={PATH};" in said, "HttpOnly" in said, "SameSite=strict" in said) == (True, True, True)
    page = job.get(PATH, cookies=dict(answer.cookies))
    assert "The job is pinned." in page.text
    forgotten = [one for one in page.answer.headers.get_list("set-cookie") if "rheostat_done" in one]
    assert [("Max-Age=0" in one, f"Path={PATH};" in one) for one in forgotten] == [(True, True)]
    assert "The job is pinned." not in job.get(PATH).text


@pytest.mark.parametrize(
    ("order", "end", "shown"),
    [("pin", "unpin", "Pinned to"), ("pause", "resume", "Exploring is paused"), ("force", "unforce", "is forced to")],
)
def test_an_order_is_shown_until_its_button_ends_it(job: Pages, order: str, end: str, shown: str) -> None:
    tab = Tab.opened(job)
    assert tab.order(order, batch_size="16").status_code == 303
    page = job.get(PATH)
    assert (shown in page.text, f'name="order" value="{end}"' in page.html) == (True, True)
    assert tab.order(end).status_code == 303
    assert control_of(job) == JobControl()
    assert shown not in job.get(PATH).text
    actions = [entry.action for entry in list_audit(job.service, namespace=None, cursor=None, limit=2).entries]
    assert actions == [f"{end}_job", f"{order}_job"]


def test_what_the_api_refuses_is_refused_in_words(job: Pages) -> None:
    tab = Tab.opened(job)
    for fields, status, words in (
        ({"batch_size": "17"}, 409, "Batch size 17 is not among those"),
        ({"batch_size": "many"}, 422, "batch_size: Input should be a valid integer"),
        ({"batch_size": "16", "power_limit_watts": "-1"}, 422, "power_limit_watts: Input should be"),
        ({"batch_size": "16", "reason": "a" * 501}, 422, "reason: String should have at most 500"),
    ):
        page = Page(tab.order("pin", **fields))
        assert page.answer.status_code == status
        assert words in page.text
        assert PATH in page.links
    assert Page(tab.order("explode")).answer.status_code == 422
    assert job.send("POST", PATH, content=b"&a" * 100).status_code == 422
    assert control_of(job) == JobControl()


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and "nothing was changed" in answer.text


def test_a_form_without_its_proof_is_refused(job: Pages) -> None:
    tab = Tab.opened(job)
    assert refused(Tab(job, tab.cookies, "").order("pause"))
    assert refused(Tab(job, tab.cookies, "0" * 64).order("pause"))
    assert refused(Tab(job, tab.cookies, "\N{SNOWMAN}").order("pause"))
    assert refused(Tab(job, {}, tab.proof).order("pause"))
    assert refused(Tab(job, {"rheostat_form": ""}, tab.proof).order("pause"))
    assert control_of(job) == JobControl()


def test_the_proof_of_another_session_is_refused(job: Pages) -> None:
    one, other = (create_token(job.service, name, ["admin"])[0] for name in ("one", "other"))
    tab = Tab.opened(job, rheostat_token=one)
    assert refused(Tab(job, tab.cookies, Tab.opened(job, rheostat_token=other).proof).order("pause"))
    assert refused(Tab(job, {**tab.cookies, "rheostat_token": other}, tab.proof).order("pause"))
    assert control_of(job) == JobControl()
    assert tab.order("pause").status_code == 303
    pause = control_of(job).pause
    assert pause is not None
    assert pause.by == f"one ({one.split('_')[1]})"


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://localhost:3000"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_form_of_another_site_is_refused_even_with_a_proof(
    job: Pages, headers: dict[str, str], is_taken: bool
) -> None:
    answer = Tab.opened(job).order("pause", headers)
    assert (answer.status_code == 303, refused(answer)) == (is_taken, not is_taken)
    assert (control_of(job).pause is not None) == is_taken


def test_the_cookie_of_forms_is_kept_from_scripts_and_other_sites(job: Pages) -> None:
    first = job.get(PATH).answer
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*first.headers["set-cookie"].split("; ")}
    assert first.headers["referrer-policy"] == "same-origin"  # else browsers send forms from the origin "null"
    assert "set-cookie" not in job.get(PATH, cookies=dict(first.cookies)).answer.headers


def test_who_may_only_read_sees_orders_and_cannot_give_any(job: Pages) -> None:
    done(use_cases.pin_job(job.service, JOB, OrderRequest(batch_size=16)))
    cookies = {"rheostat_token": create_token(job.service, "viewer", ["read"])[0]}
    page = job.get(PATH, cookies=cookies)
    assert "Pinned to batch size 16" in page.text
    assert ('method="post" action="/sign-out"' in page.html, page.html.count("<form")) == (True, 1)
    answer = job.send("POST", PATH, data={"order": "unpin"}, cookies=cookies)
    assert (answer.status_code, "lacks the scope admin" in answer.text) == (403, True)
    assert control_of(job).pin is not None


def test_an_order_without_a_session_leads_to_the_sign_in_page_and_back_to_the_job(job: Pages) -> None:
    create_token(job.service, "one", ["admin"])
    answer = job.send("POST", PATH, data={"order": "pause"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=%2Fjobs%2F{JOB}")


def test_an_order_for_a_job_that_is_not_there_is_refused(job: Pages) -> None:
    tab = Tab.opened(job)
    form = {"proof": tab.proof, "order": "pause"}
    assert job.send("POST", "/jobs/none", data=form, cookies=dict(tab.cookies)).status_code == 404
