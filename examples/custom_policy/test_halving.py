"""The policy on its own: no server and no database. Run it by `pytest examples/custom_policy`."""

from halving import Halving

from rheostat.policy.interface import Job

COSTS = {16: 400.0, 32: 300.0, 64: 100.0, 128: 200.0}


def test_it_ends_at_the_cheapest_batch_size_and_the_default_runs_first() -> None:
    policy, job = Halving({}), Job("nightly", "V100", 1, default_batch_size=32, max_power_watts=250)
    policy.register_job(job, [*COSTS])
    chosen = []
    for _ in range(8):
        batch_size = policy.predict(job)
        policy.observe(job, batch_size, COSTS[batch_size], converged=True)
        chosen.append(batch_size)
    assert chosen == [32, 16, 64, 128, 64, 128, 64, 64]


def test_a_batch_size_that_misses_the_target_counts_as_dear() -> None:
    policy, job = Halving({}), Job("nightly", "V100", 1, default_batch_size=32, max_power_watts=250)
    policy.register_job(job, [32, 64])
    policy.observe(job, 64, 100.0, converged=False)
    policy.observe(job, 32, 150.0, converged=True)
    assert policy.predict(job) == 32
