"""Tags of a run: checked in the trainer, and sent only where there are some."""

import pytest

from rheostat import Client
from rheostat.errors import ConfigurationError
from rheostat.sdk.options import TrialOptions
from rheostat.sdk.tags import checked_tags, read_tags
from tests.sdk.test_trial import GPU, SETTINGS


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({"": "x"}, "''"),
        ({"a key": "x"}, "'a key'"),
        ({"run": ""}, "'run'"),
        ({"run": "x" * 257}, "'run'"),
        ({"run": "two\nlines"}, "printable"),
        ({"run": 7}, "valid string"),
        ({f"run{number}": "x" for number in range(17)}, "at most 16"),
    ],
)
def test_what_is_no_tag_is_refused_before_the_run(tags: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        checked_tags(tags)
    with Client() as client, pytest.raises(ConfigurationError, match=r"^The tag"):
        client.trial("nightly", SETTINGS, GPU, tags=tags)


def test_tags_are_sent_only_where_there_are_some() -> None:
    tags = {"mlflow_run": "x" * 256}
    assert TrialOptions(GPU, tags=tags).request(GPU).model_dump(exclude_unset=True)["tags"] == tags
    assert "tags" not in TrialOptions(GPU).request(GPU).model_dump_json(exclude_unset=True)


def test_a_written_tag_ends_its_key_at_the_first_equals_sign() -> None:
    assert read_tags(["mlflow_run=https://mlflow.test/?run=7", "team=a b"]) == {
        "mlflow_run": "https://mlflow.test/?run=7",
        "team": "a b",
    }
    with pytest.raises(ConfigurationError, match="has no value"):
        read_tags(["mlflow_run"])
