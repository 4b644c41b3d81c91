"""The former name of `rheostat.schemas.agent`, for the scripts of users that import it."""

from rheostat.schemas.agent import *  # noqa: F403
