# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker's certificate: the user's own, checked as its agents will check it, or one of a private CA that is kept in a folder.
And the CAs of others that a broker or its agents are told to trust.

The cryptography is that of the package `cryptography`, which ansible-core needs anyway. It is imported only where a broker
speaks TLS, since that takes longer than reading a whole fleet. Private keys are in files of mode 0600, encrypted where there
is a passphrase, and in memory; never in a message.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.muster.agents.plugins.module_utils.engine.files import (
    make_directory,
    read_bytes,
    sha256_bytes,
    write,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

CA_FILE, CA_KEY_FILE = "ca.pem", "ca-key.pem"
DAYS = range(7, 731)
CA_DAYS = 3650
_OLDEST_CRYPTOGRAPHY = 42
_RENEWED_AT = 3  # with a third of its days left
_CA_RENEWED_AT = 5  # with a fifth: longer than any certificate that it signs
_WARN_DAYS = 30
_CLOCKS_APART = datetime.timedelta(hours=1)  # what the clock of a host may be behind the controller's


class CertificateError(ValueError):
    """A certificate or key that cannot be used: which, why, and what to do."""


@dataclass(frozen=True)
class Material:
    """What a broker shows and what its agents trust.

    `certificate`: PEM, the broker's own first, then those between it and the CA. `key`: PEM, not encrypted. `ca`: PEM of what
    agents verify with; None where that is the trust store of their hosts. `sha256`: of the broker's own certificate, in hex;
    `ends`: when that expires, in seconds since the epoch.
    """

    certificate: str
    key: bytes
    ca: str | None
    sha256: str
    ends: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrivateCa:
    """Where a private CA and the certificates that it signs are kept. `days`: how long one of these is valid.

    `keep`: whether what is made is written down; in check mode it is not.
    """

    folder: Path
    passphrase: str = ""
    days: int = 365
    keep: bool = True

    @property
    def is_there(self) -> bool:
        return any((self.folder / name).exists() for name in (CA_FILE, CA_KEY_FILE))


Clock = Callable[[], datetime.datetime]


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


# --- the user's own -------------------------------------------------------------------------------------------


def from_files(
    certificate: Path, key: bytes | Path, ca: Path | None, names: Sequence[str], clock: Clock = now
) -> Material:
    """The user's certificate and key (its PEM, or where it is), once they are known to be good for a broker with these names.

    Raises CertificateError naming the file: not readable, expired, not for a name, not the key's, not signed by the CA.
    """
    _need_cryptography()
    chain = _certificates(certificate)
    private = _load_key(key if isinstance(key, bytes) else _read(key), _called(key), "")
    own = chain[0]
    _require_valid(own, str(certificate), clock())
    _require_names(own, str(certificate), names)
    if _public(own) != _public(private):
        raise CertificateError(f"{_called(key)} is not the key of {certificate}")
    anchors = _certificates(ca) if ca else []
    if ca:
        _require_signed(chain, anchors, str(certificate), str(ca), clock())
    return Material(
        certificate=_pem(*chain),
        key=_key_pem(private, ""),
        ca=_pem(*anchors) if ca else None,
        sha256=_sha256(own),
        ends=int(own.not_valid_after_utc.timestamp()),
        warnings=tuple(
            _ending_soon([(str(certificate), own), *((str(ca), one) for one in anchors)], clock())
        ),
    )


def trusted(ca: Path, clock: Clock = now) -> tuple[str, list[str]]:
    """Somebody else's CA that is to be trusted, or several, as PEM; and warnings.

    Raises CertificateError naming the file: not readable, expired, not a CA.
    """
    _need_cryptography()
    found = _certificates(ca)
    for one in found:
        _require_valid(one, str(ca), clock(), "nothing that it signed would be believed")
        if not _may_sign(one):
            raise CertificateError(
                f"{ca} holds a certificate that is no CA's; put the one that signed it there"
            )
    return _pem(*found), list(_ending_soon([(str(ca), one) for one in found], clock()))


def _may_sign(certificate: Certificate) -> bool:
    """A CA, or one that stands for itself only."""
    from cryptography import x509

    if certificate.subject == certificate.issuer:
        return True
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _called(key: bytes | Path) -> str:
    return "the key in broker_tls_key" if isinstance(key, bytes) else str(key)


def _require_valid(
    certificate: Certificate,
    where: str,
    at: datetime.datetime,
    then: str = "agents would refuse the broker",
) -> None:
    if certificate.not_valid_after_utc <= at:
        raise CertificateError(f"{where} expired on {_day(certificate.not_valid_after_utc)}; {then}")
    if certificate.not_valid_before_utc > at:
        raise CertificateError(f"{where} is not valid before {_day(certificate.not_valid_before_utc)}")


def _require_names(certificate: Certificate, where: str, names: Iterable[str]) -> None:
    covered = _names_of(certificate)
    for name in names:
        if not any(_covers(one, name) for one in covered):
            raise CertificateError(
                f"{where} is for {', '.join(covered) or 'no name at all'}, and agents reach the broker as {name}; "
                "take a certificate for that name, or set mosquitto_address to one that it has"
            )


def _covers(pattern: str, name: str) -> bool:
    """As TLS has it: a star stands for the first label of a host name, and for nothing else."""
    if _address(name) is not None or not pattern.startswith("*."):
        return pattern.lower() == name.lower()
    return pattern[2:].lower() == name.lower().partition(".")[2]


def _require_signed(
    chain: Sequence[Certificate], anchors: Sequence[Certificate], where: str, ca: str, at: datetime.datetime
) -> None:
    """Follow the signatures from the broker's certificate to one of the CA's."""
    for one in anchors:
        _require_valid(one, ca, at)
    current = chain[0]
    for _step in chain:
        if current in anchors or any(_signed(current, anchor) for anchor in anchors):
            return
        following = next((one for one in chain[1:] if one != current and _signed(current, one)), None)
        if following is None:
            break
        _require_valid(following, where, at)
        current = following
    raise CertificateError(
        f"{where} is not signed by the CA in {ca}; if there are certificates between the two, put them into the former, "
        "after the broker's own"
    )


def _signed(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _ending_soon(found: Iterable[tuple[str, Certificate]], at: datetime.datetime) -> Iterable[str]:
    for where, one in found:
        left = (one.not_valid_after_utc - at).days
        if left < _WARN_DAYS:
            yield f"{where} expires on {_day(one.not_valid_after_utc)}, in {left} days"


# --- a private CA ---------------------------------------------------------------------------------------------


def from_private_ca(ca: PrivateCa, host: str, names: Sequence[str], clock: Clock = now) -> Material:
    """A certificate of the CA in the folder for one broker's host; made or renewed where it is needed.

    It is needed where there is none, where a third of its days is left, or where its names or the CA are others. A renewed one
    keeps its key, and so does the CA, so that old and new are good together. Raises CertificateError where something cannot be
    read, or the CA's key is needed and missing.
    """
    _need_cryptography()
    if ca.days not in DAYS:
        raise CertificateError(f"mosquitto_tls_days is {ca.days}; it must be from {DAYS[0]} to {DAYS[-1]}")
    authority, authority_key = _authority(ca, clock())
    path = ca.folder / f"broker-{host}.pem"
    key = _key_in(ca, ca.folder / f"broker-{host}-key.pem", make=True)
    current = _certificates(path)[0] if path.exists() else None
    if current is None or _stale(current, ca, authority, key, names, clock()):
        if authority_key is None:
            raise CertificateError(_no_ca_key(ca, path, current))
        current = _sign(authority, authority_key, key, names, ca.days, clock())
        _keep(ca, path, _pem(current).encode(), 0o644)
    warnings = [] if authority_key else [f"{ca.folder / CA_KEY_FILE} is missing: nothing can be renewed"]
    return Material(
        certificate=_pem(current),
        key=_key_pem(key, ""),
        ca=_pem(authority),
        sha256=_sha256(current),
        ends=int(current.not_valid_after_utc.timestamp()),
        warnings=(*warnings, *_ending_soon([(str(path), current)], clock())),
    )


def _authority(ca: PrivateCa, at: datetime.datetime) -> tuple[Certificate, EllipticCurvePrivateKey | None]:
    """The CA and its key, which may be missing as long as there is nothing to sign."""
    path, key_path = ca.folder / CA_FILE, ca.folder / CA_KEY_FILE
    found = _certificates(path)[0] if path.exists() else None
    key = _key_in(ca, key_path, make=found is None)
    if found is not None and key is not None and _public(found) != _public(key):
        raise CertificateError(f"{key_path} is not the key of {path}; restore the two from one backup")
    if found is None or _nearly_over(found, at, _CA_RENEWED_AT):
        if key is not None:
            found = _self_signed(key, at)
            _keep(ca, path, _pem(found).encode(), 0o644)
        elif found is None or found.not_valid_after_utc <= at:
            raise CertificateError(_no_ca_key(ca, path, found))
    return found, key


def _stale(
    certificate: Certificate,
    ca: PrivateCa,
    authority: Certificate,
    key: EllipticCurvePrivateKey,
    names: Sequence[str],
    at: datetime.datetime,
) -> bool:
    return (
        _nearly_over(certificate, at, _RENEWED_AT)
        or set(_names_of(certificate)) != {str(_address(name) or name) for name in names}
        or _public(certificate) != _public(key)
        or not _signed(certificate, authority)
        or certificate.not_valid_after_utc - at > datetime.timedelta(days=ca.days)
    )


def _nearly_over(certificate: Certificate, at: datetime.datetime, part: int) -> bool:
    """Whether less than one part of its days is left."""
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - at < whole / part


def _no_ca_key(ca: PrivateCa, path: Path, current: Certificate | None) -> str:
    why = f"it is valid until {_day(current.not_valid_after_utc)}" if current else "there is none yet"
    return (
        f"{path} has to be signed ({why}), and the CA's key {ca.folder / CA_KEY_FILE} is missing; restore it from a backup. "
        f"If it is lost, remove {ca.folder / CA_FILE} too and deploy all agents: they get a new CA, and restart with it"
    )


def _key_in(ca: PrivateCa, path: Path, *, make: bool) -> Any:
    """The key in a file, encrypted there by now if there is a passphrase; a new one, or None, where there is no file."""
    from cryptography.hazmat.primitives.asymmetric import ec

    data = read_bytes(path)
    if data is None and not make:
        return None
    key = (
        ec.generate_private_key(ec.SECP256R1()) if data is None else _load_key(data, str(path), ca.passphrase)
    )
    open_to_all = data is not None and ca.passphrase and b"ENCRYPTED" not in data
    if data is None or open_to_all:
        _keep(ca, path, _key_pem(key, ca.passphrase), 0o600)
    return key


def _keep(ca: PrivateCa, path: Path, data: bytes, mode: int) -> None:
    if not ca.keep:
        return
    try:
        make_directory(ca.folder, 0o700)
        write(path, data, mode)
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from None


def _self_signed(key: EllipticCurvePrivateKey, at: datetime.datetime) -> Certificate:
    """The name comes from the key, so that a CA that is renewed is the same one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _common_name(f"muster.agents broker CA {identifier.digest.hex()[:8]}")
    usage = _key_usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    certificate: Certificate = (
        _builder(name, name, key, at, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate


def _sign(
    authority: Certificate,
    authority_key: EllipticCurvePrivateKey,
    key: EllipticCurvePrivateKey,
    names: Sequence[str],
    days: int,
    at: datetime.datetime,
) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    usage = _key_usage(digital_signature=True, key_cert_sign=False, crl_sign=False)
    certificate: Certificate = (
        _builder(_common_name(names[0][:64]), authority.subject, key, at, days)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(server, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate


def _builder(
    subject: Any, issuer: Any, key: EllipticCurvePrivateKey, at: datetime.datetime, days: int
) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _CLOCKS_APART)
        .not_valid_after(at + datetime.timedelta(days=days))
    )


def _common_name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, digital_signature: bool, key_cert_sign: bool, crl_sign: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> Any:
    from cryptography import x509

    address = _address(name)
    if address is not None:
        return x509.IPAddress(address)
    try:
        return x509.DNSName(name)
    except ValueError:
        raise CertificateError(f"{name!r} is no host name that a certificate can be for") from None


# --- both -----------------------------------------------------------------------------------------------------


def _need_cryptography() -> None:
    """Raises CertificateError where the controller has none, or one that is too old."""
    try:
        from cryptography import __version__ as version
    except ImportError:
        version = "0"
    if int(version.partition(".")[0]) < _OLDEST_CRYPTOGRAPHY:
        raise CertificateError(
            f"a broker with TLS needs the Python package cryptography {_OLDEST_CRYPTOGRAPHY} or newer on the controller; "
            "install it there with: pip install --upgrade cryptography"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from None


def _certificates(path: Path) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"{path} holds no certificate in PEM") from None


def _load_key(data: bytes, where: str, passphrase: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    encrypted = b"ENCRYPTED" in data
    if encrypted and not passphrase:
        raise CertificateError(
            f"{where} is encrypted: a private CA's needs broker_ca_passphrase in the vault; a key of your own goes there itself, "
            "decrypted, as broker_tls_key"
        )
    try:
        return load_pem_private_key(data, passphrase.encode() if encrypted else None)
    except (TypeError, ValueError):
        why = "cannot be opened with broker_ca_passphrase" if encrypted else "holds no private key in PEM"
        raise CertificateError(f"{where} {why}") from None


def _names_of(certificate: Certificate) -> list[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _public(holder: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _key_pem(key: Any, passphrase: str) -> bytes:
    from cryptography.hazmat.primitives import serialization

    hidden: Any = serialization.NoEncryption()
    if passphrase:
        hidden = serialization.BestAvailableEncryption(passphrase.encode())
    data: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    return data


def _pem(*certificates: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def _sha256(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return sha256_bytes(certificate.public_bytes(Encoding.DER))


def _day(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d")
