"""PostgreSQL over TLS, with a certificate authority of one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import make_url

from tests.postgres import PostgresServer
from tests.proxies import PostgresTls
from tests.serving import SETTINGS, migrate, serving
from tests.test_cli import run_command


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def front(postgres_url: str, authority: trustme.CA) -> Iterator[PostgresTls]:
    with PostgresTls(f"{make_url(postgres_url).query['host']}/.s.PGSQL.5432", authority) as front:
        yield front


def url_of(front: PostgresTls, postgres_url: str, root_certificate: Path, host: str = "localhost") -> str:
    database = make_url(postgres_url).database
    return f"postgresql://postgres@{host}:{front.port}/{database}?sslmode=verify-full&sslrootcert={root_certificate}"


def test_the_certificate_is_checked_by_the_authority_that_the_url_names(
    front: PostgresTls, postgres_url: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    url = url_of(front, postgres_url, tmp_path / "ca.pem")
    migrate(url)
    before = front.handshakes
    with serving(url, tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        assert server.client.get("/readyz").json() == {"status": "ok"}
    assert front.handshakes >= before + 1


def test_a_server_that_another_authority_vouches_for_is_refused_and_the_reason_told(
    front: PostgresTls, postgres_url: str, authority: trustme.CA, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for url, words in (
        (url_of(front, postgres_url, tmp_path / "other.pem"), "certificate verify failed"),
        (url_of(front, postgres_url, tmp_path / "ca.pem", "127.0.0.1"), 'does not match host name "127.0.0.1"'),
        (url_of(front, postgres_url, tmp_path / "none.pem"), "does not exist"),
    ):
        done = run_command("db", "status", "--database-url", url)
        assert done.returncode == 1
        assert words in done.stderr
    assert front.handshakes <= 1  # the host name is compared after the handshake
