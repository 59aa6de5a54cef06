"""C2PA credentials: copies say what was done to them, read back as valid, and show the same pixels."""

from __future__ import annotations

import datetime
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anonymizer import cli
from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image
from anonymizer.images.formats import has_heif
from anonymizer.run.credentials import ALTERED, DRAWN, PAINTED, SOURCE_TYPES, Credentials, statement
from anonymizer.run.delivery import CHECKSUMS, SHEET, deliver
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer

c2pa: Any = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
#: What a reader trusts and fetches: nothing.
QUIET = {"verify": {"verify_trust": False, "remote_manifest_fetch": False}, "core": {"allowed_network_hosts": []}}


def certificate(name: str, key: Any, issuer: str, issuer_key: Any, ends: datetime.datetime = NOW + DAY) -> Any:
    """Return an X.509 certificate; one that issues itself may issue others."""
    whose = [[x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, one)]
             for one in (name, issuer)]  # fmt: skip
    root = name == issuer
    uses = dict.fromkeys(USES, False) | ({"key_cert_sign": True} if root else {"digital_signature": True})
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(whose[0]))
        .issuer_name(x509.Name(whose[1]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 9 * DAY)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(root, None), True)
        .add_extension(x509.KeyUsage(**uses), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    if not root:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), True)
    return made.sign(issuer_key, hashes.SHA256())


