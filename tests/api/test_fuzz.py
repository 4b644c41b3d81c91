"""A fuzzer that is driven by the server's own OpenAPI document finds no failure."""

import json
import subprocess
import sys
from pathlib import Path

from tests.api.test_metrics import samples
from tests.serving import SETTINGS, V100, make_token, serving
from tests.waiting import PATIENCE_SECONDS

# Most requests are about things that exist, or the fuzzer would see little but 404 and 422. No job is deleted, except
# those that the fuzzer registers.
CONFIGURATION = """
[dictionaries]
jobs = { values = ["fuzzed-0", "fuzzed-1"] }
trials = { values = TRIALS }
batch_sizes = { values = [8, 16, 32, 64, 128] }
lowest_watts = { values = [100] }
highest_watts = { values = [250] }

[[operations]]
exclude-operation-id = "delete_job"

[operations.parameters]
"path.job_id" = { dictionary = "jobs", probability = 0.8 }
"path.trial_id" = { dictionary = "trials", probability = 0.8 }
"body.batch_size" = { dictionary = "batch_sizes", probability = 0.8 }
"body.gpu.min_power_limit_watts" = { dictionary = "lowest_watts", probability = 0.8 }
"body.gpu.max_power_limit_watts" = { dictionary = "highest_watts", probability = 0.8 }
"""

REACHED = [
    "/v1/jobs/{job_id}/predict",
    "/v1/jobs/{job_id}/observe",
    "/v1/jobs/{job_id}/power/predict",
    "/v1/jobs/{job_id}/survey",
    "/v1/trials/{trial_id}/observe",
    "/v1/trials/{trial_id}/heartbeat",
]


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    """Run schemathesis with a token, sequences of operations included, on a server that requires tokens.

    Two of its checks are left out. `positive_data_acceptance`: that a range's ends must not be swapped, or that a
    default must be one of the candidates, no JSON schema can express, and the fuzzer takes the refusal for a fault.
    `ignored_auth`: after some wrong tokens the answer to further ones is 429, where it wants 401; test_authentication
    asks every operation without a token. The routes under `/zeus` lead to the same decisions and are left out, since a
    fifth of the time would go to them: test_zeus has what their bodies may not be, field by field.
    """
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    token = make_token(url, "fuzzer", "--scope", "admin")
    with serving(url, tmp_path / "log", RHEOSTAT_HOST="0.0.0.0") as server:
        server.client.headers["Authorization"] = f"Bearer {token}"
        trials = []
        for job in ("fuzzed-0", "fuzzed-1"):
            server.client.put(f"/v1/jobs/{job}", json=SETTINGS).raise_for_status()
            made = [server.client.post(f"/v1/jobs/{job}/predict", json={"gpu": V100}) for _ in range(3)]
            trials += [answer.raise_for_status().json()["trial_id"] for answer in made]
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.replace("TRIALS", json.dumps(trials)))
        document = f"{str(server.client.base_url).rstrip('/')}/openapi.json"
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", document]
        command += ["--header", f"Authorization: Bearer {token}", "--no-color"]
        command += ["--exclude-checks", "positive_data_acceptance,ignored_auth", "--max-examples", "20", "--seed", "2"]
        command += ["--exclude-tag", "zeus"]
        run = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert run.returncode == 0, run.stdout[-5000:]
        paths = server.client.get("/openapi.json").json()["paths"]
        tested = [
            operation for path, methods in paths.items() if not path.startswith("/zeus/") for operation in methods
        ]
        assert f"Tested: {len(tested)}" in run.stdout
        counted = samples(server.client.get("/metrics"))
        for route in REACHED:
            accepted = [f'method="POST",route="{route}",status="{status}"' for status in (200, 201)]
            assert any(f"rheostat_http_requests_total{{{labels}}}" in counted for labels in accepted), route
        assert "Traceback" not in server.log()
        assert token not in server.log()
