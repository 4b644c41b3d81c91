"""`rheostat run`: wraps any training command, which need not know of Rheostat."""
