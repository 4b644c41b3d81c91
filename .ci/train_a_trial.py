"""Train a trial against the server at an address, and look at its pages, with what the wheel alone brings."""

import os
import sys

os.environ["RHEOSTAT_AGENT_DIR"] = "/nonexistent"  # this machine's agent, if it has one, is none of this check

import httpx

import rheostat

gpu = rheostat.Gpu(model="V100", min_power_limit_watts=100, max_power_limit_watts=300)
target = rheostat.Target(metric="accuracy", value=0.9, direction="maximize")
settings = rheostat.JobSettings(batch_sizes=[16, 32], default_batch_size=32, max_epochs=3, target=target)
with rheostat.Client(sys.argv[1]) as client:
    with client.trial("nightly", settings, gpu) as trial:
        answers = [trial.report(metric) for metric in (0.5, 0.95)]
    assert answers == ["continue", "stop"], answers
    (ended,) = client.list_trials("nightly").trials
    assert ended.state == "converged", ended
for path in ("/", "/jobs/nightly", "/nodes", "/assets/dashboard.css", "/assets/dashboard.js", "/assets/plotly.min.js"):
    assert httpx.get(sys.argv[1] + path).raise_for_status().content, path
