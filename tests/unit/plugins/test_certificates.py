# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker's certificate: what is refused, and with which words; what is made, kept and renewed. Judged by Python's TLS."""

from __future__ import annotations

import datetime
import ssl
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ansible_collections.muster.agents.plugins.plugin_utils import certificates
from ansible_collections.muster.agents.plugins.plugin_utils.certificates import (
    CertificateError,
    Material,
    PrivateCa,
    from_files,
    from_private_ca,
)

NOW = certificates.now()
NAMES = ["broker.example", "10.1.2.3", "::1"]
PASSPHRASE = "canary-passphrase"


def after(**time: float) -> certificates.Clock:
    return lambda: NOW + datetime.timedelta(**time)


TODAY = after()


@pytest.fixture
def ca(tmp_path: Path) -> PrivateCa:
    return PrivateCa(tmp_path / "pki")


def made(ca: PrivateCa, names: list[str] = NAMES, clock: certificates.Clock = TODAY) -> Material:
    return from_private_ca(ca, "host-1", names, clock)


def files(ca: PrivateCa) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in ca.folder.iterdir()}


def handshake(material: Material, name: str, folder: Path, trusted: str | None = None) -> None:
    """As an agent and the broker do it; raises ssl.SSLError as the agent would see it."""
    (folder / "shown.pem").write_bytes(material.certificate.encode() + material.key)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "shown.pem")
    client_context = ssl.create_default_context(cadata=trusted or material.ca)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for _turn in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"


# --- a private CA ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_broker_is_believed_under_each_of_its_names(ca: PrivateCa, tmp_path: Path, name: str) -> None:
    handshake(made(ca), name, tmp_path)


def test_it_is_not_believed_under_another_name_nor_by_who_trusts_another_ca(
    ca: PrivateCa, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made(ca), "other.example", tmp_path)
    stranger = made(PrivateCa(tmp_path / "other")).ca
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(made(ca), NAMES[0], tmp_path, stranger)


def test_a_second_run_changes_nothing(ca: PrivateCa) -> None:
    first = made(ca)
    before = files(ca)
    assert made(ca, clock=after(days=200)) == first
    assert files(ca) == before


def test_keys_are_for_the_owner_only(ca: PrivateCa) -> None:
    made(ca)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in ca.folder.iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "broker-host-1.pem": 0o644,
        "broker-host-1-key.pem": 0o600,
    }


def test_nothing_is_written_in_check_mode(ca: PrivateCa, tmp_path: Path) -> None:
    handshake(made(replace(ca, keep=False)), NAMES[0], tmp_path)
    assert not ca.folder.exists()


def test_a_certificate_is_renewed_with_a_third_of_its_days_left_and_keeps_its_key(ca: PrivateCa) -> None:
    first = made(ca)
    assert made(ca, clock=after(days=243)) == first
    renewed = made(ca, clock=after(days=244))
    assert renewed.sha256 != first.sha256
    assert (renewed.key, renewed.ca) == (first.key, first.ca)


def test_other_names_or_fewer_days_need_another_certificate(ca: PrivateCa) -> None:
    first = made(ca)
    assert made(ca, NAMES[:1]).sha256 != first.sha256
    assert made(ca, list(reversed(NAMES[:1]))).sha256 != first.sha256
    second = made(ca)
    assert made(replace(ca, days=30)).sha256 != second.sha256


def test_an_address_may_be_written_in_another_way(ca: PrivateCa) -> None:
    assert made(ca, ["0:0::1"]) == made(ca, ["::1"])


def test_a_renewed_ca_and_the_old_one_are_good_together(ca: PrivateCa, tmp_path: Path) -> None:
    first = made(ca, clock=after(days=-3000))
    second = made(ca)
    assert first.ca is not None
    assert second.ca is not None
    assert second.ca != first.ca
    for trusted in (first.ca, second.ca):
        handshake(second, NAMES[0], tmp_path, trusted)


def test_with_a_passphrase_no_key_lies_open(ca: PrivateCa) -> None:
    ca = replace(ca, passphrase=PASSPHRASE)
    first = made(ca)
    for name in ("ca-key.pem", "broker-host-1-key.pem"):
        load_pem_private_key(files(ca)[name], PASSPHRASE.encode())
    assert made(ca) == first


def test_a_passphrase_that_comes_later_closes_the_keys(ca: PrivateCa) -> None:
    first = made(ca)
    assert made(replace(ca, passphrase=PASSPHRASE)) == first
    load_pem_private_key(files(ca)["ca-key.pem"], PASSPHRASE.encode())


@pytest.mark.parametrize(
    ("passphrase", "said"), [("", "is encrypted: .*broker_ca_passphrase"), ("wrong", "cannot be opened with")]
)
def test_a_passphrase_that_is_missing_or_wrong(ca: PrivateCa, passphrase: str, said: str) -> None:
    made(replace(ca, passphrase=PASSPHRASE))
    with pytest.raises(CertificateError, match=said) as refusal:
        made(replace(ca, passphrase=passphrase))
    assert PASSPHRASE not in str(refusal.value)


def test_without_the_cas_key_what_is_valid_is_used_and_a_renewal_says_what_to_do(ca: PrivateCa) -> None:
    first = made(ca)
    (ca.folder / "ca-key.pem").unlink()
    used = made(ca)
    assert replace(used, warnings=()) == first
    assert used.warnings == (f"{ca.folder}/ca-key.pem is missing: nothing can be renewed",)
    with pytest.raises(CertificateError) as refusal:
        made(ca, clock=after(days=300))
    for words in (
        "broker-host-1.pem has to be signed",
        "restore it from a backup",
        "remove",
        "deploy all agents",
    ):
        assert words in str(refusal.value)
    assert not (ca.folder / "ca-key.pem").exists()


