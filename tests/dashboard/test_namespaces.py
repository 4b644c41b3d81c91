"""The namespaces on the pages: whoever may see them all chooses one, and orders hold for that one."""

from rheostat.service import Service
from rheostat.service.tokens import create_token
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB
from tests.service.examples import delete, predict, register

VISION = {"rheostat_namespace": "vision"}


def fill(pages: Pages) -> Service:
    vision = pages.service.on_behalf_of("them", "vision")
    register(pages.service)
    register(vision, "vision-job")
    return vision


def test_home_lets_choose_among_the_namespaces_that_have_jobs(empty: Pages) -> None:
    fill(empty)
    page = empty.get("/")
    assert {"/?namespace=default", "/?namespace=vision", f"/jobs/{JOB}"} <= {*page.links}
    assert "/jobs/vision-job" not in page.links
    chosen = empty.get("/?namespace=vision").answer
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/")
    assert "rheostat_namespace=vision" in chosen.headers["set-cookie"]
    there = empty.get("/", cookies=VISION)
    assert ("/jobs/vision-job" in there.links, f"/jobs/{JOB}" in there.links) == (True, False)
    assert "namespace vision" in there.text
    assert empty.get("/jobs/vision-job", cookies=VISION).answer.status_code == 200
    assert empty.get("/jobs/vision-job").answer.status_code == 404


def test_one_namespace_is_no_choice(empty: Pages) -> None:
    register(empty.service)
    predict(empty.service)
    assert "namespace" not in empty.get("/").html
    other = empty.service.on_behalf_of("them", "gone")
    register(other)
    delete(other)
    assert "namespace" not in empty.get("/").html


def test_what_is_no_namespace_is_not_chosen(empty: Pages) -> None:
    fill(empty)
    for name in ("/deleted", "none", "<script>"):
        assert "set-cookie" not in empty.get("/", params={"namespace": name}).answer.headers
    assert f"/jobs/{JOB}" in empty.get("/", cookies={"rheostat_namespace": "/deleted"}).links


def test_a_token_of_one_namespace_sees_no_other(empty: Pages) -> None:
    fill(empty)
    token = create_token(empty.service, "viewer", ["read"], namespace="vision")[0]
    page = empty.get("/", cookies={"rheostat_token": token, "rheostat_namespace": "default"})
    assert ("/jobs/vision-job" in page.links, f"/jobs/{JOB}" in page.links) == (True, False)
    assert not [link for link in page.links if "namespace" in link]


def test_a_form_of_one_namespace_orders_nothing_in_another(empty: Pages) -> None:
    register(empty.service.on_behalf_of("them", "vision"))
    register(empty.service)
    form = {"rheostat_form": "secret"}
    proof = empty.get(f"/jobs/{JOB}", cookies=form).html.partition('name="proof" value="')[2].partition('"')[0]
    order = {"order": "pause", "proof": proof}
    refused = empty.send("POST", f"/jobs/{JOB}", cookies=form | VISION, data=order)
    assert (refused.status_code, "nothing was changed" in refused.text) == (403, True)
    assert empty.send("POST", f"/jobs/{JOB}", cookies=form, data=order).status_code == 303
