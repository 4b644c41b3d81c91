"""The OpenAPI document."""

import httpx

OPERATIONS = {
    "register_job",
    "update_job",
    "list_jobs",
    "get_job",
    "delete_job",
    "predict",
    "observe",
    "observe_run",
    "predict_power_limit",
    "observe_power_limit",
    "survey",
    "heartbeat",
    "get_trial",
    "list_trials",
    "estimates",
    "savings",
    "job_report",
    "list_reports",
    "power_curves",
    "calibration",
    "list_observations",
    "trials_csv",
    "healthz",
    "readyz",
    "metrics",
    "list_audit",
    "pin_job",
    "unpin_job",
    "pause_job",
    "resume_job",
    "force_job",
    "unforce_job",
}
PEER_OPERATIONS = {"zeus_register_job", "zeus_predict", "zeus_report", "zeus_end_trial", "zeus_delete_job"}
"""Those of the protocol that trainers of Zeus's server speak; our client has no use for them."""


def test_operations_have_the_names_of_the_client(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    named = {operation["operationId"] for path in paths.values() for operation in path.values()}
    assert named == OPERATIONS | PEER_OPERATIONS


def test_errors_are_documented_as_problems(http: httpx.Client) -> None:
    for path in http.get("/openapi.json").json()["paths"].values():
        for operation in path.values():
            is_peers = operation["operationId"] in PEER_OPERATIONS
            media_type = "application/json" if is_peers else "application/problem+json"
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    assert list(answer["content"]) == [media_type]


def test_operations_that_need_a_token_take_a_namespace(http: httpx.Client) -> None:
    for path in http.get("/openapi.json").json()["paths"].values():
        for operation in path.values():
            headers = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
            assert ("Rheostat-Namespace" in headers) == ("security" in operation)
