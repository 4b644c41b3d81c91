"""``python -m rheostat``: the command line."""

from rheostat.cli import main

main()
