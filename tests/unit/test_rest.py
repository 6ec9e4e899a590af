"""TLS with the services of the estate: by the authority of REST_CA_FILE, whatever else the machine trusts."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from glue.errors import TapelineError
from glue.io.ksqldb import KsqlDb
from glue.settings import Settings
from tests.fake_rest import FakeKsqlDb, serving


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


def test_a_login_may_have_any_letters():
    fake = FakeKsqlDb()
    settings = {"ksqldb_user": "jürgen☃", "ksqldb_password": "пароль", "rest_timeout_ms": 5000}
    with serving(fake), KsqlDb(Settings.load(ksqldb_url=fake.url, **settings)) as server:
        assert server.info()["version"] == "7.9.2"
