"""The recommender, Rheostat's own policy.

It chooses a batch size by the expected cost of a run and by what the run would teach (:mod:`.acquisition`), stops runs
that are not worth their cost (:mod:`.stopping`), and measures few power limits (:mod:`.power_sweep`). Its belief
(:mod:`.belief`) joins two models: epochs to the target (:mod:`.epochs`), shared by all placements of a job
(:mod:`.transfer`), and the cost of an epoch (:mod:`.epoch_cost`). It stores a few sums per arm (:mod:`.evidence`) and
draws nothing at random.
"""
