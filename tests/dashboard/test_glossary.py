"""The words of the pages: each leads to what it means."""

from rheostat.dashboard.glossary import GLOSSARY, anchor, explained
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB


def test_a_word_leads_to_its_meaning_once_and_the_rest_is_escaped() -> None:
    shown = explained("eta_knob, <b>eta_knob</b>")
    assert shown.count('href="#word-eta_knob"') == 1
    assert f'title="{GLOSSARY["eta_knob"]}"' in shown
    assert "&lt;b&gt;" in shown
    assert "<a" not in explained("beta_knobs, leases")


def test_every_word_that_leads_anywhere_leads_to_the_foot_of_its_page(pages: Pages) -> None:
    for path in ("/", f"/jobs/{JOB}", f"/jobs/{JOB}/what-if?placement=0&eta_knob=1"):
        page = pages.get(path)
        assert {link[1:] for link in page.links if link.startswith("#word-")} <= {anchor(word) for word in GLOSSARY}
        assert all(f'id="{anchor(word)}"' in page.html for word in GLOSSARY), path
    assert {"#word-eta_knob", "#word-beta_knob", "#word-cheapest"} <= set(pages.get(f"/jobs/{JOB}").links)
