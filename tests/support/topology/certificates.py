"""An authority of the tests, and what it vouches for: a server, and workers."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["Authority", "server_arguments"]

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """Signs what stands in a directory of its own. Made with the openssl of this machine."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.file = directory / "ca.crt"
        # Python 3.13 asks an authority for its usages, and to be told from others.
        usages = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        where = ["-keyout", str(directory / "ca.key"), "-out", str(self.file)]
        _openssl("req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2", *usages, *where)

    def vouch_for(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 under this name and its key, as files."""
        made = self._directory / name
        key, request, cert = (made.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        extensions = made.with_suffix(".ext")
        extensions.write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
            "basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", *_EC, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        signer = ["-CA", str(self.file), "-CAkey", str(self._directory / "ca.key"), "-CAcreateserial"]
        _openssl(
            "x509", "-req", "-in", str(request), *signer, "-days", "2", "-extfile", str(extensions), "-out", str(cert)
        )
        return cert, key


def server_arguments(authority: Authority, tls_port: int) -> list[str]:
    """For a server that speaks TLS on one port, and asks its clients for a certificate there, as is its default."""
    cert, key = authority.vouch_for("server")
    return [
        *("--tls-port", str(tls_port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(authority.file)),
    ]


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
