from tests.sdk.fixtures import client, job, job_id, server

__all__ = ["client", "job", "job_id", "server"]
