"""The services of the estate: TLS by the authority of REST_CA_FILE, logins, and what is another service."""

import ipaddress
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from glue.errors import TapelineError, TransientError
from glue.io.ksqldb import KsqlDb
from glue.io.registry import Registry
from glue.settings import Settings
from tests.fake_rest import FakeConnect, FakeKsqlDb, FakeRest, serving


def certificate(folder: Path, name: str) -> Path:
    """Write a self-signed certificate of 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(text + signed.public_bytes(serialization.Encoding.PEM))
    return path


def version(url: str, ca_file: Path | None) -> str:
    settings = Settings.load(ksqldb_url=url, rest_ca_file=ca_file, rest_timeout_ms=5000)
    with KsqlDb(settings) as server:
        return str(server.info()["version"])


def test_the_authority_of_the_setting_is_trusted_and_no_other(tmp_path, monkeypatch):
    ours, other = certificate(tmp_path, "ours"), certificate(tmp_path, "other")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(ours)
    fake = FakeKsqlDb()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with serving(fake, tls):
        assert version(fake.url, ours) == "7.9.2"
        for ca_file in (other, None):
            with pytest.raises(TapelineError, match="REST_CA_FILE"):
                version(fake.url, ca_file)
        with pytest.raises(TapelineError, match=r"no\.pem"):
            version(fake.url, tmp_path / "no.pem")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), "HTTP 404: HTTP 404 Not Found"),
        ((200, "<html>hello</html>"), "<html>hello</html>"),
        ((200, {"version": "4.1.1"}), "{'version': '4.1.1'}"),
        ((200, []), "[]"),
        ((501, "<html>Unsupported method</html>"), "HTTP 501: <html>Unsupported method</html>"),
    ],
)
def test_something_else_at_the_address_is_no_ksqldb_server(answer, says):
    fake = FakeKsqlDb()
    fake.times(1, "GET /info", answer)
    with serving(fake), KsqlDb(Settings.load(ksqldb_url=fake.url, rest_timeout_ms=5000)) as server:
        with pytest.raises(TapelineError) as caught:
            server.info()
        assert (
            str(caught.value)
            == f"what answers at KSQLDB_URL={fake.url} is no ksqlDB server: /info says `{says}`"
        )


def test_a_wrong_login_is_told_as_such():
    fake = FakeKsqlDb()
    fake.times(1, "GET /info", (401, {"error_code": 40100, "message": "Unauthorized"}))
    with (
        serving(fake),
        KsqlDb(Settings.load(ksqldb_url=fake.url, rest_timeout_ms=5000)) as server,
        pytest.raises(TapelineError, match=r"HTTP 401: Unauthorized \(KSQLDB_USER, KSQLDB_PASSWORD\)"),
    ):
        server.info()


def registry_answering(status: int, answer: object) -> FakeRest:
    fake = FakeRest()
    fake.times(99, "", (status, answer))
    return fake


@pytest.mark.parametrize(
    "fake",
    [
        FakeKsqlDb(),
        FakeConnect(),
        registry_answering(404, "Not Found"),
        registry_answering(404, {"detail": "no such path", "status": 404}),
        registry_answering(404, {"error_code": "NOT_FOUND", "message": "no such path"}),
        registry_answering(405, {"error_code": 405, "message": "HTTP 405 Method Not Allowed"}),
    ],
)
def test_something_else_at_the_address_is_no_schema_registry(fake):
    with serving(fake), Registry(Settings.load(schema_registry_url=fake.url)) as registry:
        where = f"SCHEMA_REGISTRY_URL={re.escape(fake.url)}"
        says = f"what answers at {where} is no schema registry: it says HTTP 40[45]"
        with pytest.raises(TapelineError, match=says):
            registry.find("ticks.raw-value", "tick_bin.avsc")
        with pytest.raises(TapelineError, match=says):
            registry.register("ticks.raw-value", "tick_bin.avsc")
        with pytest.raises(TransientError, match="registry"):  # none of its records is a bad one
            registry.schema(7)


def test_a_registry_that_refuses_the_login_is_told_without_it():
    fake = registry_answering(401, {"error_code": 401, "message": "Unauthorized"})
    with serving(fake):
        url = fake.url.replace("http://", "http://bob:s3cret@")
        with (
            Registry(Settings.load(schema_registry_url=url)) as registry,
            pytest.raises(TapelineError, match=rf"HTTP 401; .* part of SCHEMA_REGISTRY_URL={fake.url}$"),
        ):
            registry.find("ticks.raw-value", "tick_bin.avsc")


def test_a_login_may_have_any_letters():
    fake = FakeKsqlDb()
    settings = {"ksqldb_user": "jürgen☃", "ksqldb_password": "пароль", "rest_timeout_ms": 5000}
    with serving(fake), KsqlDb(Settings.load(ksqldb_url=fake.url, **settings)) as server:
        assert server.info()["version"] == "7.9.2"
