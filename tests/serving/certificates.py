"""An authority that signs real certificates, and directories of them as Kubernetes mounts Secrets."""

from __future__ import annotations

import datetime
import os
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A root. Every one has a key of its own, whatever it is called."""

    def __init__(self, name: str = "explore test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key, DAY).add_extension(constraints, critical=True)
        self.pem = made.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def issue(self, *names: str, lasts: datetime.timedelta = DAY) -> tuple[bytes, bytes]:
        """Certificate and key, PEM, for DNS names, spiffe:// URIs and addresses; with a negative `lasts`, it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        general: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1"))]
        general += [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names]
        builder = self._builder(x509.Name([]), key, lasts)
        made = builder.add_extension(x509.SubjectAlternativeName(general), critical=True).sign(self._key, SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.public_bytes(Encoding.PEM), pem

    def write(self, directory: Path, *names: str, lasts: datetime.timedelta = DAY) -> Path:
        """A directory with a certificate for these names; replaces all files at once, as kubelet does with a Secret."""
        certificate, key = self.issue(*names, lasts=lasts)
        return flip(directory, {"tls.crt": certificate, "tls.key": key, "ca.crt": self.pem})

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: datetime.timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - 2 * DAY).not_valid_after(now + lasts)


def flip(directory: Path, files: dict[str, bytes]) -> Path:
    """Files behind links through `..data`, which is exchanged in one step."""
    directory.mkdir(exist_ok=True)
    fresh = directory / f"..{len(list(directory.iterdir()))}"
    fresh.mkdir()
    for name, content in files.items():
        (fresh / name).write_bytes(content)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data") / name)
    os.symlink(fresh.name, directory / "..data_tmp")
    os.replace(directory / "..data_tmp", directory / "..data")
    return directory
