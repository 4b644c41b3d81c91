from tests.sdk.fixtures import server

__all__ = ["server"]
