"""How good the policies' decisions are: replayed on recorded worlds and on synthetic ones.

``python -m benchmarks.decisions --help`` lists what can be varied; ``make bench-decisions`` runs all of it. What is
compared are decisions on recorded or made-up runs, not measured joules.
"""
