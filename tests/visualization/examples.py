"""A job that has explored, kept by a real service, for the figures and the pages."""

from rheostat.service import Service
from tests.service.examples import measure, predict, register, report

JOULES = {8: 500.0, 16: 450.0, 32: 400.0, 64: 320.0, 128: 240.0}
"""What a run costs at the best power limit, by its batch size."""

NODE = "<script>alert(1)</script>"

TAGS = {"mlflow_run": "https://mlflow.test/#/runs/7", "team": NODE}
"""Of the first run."""


def explore(service: Service) -> None:
    """Let the example job run a dozen times; the sixth run is cancelled, and a thirteenth runs."""
    register(service, policy="rheostat", eta_knob=1.0, power_limits_watts=[150, 200, 250])
    for number in range(12):
        trial = predict(service, node=NODE, tags=TAGS if number == 0 else {})
        joules = JOULES[trial.batch_size]
        measure(service, trial.batch_size, w250=joules / 3, w200=joules / 4, w150=joules / 3.5)
        if number == 5:
            report(service, trial, 1, metric=0.3, energy_joules=joules / 4, time_seconds=1.0, outcome="cancelled")
            continue
        for epoch in range(1, 5):
            share = epoch / 4
            metric = 0.225 * epoch + 0.01
            report(
                service, trial, epoch, metric=metric, energy_joules=share * joules, time_seconds=share * joules / 100
            )
    report(service, predict(service, node=NODE), 1, metric=0.2, energy_joules=80.0, time_seconds=1.0)
