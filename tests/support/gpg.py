"""Real gpg keys, in a keyring that is nobody's."""

import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.installed import installed


class GpgKeys:
    """Makes keys and signs with them; ``home`` is gpg's folder with their private halves."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *arguments: str, stdin: str = "") -> str:
        """What gpg printed."""
        done = subprocess.run(
            ["gpg", "--batch", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback", *arguments],
            env=os.environ | {"GNUPGHOME": str(self.home), "LC_ALL": "C"}, input=stdin, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(self, name: str) -> str:
        """A key made in 2020 that never expires; its fingerprint."""
        made_then = ("--faked-system-time", "20200101T000000")
        self.gpg(*made_then, "--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never")
        listed = self.gpg("--with-colons", "--list-keys", f"{name}@example.org")
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def export(self, *fingerprints: str) -> str:
        """Their public halves as text."""
        return self.gpg("--armor", "--export", *fingerprints)

    def expire(self, fingerprint: str) -> None:
        """Say that a key expired in 2021."""
        self.gpg("--faked-system-time", "20210101T000000", "--quick-set-expire", fingerprint, "1d")

    def revoke(self, fingerprint: str) -> None:
        """Revoke a key with the certificate that gpg made beside it."""
        certificate = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        self.gpg("--import", stdin=certificate.replace(":-----BEGIN", "-----BEGIN"))


@pytest.fixture(scope="module")
def gpg_keys() -> Generator[GpgKeys]:
    """Skips the test when there is no gpg, fails it in CI."""
    installed("gpg")
    # gpg's agent listens at a path in here, which may not be long
    with tempfile.TemporaryDirectory(prefix="gpg-", ignore_cleanup_errors=True) as home:
        yield GpgKeys(Path(home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
