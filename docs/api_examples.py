"""One exchange of every operation of the REST API, taken from a server on an empty database."""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

from rheostat.demo.processes import demo_server

_JOB = "/v1/jobs/nightly-finetune"
_GPU = {"model": "Tesla V100", "min_power_limit_watts": 100, "max_power_limit_watts": 250}
_JOB_SETTINGS = {
    "batch_sizes": [32, 64, 128, 256],
    "default_batch_size": 64,
    "max_epochs": 60,
    "target": {"metric": "accuracy", "value": 0.96, "direction": "maximize"},
    "power_limits_watts": [250, 200, 150, 100],
    "seed": 1,
}
_SLICES = [
    {"power_limit_watts": watts, "time_seconds": seconds, "energy_joules": joules, "steps": 50, "steps_per_epoch": 800}
    for watts, seconds, joules in [(250, 5.0, 1200), (200, 5.2, 1010), (150, 6.1, 905), (100, 9.4, 930)]
]
_ZEUS_JOB = {
    "job_id": "weekly",
    "job_id_prefix": "weekly",
    "batch_sizes": [32, 64],
    "default_batch_size": 64,
    "max_epochs": 60,
    "target_metric": 0.96,
    "number_of_gpus": 1,
    "gpu_model": "Tesla V100",
    "max_power": 250,
    "mab_seed": 1,
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)")
_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as text.

    Attributes:
        request: First line, headers and body.
        status: The answer's status.
        answer: The answer's body; empty when there is none.
        language: What the body is written in.
    """

    request: str
    status: int
    answer: str
    language: str


class _Recorder:
    """Makes requests, and keeps the first exchange of each operation."""

    def __init__(self, http: httpx.Client, document: dict[str, Any]) -> None:
        self._http = http
        self._names = {
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path))): operation["operationId"]
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self.exchanges: dict[str, Exchange] = {}

    def __call__(self, line: str, body: Any = None, **headers: str) -> Any:
        method, path = line.split()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self._http.request(method, path, json=body, headers=sent)
        assert response.is_success, response.text
        is_json = "json" in response.headers.get("content-type", "")
        lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        request = "\n".join(lines) + (f"\n\n{written(body)}" if body is not None else "")
        answer = written(_shortened(response.json())) if is_json else "\n".join(response.text.splitlines()[:6])
        exchange = Exchange(_same(request), response.status_code, _same(answer), "json" if is_json else "text")
        self.exchanges.setdefault(self._name(method, path.partition("?")[0]), exchange)
        return response.json() if is_json else None

    def _name(self, method: str, path: str) -> str:
        return next(str(name) for (verb, form), name in self._names.items() if verb == method and form.fullmatch(path))


def recorded_exchanges() -> tuple[dict[str, Any], dict[str, Exchange]]:
    """Return the OpenAPI document, and one exchange of every operation by its id."""
    with demo_server() as server, httpx.Client(base_url=server.url) as http:
        document = http.get("/openapi.json").raise_for_status().json()
        record = _Recorder(http, document)
        _train(record)
        _review(record)
        _steer(record)
        _speak_as_zeus(record)
        record(f"DELETE {_JOB}?force=true")
    return document, record.exchanges


def _train(record: _Recorder) -> None:
    record(f"PUT {_JOB}", _JOB_SETTINGS)
    record(f"POST {_JOB}/survey", {"gpu": _GPU})
    trial_id = record(f"POST {_JOB}/predict", {"gpu": _GPU, "node": "gpu-17"}, Idempotency_Key="run-2026-11-23")[
        "trial_id"
    ]
    record(f"POST {_JOB}/power/observe", {"batch_size": 64, "gpu": _GPU, "measurements": _SLICES})
    record(f"POST {_JOB}/power/predict", {"batch_size": 64, "gpu": _GPU})
    trial = f"/v1/trials/{trial_id}"
    record(f"POST {trial}/observe", {"epoch": 1, "metric": 0.91, "energy_joules": 14480, "time_seconds": 97.6})
    record(f"POST {trial}/heartbeat")
    record(f"POST {trial}/observe", {"epoch": 2, "metric": 0.97, "energy_joules": 28960, "time_seconds": 195.2})
    run = {"batch_size": 128, "gpu": _GPU, "energy_joules": 31000, "time_seconds": 170, "epochs": 3, "converged": True}
    record(f"POST {_JOB}/observe", run, Idempotency_Key="history-7")
    record(f"GET {trial}")
    record(f"GET {trial}/observations")


def _review(record: _Recorder) -> None:
    for path in (
        "",
        "/trials?state=converged",
        "/estimates",
        "/savings",
        "/power",
        "/calibration",
        "/report",
        "/trials.csv",
    ):
        record(f"GET {_JOB}{path}")
    for path in ("/v1/jobs?limit=100", "/v1/reports?since=2026-11-01", "/healthz", "/readyz", "/metrics"):
        record(f"GET {path}")


def _steer(record: _Recorder) -> None:
    record(f"PATCH {_JOB}", {"eta_knob": 0.8})
    record(f"POST {_JOB}/pin", {"batch_size": 64, "power_limit_watts": 150, "reason": "benchmark week"})
    record(f"DELETE {_JOB}/pin")
    record(f"POST {_JOB}/pause", {"reason": "release week"})
    record(f"DELETE {_JOB}/pause")
    record(f"POST {_JOB}/force", {"batch_size": 256, "reason": "does it fit?"})
    record(f"DELETE {_JOB}/force")
    record("GET /v1/audit?limit=1")


def _speak_as_zeus(record: _Recorder) -> None:
    record("POST /zeus/jobs", _ZEUS_JOB)
    trial = record("GET /zeus/jobs/batch_size?job_id=weekly")
    record("POST /zeus/report", trial | {"current_epoch": 1, "metric": 0.9, "time": 97.6, "energy": 14480})
    record("PATCH /zeus/trials", trial)
    record("DELETE /zeus/jobs?job_id=weekly")


def _shortened(value: Any) -> Any:
    """Leave of a list of objects the first one, and of a figure three digits that count."""
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in (value[:1] if value and isinstance(value[0], dict) else value)]
    return float(f"{value:.3g}") if isinstance(value, float) and not value.is_integer() else value


def _same(text: str) -> str:
    """Put the same for what differs from one recording to the next."""
    return _ID.sub("7f3c" + "0" * 28, _TIME.sub("2026-11-23T02:00:00Z", text))


def written(value: Any, indent: str = "", width: int = 110) -> str:
    """Return JSON with what fits on one line on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + len(indent) <= width or not isinstance(value, dict | list) or not value:
        return line
    inner = f"{indent}  "
    if isinstance(value, dict):
        entries = [f"{inner}{json.dumps(name)}: {written(each, inner, width)}" for name, each in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + written(each, inner, width) for each in value) + f"\n{indent}]"
