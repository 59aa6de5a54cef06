"""Content Credentials (C2PA): what was done to a picture, signed inside of its released copy.

The signed statement names classes, counts and how they were treated; neither the original, its hash or name, nor places
in the picture. The network is never asked: no time-stamp, no revocation list, no remote manifest.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from anonymizer import __version__
from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image
from anonymizer.images.formats import SUFFIXES
from anonymizer.run.ledger import Record

__all__ = ["Credentials", "carries_credentials"]

#: Kinds of picture that the library signs, by the format that their suffix names; BMP has no place for a statement.
MIME = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
#: How a region came about, in IPTC's words, which C2PA asks for: edited with a generative model (as by inpainting),
#: drawn without one, or altered by other algorithms.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PAINTED, DRAWN, ALTERED = "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicallyEnhanced"
#: Label under which the statement speaks of the original, which it does not hold.
ORIGINAL = "original"
#: Nothing is fetched; no small picture is added; who trusts which certificate is up to readers.
SETTINGS = {
    "builder": {
        "thumbnail": {"enabled": False},
        "claim_generator_info": {"name": "anonymizer", "version": __version__},
    },
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False},
    "core": {"allowed_network_hosts": []},
}
#: Side in pixels of the picture that shows whether certificate and key are accepted.
PROBE = 16


class Credentials:
    """Certificate and key that sign released copies.

    Args:
        certificate: PEM file of the signer's X.509 certificate, followed by those that lead to its root.
        key: PEM file of its private key, without a passphrase.

    Raises:
        InputError: The extra ``c2pa`` is not installed, or these are no certificate and key that can sign.
        OSError: A file cannot be read.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        try:
            import c2pa
        except ImportError as error:
            raise InputError(
                "release: expected c2pa-python, it is not installed; pip install 'anonymizer[c2pa]'"
            ) from error
        chain, secret, algorithm = _read(certificate, key)
        try:
            self._signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, secret, None))
            self._context = c2pa.Context.from_dict(SETTINGS)
        except c2pa.C2paError as error:
            raise InputError(f"--c2pa-certificate {certificate}: cannot sign ({error})") from error
        probe = io.BytesIO()
        Image.new("RGB", (PROBE, PROBE)).save(probe, "PNG")
        try:
            self._sign(probe.getvalue(), "image/png", {"instances": []})
        except c2pa.C2paError as error:
            raise InputError(f"--c2pa-certificate {certificate}: cannot sign ({error})") from error

    def signed(self, content: bytes, name: str, record: Record) -> bytes:
        """Return a released picture with its statement; its pixels are those that it had.

        Args:
            content: The picture as the run released it.
            name: Name that it is released under.
            record: Its line of the ledger.

        Raises:
            InputError: It cannot be signed, or what was signed does not read back.
        """
        import c2pa

        try:
            signed = self._sign(content, MIME[_format(name)], record)
        except c2pa.C2paError as error:
            raise InputError(f"{name}: cannot be signed ({error}); release without --c2pa-certificate") from error
        before, after = decode_image(content, name), decode_image(signed, name)
        deep = (before.deep is None) == (after.deep is None) and (
            before.deep is None or after.deep is None or np.array_equal(before.deep, after.deep)
        )
        if not np.array_equal(before.pixels, after.pixels) or not deep:
            raise InputError(f"{name}: its pixels changed when it was signed; release without --c2pa-certificate")
        return signed

    def _sign(self, content: bytes, mime: str, record: Record) -> bytes:
        """Return the signed picture once its statement was read back from it."""
        import c2pa

        manifest = statement(record)
        signed = io.BytesIO()
        with c2pa.Builder(manifest, context=self._context) as builder:
            builder.sign(self._signer, mime, io.BytesIO(content), signed)
        signed.seek(0)
        with c2pa.Reader(mime, signed, context=self._context) as reader:
            found = json.loads(reader.json())
        if found.get("validation_state") not in ("Valid", "Trusted"):
            raise c2pa.C2paError(f"what was signed reads back as {found.get('validation_state')}")
        return signed.getvalue()


def carries_credentials(name: str) -> bool:
    """Return whether a released picture of this name has a place for credentials."""
    return _format(name) in MIME


def statement(record: Record) -> dict[str, Any]:
    """Return what is signed of a picture: C2PA's manifest definition with its actions.

    Args:
        record: The picture's line of the ledger.
    """
    agent = {"name": "anonymizer"}
    version = record.get("provenance", {}).get("versions", {}).get("anonymizer")
    if version is not None:
        agent["version"] = str(version)
    done: dict[tuple[str, str], Counter[str]] = {}
    for instance in record["instances"]:
        how = instance.get("method") or ("redrawn" if instance["action"] == "redrawn" else "filled")
        # Plates are drawn as plates with other text, without a trained model.
        source = ALTERED if how != "redrawn" else DRAWN if instance["label"] == "license_plate" else PAINTED
        done.setdefault((source, how), Counter())[instance["label"]] += 1
    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": [ORIGINAL]}}]
    for (source, how), counts in sorted(done.items()):
        told = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
        actions.append(
            {
                "action": "c2pa.edited",
                "digitalSourceType": SOURCE_TYPES + source,
                "softwareAgent": agent,
                "description": f"anonymized, {how}: {told}",
            }
        )
    kept = ", ".join(record.get("metadata_kept", ())) or "none"
    actions.append(
        {"action": "c2pa.edited.metadata", "softwareAgent": agent, "description": f"metadata removed; kept: {kept}"}
    )
    # Encoding, scaling and renaming are not listed one by one.
    listed = {"actions": actions, "allActionsIncluded": False}
    return {
        "ingredients": [{"title": "Original, withheld", "relationship": "parentOf", "label": ORIGINAL}],
        "assertions": [{"label": "c2pa.actions.v2", "data": listed}],
    }


def _format(name: str) -> str:
    return SUFFIXES.get(PurePosixPath(name).suffix.lower(), "")


def _read(certificate: Path, key: Path) -> tuple[bytes, bytes, bytes]:
    """Return the chain and the key as PEM and the name of the signature's algorithm; the files must fit each other."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    chain, content = certificate.read_bytes(), key.read_bytes()
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"--c2pa-certificate {certificate}: expected X.509 certificates as PEM, found none") from error
    try:
        secret = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise InputError(f"--c2pa-key {key}: is locked by a passphrase, expected a key without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"--c2pa-key {key}: expected a private key as PEM, found none") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if secret.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise InputError(f"--c2pa-key {key}: is not the key of the first certificate in {certificate}")
    if not leaf.not_valid_before_utc <= datetime.now(UTC) <= leaf.not_valid_after_utc:
        raise InputError(
            f"--c2pa-certificate {certificate}: valid from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d} only; give one that is valid today"
        )
    algorithm = None
    if isinstance(secret, ec.EllipticCurvePrivateKey):
        algorithm = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}.get(secret.curve.name)
    elif isinstance(secret, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    elif isinstance(secret, ed25519.Ed25519PrivateKey):
        algorithm = b"ed25519"
    if algorithm is None:
        raise InputError(f"--c2pa-key {key}: expected a key of EC (P-256, P-384, P-521), RSA or Ed25519")
    # The library reads PKCS#8 only; `openssl ecparam` writes another form.
    plain = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, plain, algorithm
