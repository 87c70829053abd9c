"""Whether a commit is signed by somebody whom the operator named, by ssh or gpg key; used by ``git_source`` alone.

``git verify-commit`` judges, with ``ssh-keygen`` or ``gpg``, and only keys out of the operator's files count: gpg gets
a folder of its own each time, made from those files, so that neither the user's keyring nor any key server has a say,
and so that a key that was added, revoked or taken out counts from the next look on.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import SourceError
from reconciler.manifests.git_mirror import GitMirror

_ARMORED: Final = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PRIVATE: Final = re.compile(r"-----BEGIN (PGP|OPENSSH) PRIVATE KEY")
_GPG_TIMEOUT_S: Final = 60.0
_GPG_CONF: Final = """\
batch
no-tty
no-autostart
no-auto-key-retrieve
no-auto-key-locate
disable-dirmngr
# who stands in the operator's files is trusted; nobody else is in this folder
trust-model always
"""
_STATUS: Final = re.compile(r"^\[GNUPG:\] (\w+) ?(\S*)", re.MULTILINE)
_REASONS: Final = (
    ("BADSIG", "its signature by gpg key {key} is not for this content: it was changed afterwards"),
    ("REVKEYSIG", "gpg key {key} was revoked"),
    ("EXPKEYSIG", "gpg key {key} has expired"),
    ("EXPSIG", "its signature by gpg key {key} has expired"),
    ("NO_PUBKEY", "gpg key {key} is in none of the files"),
    ("ERRSIG", "its signature by gpg key {key} cannot be checked"),
)
"""What gpg says of a signature that does not count (GnuPG's doc/DETAILS), the worst first."""


class Signers:
    """The files that say whose signatures count: ssh keys as git's ``gpg.ssh.allowedSignersFile``, or gpg public keys
    as ``gpg --armor --export`` writes them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [file.absolute() for file in files]

    def __bool__(self) -> bool:
        return bool(self._files)

    def __str__(self) -> str:
        return ", ".join(map(str, self._files))

    def refusal(self, mirror: GitMirror, commit: str) -> str | None:
        """Why a commit does not count as signed by one of them; None: it does.

        Raises:
            SourceError: nobody can know, since a file can't be used.
        """
        ssh, gpg = self._read()
        with tempfile.TemporaryDirectory(prefix="reconciler-signers-") as name:
            folder = Path(name)
            settings = {
                # a key that is in a file, and no other kind of signature: whose those are, the files do not say
                "gpg.minTrustLevel": "fully",
                "gpg.program": "false",
                "gpg.openpgp.program": "false",
                "gpg.x509.program": "false",
                "gpg.ssh.program": "false",
            }
            if ssh:
                (folder / "allowed-signers").write_text("".join(f"{text}\n" for text in ssh))
                settings |= {
                    "gpg.ssh.program": "ssh-keygen",
                    "gpg.ssh.allowedSignersFile": str(folder / "allowed-signers"),
                }
            if gpg:
                for path, text in gpg.items():
                    _import(path, text, folder)
                settings |= {"gpg.program": "gpg", "gpg.openpgp.program": "gpg"}
            result = mirror.verify_commit(commit, settings, {"GNUPGHOME": name})
        if result.returncode == 0:
            return None
        kinds = " or ".join([*(["ssh"] if ssh else []), *(["gpg"] if gpg else [])])
        return _reason(result.stderr) or f"it has no {kinds} signature"

    def _read(self) -> tuple[list[str], dict[Path, str]]:
        """What the files of ssh keys hold, and what those of gpg keys do."""
        ssh: list[str] = []
        gpg: dict[Path, str] = {}
        for file in self._files:
            try:
                text = file.read_text(encoding="utf-8")
            except OSError as error:
                raise SourceError(f"the file of signers {file} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"the file of signers {file} is no text", hint="Export gpg keys with `gpg --armor --export KEY`."
                ) from error
            if _PRIVATE.search(text):
                raise SourceError(f"the file of signers {file} holds a private key", hint="Give the public key only.")
            if _ARMORED in text:
                gpg[file] = text
            else:
                ssh.append(text)
        return ssh, gpg


def _import(file: Path, keys: str, home: Path) -> None:
    """Put the keys of a file into gpg's folder."""
    (home / "gpg.conf").write_text(_GPG_CONF)
    # newer versions would hand the keys to a background process
    (home / "common.conf").write_text("")
    try:
        done = subprocess.run(
            ["gpg", "--status-fd=1", "--import"], input=keys, capture_output=True, encoding="utf-8", errors="replace",
            env=os.environ | {"GNUPGHOME": str(home), "LC_ALL": "C"}, timeout=_GPG_TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SourceError("there is no gpg on this machine", hint="Install GnuPG; it has to be on PATH.") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"gpg did not read {file} within {_GPG_TIMEOUT_S:g} s") from error
    if "[GNUPG:] IMPORT_OK " not in done.stdout:
        said = done.stderr.strip().rpartition("\n")[2]
        raise SourceError(
            f"the file of signers {file} holds no gpg key that can be used: {said}",
            hint="Write it with `gpg --armor --export KEY`.",
        )


def _reason(said: str) -> str:
    """Out of what git and the program of the signature said; empty if that is nothing."""
    status = _STATUS.findall(said)
    for word, reason in _REASONS:
        for each, key in status:
            if each == word:
                return reason.format(key=key)
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("[GNUPG:]")]
    return lines[-1] if lines else ""
