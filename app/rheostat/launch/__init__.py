"""`rheostat run`: runs any training command as a trial, without a change to the command."""