def test_a_lost_ca_can_be_replaced_as_the_message_says(ca: PrivateCa, tmp_path: Path) -> None:
    first = made(ca)
    (ca.folder / "ca-key.pem").unlink()
    (ca.folder / "ca.pem").unlink()
    second = made(ca)
    assert second.ca != first.ca
    handshake(second, NAMES[0], tmp_path)


def test_a_key_of_another_ca_is_refused(ca: PrivateCa, tmp_path: Path) -> None:
    made(ca)
    other = PrivateCa(tmp_path / "other")
    made(other)
    (ca.folder / "ca-key.pem").write_bytes(files(other)["ca-key.pem"])
    with pytest.raises(CertificateError, match=r"ca-key\.pem is not the key of .*ca\.pem; restore the two"):
        made(ca)


@pytest.mark.parametrize("days", [0, 6, 731])
def test_days_have_bounds(ca: PrivateCa, days: int) -> None:
    with pytest.raises(CertificateError, match=f"mosquitto_tls_days is {days}; it must be from 7 to 730"):
        made(replace(ca, days=days))
    assert not ca.folder.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((CertificateError, OSError), match="file"):
        made(PrivateCa(tmp_path / "file"))


# --- the user's own -------------------------------------------------------------------------------------------


class Own:
    """A certificate, its key and its CA as files of the user's."""

    def __init__(self, folder: Path, names: list[str] = NAMES, clock: certificates.Clock = TODAY) -> None:
        self.certificate, self.key, self.ca = (folder / f"{name}.pem" for name in ("own", "key", "theirs"))
        material = made(PrivateCa(folder / "signed-by"), names, clock)
        self.certificate.write_text(material.certificate)
        self.key.write_bytes(material.key)
        self.ca.write_text(material.ca or "")

    def read(self, *names: str, clock: certificates.Clock = TODAY) -> Material:
        return from_files(self.certificate, self.key, self.ca, names or NAMES, clock)


def test_what_is_good_is_taken_as_it_is(tmp_path: Path) -> None:
    own = Own(tmp_path)
    found = own.read()
    assert (found.certificate, found.ca) == (own.certificate.read_text(), own.ca.read_text())
    handshake(found, NAMES[0], tmp_path)
    assert from_files(own.certificate, own.key.read_bytes(), None, NAMES).ca is None


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("*.example.com", "broker.example.com", True),
        ("Broker.Example.com", "broker.example.com", True),
        ("*.example.com", "a.broker.example.com", False),
        ("*.example.com", "example.com", False),
        ("broker.example.com", "other.example.com", False),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_a_certificate_for_another_name_is_refused_with_both(
    tmp_path: Path, pattern: str, name: str, covered: bool
) -> None:
    own = Own(tmp_path, [pattern])
    if covered:
        own.read(name)
        return
    with pytest.raises(CertificateError, match="agents reach the broker as") as refusal:
        own.read(name)
    assert f"own.pem is for {pattern}, and agents reach the broker as {name}" in str(refusal.value)


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        (after(days=366), r"own\.pem expired on \d{4}-\d\d-\d\d; agents would refuse the broker"),
        (after(days=-1), r"own\.pem is not valid before"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, clock: certificates.Clock, said: str
) -> None:
    with pytest.raises(CertificateError, match=said):
        Own(tmp_path).read(clock=clock)


def test_one_that_expires_soon_is_warned_of(tmp_path: Path) -> None:
    own = Own(tmp_path)
    assert own.read(clock=after(days=300)).warnings == ()
    assert "own.pem expires on" in own.read(clock=after(days=340)).warnings[0]


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own, other = Own(tmp_path), Own(tmp_path / "other")
    with pytest.raises(CertificateError, match=r"key\.pem is not the key of .*own\.pem"):
        from_files(own.certificate, other.key, own.ca, NAMES)
    with pytest.raises(CertificateError, match="the key in broker_tls_key is not the key of"):
        from_files(own.certificate, other.key.read_bytes(), own.ca, NAMES)
    with pytest.raises(CertificateError, match=r"own\.pem is not signed by the CA in .*theirs\.pem"):
        from_files(own.certificate, own.key, other.ca, NAMES)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("certificate", "", "holds no certificate in PEM"),
        ("certificate", None, "cannot be read: No such file"),
        ("key", "canary", "holds no private key in PEM"),
        ("key", None, "cannot be read: No such file"),
        ("ca", "canary", "holds no certificate in PEM"),
    ],
)
def test_a_file_that_is_none_is_named_and_not_shown(
    tmp_path: Path, file: str, text: str | None, said: str
) -> None:
    own = Own(tmp_path)
    path: Path = getattr(own, file)
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(CertificateError, match=said) as refusal:
        own.read()
    assert str(path) in str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_a_certificate_in_between_must_be_there(tmp_path: Path) -> None:
    own = Own(tmp_path)
    root_key, between_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificates._self_signed(root_key, NOW)
    between = (
        certificates._builder(certificates._common_name("between"), root.subject, between_key, NOW, 300)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    key = load_pem_private_key(own.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf = certificates._sign(between, between_key, key, NAMES, 100, NOW)
    own.ca.write_text(certificates._pem(root))
    own.certificate.write_text(certificates._pem(leaf))
    with pytest.raises(CertificateError, match="put them into the former, after the broker's own"):
        own.read()
    own.certificate.write_text(certificates._pem(leaf, between))
    assert own.read().certificate == certificates._pem(leaf, between)
