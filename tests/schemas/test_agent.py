import importlib

from rheostat.schemas.agent import LeaseRequest


def test_scripts_that_import_the_former_name_find_the_same_models() -> None:
    assert importlib.import_module("rheostat.agent_schemas").LeaseRequest is LeaseRequest
