"""The directory that the workers of a server share, so that each can report the metrics of all.

Separate from :mod:`rheostat.api.metrics`, because `prometheus_client` reads the variable when it is imported.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def metrics_directory() -> Iterator[None]:
    """Create a directory for the metrics of this process and its children, and delete it at the end.

    A directory that the environment already names is used and kept.
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
