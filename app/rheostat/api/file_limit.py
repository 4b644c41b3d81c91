"""How many connections a process may have under its limit on open files."""

import resource

RESERVED_FILES = 128
"""For the database's connections, the log, and libraries."""

_SHARE_OF_CONNECTIONS = 0.75
"""Share of the other files that connections may take; the rest are connections that are accepted before others, which
make room for them, are closed."""


def room_for(connections: int, backlog: int) -> tuple[int, int]:
    """Raise the soft limit on open files as far as is needed and permitted, and return what fits under it.

    Args:
        connections: Most connections wanted.
        backlog: Most connections wanted in the queue of those not yet accepted, which are accepted all at once.

    Returns:
        Most connections, and the backlog.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RESERVED_FILES + connections + backlog
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections, backlog
    room = max(2, soft - RESERVED_FILES)
    fitting = min(connections, int(room * _SHARE_OF_CONNECTIONS))
    return fitting, min(backlog, room - fitting)