@pytest.fixture
def signer(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Make a certificate with its root, and a key, in files."""

    def make(
        key: Any = None,
        ends: datetime.datetime = NOW + DAY,
        form: Any = serialization.PrivateFormat.PKCS8,
        lock: Any = None,
    ) -> tuple[Path, Path]:
        own, root = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = (certificate("Signer", own, "Root", root, ends), certificate("Root", root, "Root", root))
        files = tmp_path / "chain.pem", tmp_path / "key.pem"
        files[0].write_bytes(b"".join(one.public_bytes(PEM) for one in chain))
        files[1].write_bytes(own.private_bytes(PEM, form, lock or serialization.NoEncryption()))
        return files

    return make


def read(path: Path, mime: str) -> dict[str, Any]:
    with path.open("rb") as file, c2pa.Reader(mime, file, context=c2pa.Context.from_dict(QUIET)) as reader:
        found: dict[str, Any] = json.loads(reader.json())
    return found


def noise(seed: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (24, 32, 3), dtype=dtype)


def output(tmp_path: Path, *names: str) -> Path:
    (tmp_path / "in/sub").mkdir(parents=True)
    for index, name in enumerate(names):
        if name.startswith("deep"):
            tifffile.imwrite(tmp_path / "in" / name, noise(index, np.uint16))
        else:
            Image.fromarray(noise(index)).save(tmp_path / "in" / name)
    run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out"))
    return tmp_path / "out"


def test_every_format_is_signed_and_keeps_its_pixels(tmp_path: Path, signer: Callable[..., tuple[Path, Path]]) -> None:
    kinds = {"a.jpg": "jpeg", "b.png": "png", "sub/c.webp": "webp", "d.tif": "tiff", "e.avif": "avif"}
    kinds["deep.tif"] = "tiff"
    if has_heif():
        kinds["f.heic"] = "heif"
    source = output(tmp_path, *kinds)
    made = deliver(source, tmp_path / "delivery", credentials=Credentials(*signer()))
    assert (made.pictures, made.credentials) == (len(kinds), len(kinds))
    for name, kind in kinds.items():
        before, after = source / "images" / name, tmp_path / "delivery/images" / name
        assert before.read_bytes() != after.read_bytes()
        decoded = [decode_image(path.read_bytes(), name) for path in (before, after)]
        assert np.array_equal(decoded[0].pixels, decoded[1].pixels)
        found = read(after, f"image/{kind}")
        assert found["validation_state"] == "Valid"
        manifest = found["manifests"][found["active_manifest"]]
        assert manifest["claim_generator_info"][0]["name"] == "anonymizer"
        (actions,) = (one["data"] for one in manifest["assertions"] if one["label"] == "c2pa.actions.v2")
        assert [one["action"] for one in actions["actions"]] == ["c2pa.opened", "c2pa.edited", "c2pa.edited.metadata"]
        assert actions["actions"][1]["digitalSourceType"] == SOURCE_TYPES + PAINTED
        assert actions["actions"][1]["description"] == "anonymized, redrawn: 1 person"
        # Neither names nor thumbnails: the statement goes wherever the picture goes.
        assert "thumbnail" not in manifest and "title" not in manifest
        assert [one["title"] for one in manifest["ingredients"]] == ["Original, withheld"]
    deep = [
        decode_image((place / "images/deep.tif").read_bytes(), "deep.tif").deep
        for place in (source, tmp_path / "delivery")
    ]
    assert deep[0] is not None and deep[1] is not None and np.array_equal(deep[0], deep[1])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_checksums_are_of_the_signed_copies(tmp_path: Path, signer: Callable[..., tuple[Path, Path]]) -> None:
    deliver(output(tmp_path, "a.png"), tmp_path / "delivery", credentials=Credentials(*signer()))
    command = ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS]
    assert subprocess.run(command, cwd=tmp_path / "delivery", check=False).returncode == 0
    assert "Each carries C2PA credentials" in (tmp_path / "delivery" / SHEET).read_text()


def test_a_copy_that_was_changed_reads_back_as_invalid(
    tmp_path: Path, signer: Callable[..., tuple[Path, Path]]
) -> None:
    deliver(output(tmp_path, "a.png"), tmp_path / "delivery", credentials=Credentials(*signer()))
    path = tmp_path / "delivery/images/a.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 40] ^= 1
    path.write_bytes(content)
    assert read(path, "image/png")["validation_state"] == "Invalid"


def test_without_credentials_copies_are_the_files_themselves(tmp_path: Path) -> None:
    source = output(tmp_path, "a.png")
    assert deliver(source, tmp_path / "delivery").credentials == 0
    assert (tmp_path / "delivery/images/a.png").read_bytes() == (source / "images/a.png").read_bytes()
    assert "C2PA" not in (tmp_path / "delivery" / SHEET).read_text()


def instance(label: str, action: str = "redrawn", **more: Any) -> dict[str, Any]:
    return {"label": label, "action": action} | more


def test_the_statement_tells_paint_from_drawing_and_filling() -> None:
    found = [instance("person"), instance("person"), instance("face", "redacted", method="blur")]
    found += [instance("license_plate"), instance("person", "redacted"), instance("license_plate", "redacted")]
    made = {"instances": found, "metadata_kept": ["camera"], "provenance": {"versions": {"anonymizer": "0.1.0"}}}
    actions = statement(made)["assertions"][0]["data"]["actions"]
    told = {(one["description"], one["digitalSourceType"]) for one in actions if one["action"] == "c2pa.edited"}
    assert told == {
        ("anonymized, redrawn: 2 person", SOURCE_TYPES + PAINTED),
        ("anonymized, redrawn: 1 license_plate", SOURCE_TYPES + DRAWN),
        ("anonymized, blur: 1 face", SOURCE_TYPES + ALTERED),
        ("anonymized, filled: 1 license_plate, 1 person", SOURCE_TYPES + ALTERED),
    }
    assert actions[-1]["description"] == "metadata removed; kept: camera"
    assert {one["softwareAgent"]["version"] for one in actions[1:]} == {"0.1.0"}
    # A picture in which nothing was found says nothing of people.
    nothing = statement({"instances": []})["assertions"][0]["data"]["actions"]
    assert [one["action"] for one in nothing] == ["c2pa.opened", "c2pa.edited.metadata"]


KEYS = [
    lambda: ec.generate_private_key(ec.SECP384R1()),
    lambda: rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate,
]


@pytest.mark.parametrize("make", KEYS, ids=["p384", "rsa", "ed25519"])
def test_usual_keys_sign(signer: Callable[..., tuple[Path, Path]], make: Callable[[], Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "PNG")
    assert Credentials(*signer(make())).signed(buffer.getvalue(), "a.png", {"instances": []}) != buffer.getvalue()


def test_the_older_form_of_keys_signs(signer: Callable[..., tuple[Path, Path]]) -> None:
    Credentials(*signer(form=serialization.PrivateFormat.TraditionalOpenSSL))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("certificate", "--c2pa-certificate .*expected X.509 certificates as PEM"),
        ("key", "--c2pa-key .*expected a private key as PEM"),
        ("locked", "is locked by a passphrase"),
        ("other", "is not the key of the first certificate"),
        ("old", "valid from .* only; give one that is valid today"),
        ("root", "cannot sign .*self-signed"),
        ("curve", "expected a key of EC"),
    ],
)
def test_what_cannot_sign_is_told_in_one_line(
    signer: Callable[..., tuple[Path, Path]], wrong: str, message: str
) -> None:
    chain, key = signer(
        ec.generate_private_key(ec.SECP256K1()) if wrong == "curve" else None,
        ends=NOW - DAY if wrong == "old" else NOW + DAY,
        lock=serialization.BestAvailableEncryption(b"secret") if wrong == "locked" else None,
    )
    if wrong == "certificate":
        chain.write_text("none")
    if wrong == "key":
        key.write_text("none")
    if wrong == "other":
        other = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        key.write_bytes(other.private_bytes(PEM, form, serialization.NoEncryption()))
    if wrong == "root":
        own = ec.generate_private_key(ec.SECP256R1())
        chain.write_bytes(certificate("Root", own, "Root", own).public_bytes(PEM))
        key.write_bytes(own.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(InputError, match=message) as caught:
        Credentials(chain, key)
    assert "\n" not in str(caught.value)


def test_a_format_without_a_place_for_credentials_is_refused(
    tmp_path: Path, signer: Callable[..., tuple[Path, Path]]
) -> None:
    source = output(tmp_path, "a.png", "b.bmp")
    with pytest.raises(InputError, match=r"images/b\.bmp: its format has no place .*--format png"):
        deliver(source, tmp_path / "delivery", credentials=Credentials(*signer()))
    assert not (tmp_path / "delivery").exists()


def test_a_picture_whose_pixels_would_change_does_not_leave(
    tmp_path: Path, signer: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, credentials = output(tmp_path, "a.png"), Credentials(*signer())
    other = io.BytesIO()
    Image.fromarray(noise(7)).save(other, "PNG")
    monkeypatch.setattr(Credentials, "_sign", lambda *_: other.getvalue())
    with pytest.raises(InputError, match="its pixels changed when it was signed"):
        deliver(source, tmp_path / "delivery", credentials=credentials)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain.pem", "in", "key.pem", "out"]


def test_the_command_signs_and_says_so(
    tmp_path: Path, signer: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    source, (chain, key) = output(tmp_path, "a.png"), signer()
    command = ["release", str(source), str(tmp_path / "delivery"), "--c2pa-certificate", str(chain)]
    assert cli.main([*command, "--json"]) == 2
    assert "belong together" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert cli.main([*command, "--c2pa-key", str(tmp_path / "nowhere.pem")]) == 2
    assert "nowhere.pem: cannot be read" in capsys.readouterr().err
    assert cli.main([*command, "--c2pa-key", str(key)]) == 0
    assert "1 pictures carry C2PA credentials" in capsys.readouterr().out


def test_without_the_library_the_message_says_what_to_install(
    signer: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(InputError, match=r"pip install 'anonymizer\[c2pa\]'"):
        Credentials(*signer())
