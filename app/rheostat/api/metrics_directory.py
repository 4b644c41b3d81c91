"""Where the workers of a server put their counts, so that each can answer for all of them.

Apart from :mod:`rheostat.api.metrics`, since `prometheus_client` looks for the folder when it is imported.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def metrics_directory() -> Iterator[None]:
    """Give this process and all that it starts one folder for their counts, and remove it in the end.

    A folder that the environment names already is used as it is, and left.
    """
    if os.environ.get(VARIABLE):
        yield
        return
    with TemporaryDirectory(prefix="rheostat-metrics-") as directory:
        os.environ[VARIABLE] = directory
        try:
            yield
        finally:
            del os.environ[VARIABLE]
