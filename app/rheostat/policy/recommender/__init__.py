"""The recommender, Rheostat's own policy.

It chooses a batch size by what a run is expected to cost and to teach (:mod:`.acquisition`), stops a run that is not
worth its cost (:mod:`.stopping`), and measures few power limits (:mod:`.power_sweep`). What it believes
(:mod:`.belief`) joins two models: epochs to the target (:mod:`.epochs`), shared by all placements of a job
(:mod:`.transfer`), and the cost of an epoch (:mod:`.epoch_cost`). It remembers a few sums per arm (:mod:`.evidence`)
and draws nothing at random.
"""
