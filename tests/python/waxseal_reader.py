"""A second reader of the Waxseal format, version 1, for tests and for recovery. Not for production.

It was written from `shared/FORMAT.md` and what that cites, without a look at the programs, and must stay so: whoever
changes it reads the specification only. What can be learned from the programs alone is a fault of the specification,
and is mended there first.

It serves two ends. `check_vectors.py` runs it on the test vectors, which shows that the specification says enough.
And with Python, two packages and an identity (or a data key that stock `age -d` gave back) it prints the values of a
SealedSecret when nothing else is left.

Why not for production: Python cannot wipe keys from memory; apart from comparing digests and from what `cryptography`
does inside, nothing here runs in constant time; and a hostile file may take it minutes. It never writes a value
anywhere but to standard output, and no error holds one.

Every section sign (§) means a section of FORMAT.md.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fractions import Fraction
from typing import Any, Callable, Iterator, NoReturn, Union

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

# --------------------------------------------------------------------------------------------------------- errors


class Refused(Exception):
    """A check of §6 or §7 failed. Holds names from the object, never a value, a token or a key."""

    def __init__(
        self,
        check: str,
        reason: str,
        *,
        envelope: str | None = None,
        wrap: str | None = None,
        data_key: str | None = None,
    ) -> None:
        place = {"envelope": envelope, "wrap": wrap, "dataKey": data_key}
        self.check = check
        self.reason = reason
        self.at: dict[str, str] = {name: part for name, part in place.items() if part is not None}
        where = ", ".join(f"{name} {part!r}" for name, part in self.at.items())
        super().__init__(f"{reason}: check {check}" + (f" ({where})" if where else ""))


class ManifestRefused(Exception):
    """A rule of §10 is broken (or, for a tree that did not come from a file, of §4). Holds a place, never a value."""

    reason = "Malformed"

    def __init__(self, rule: str, place: str) -> None:
        self.rule = rule
        self.place = place
        super().__init__(f"Malformed manifest: rule {rule} at {place}")


class BadKey(ValueError):
    """A text that is no identity or recipient of §3. Does not hold the text."""


# -------------------------------------------------------------------------------------------------- §2 encodings


def in_order(keys: Any) -> list[str]:
    """§2: maps are walked in ascending order of the bytes of their keys."""
    return sorted(keys, key=lambda key: key.encode())


def _canonical(text: str, altchars: bytes, padded: bool) -> bytes | None:
    """What `text` decodes to, or None if it is not canonical: if encoding the result does not give it again."""
    try:
        raw = text.encode("ascii")
        decoded = base64.b64decode(raw if padded else raw + b"=" * (-len(raw) % 4), altchars=altchars, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    again = base64.b64encode(decoded, altchars)
    return decoded if (again if padded else again.rstrip(b"=")) == raw else None


def decode_base64(text: str) -> bytes | None:
    """RFC 4648 §4 with padding, canonical."""
    return _canonical(text, b"+/", padded=True)


def decode_base64url(text: str) -> bytes | None:
    """RFC 4648 §5 without padding, canonical."""
    return _canonical(text, b"-_", padded=False)


def decode_raw_base64(text: str) -> bytes | None:
    """RFC 4648 §4 without padding, canonical."""
    return _canonical(text, b"+/", padded=False)


def encode_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def hkdf(ikm: bytes, salt: bytes | None, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256; `None` is "no salt"."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(ikm)


def same(left: bytes, right: bytes) -> bool:
    """Compare in constant time (§9)."""
    return hmac.compare_digest(left, right)


# ------------------------------------------------------------------------------------------------------- §3 keys

X25519 = "X25519"
HYBRID = "mlkem768x25519"
_IDENTITY_PARTS = {"age-secret-key-": X25519, "age-secret-key-pq-": HYBRID}
_RECIPIENT_PARTS = {"age": (X25519, 32), "age1pq": (HYBRID, 1216)}
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
MLKEM_KEY_LENGTH = 1184
MLKEM_CIPHERTEXT_LENGTH = 1088


def _bech32_checksum(part: str, words: list[int]) -> int:
    """BIP 173's checksum polynomial over the human-readable part and the words."""
    checksum = 1
    for word in [ord(c) >> 5 for c in part] + [0] + [ord(c) & 31 for c in part] + words:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _bech32_decode(text: str) -> tuple[str, bytes]:
    """BIP 173 without its limit of length: the human-readable part, in lower case, and the bytes."""
    if text not in (text.lower(), text.upper()) or not all("!" <= c <= "~" for c in text):
        raise BadKey("mixed case, or characters that are not allowed")
    part, one, rest = text.lower().rpartition("1")
    if not (part and one) or len(rest) < 6 or not all(c in _BECH32 for c in rest):
        raise BadKey("not Bech32")
    words = [_BECH32.index(c) for c in rest]
    if _bech32_checksum(part, words) != 1:
        raise BadKey("wrong checksum")
    bits = "".join(f"{word:05b}" for word in words[:-6])
    end = len(bits) // 8 * 8
    if len(bits) - end >= 5 or "1" in bits[end:]:
        raise BadKey("wrong padding of bits")
    return part, bytes(int(bits[at : at + 8], 2) for at in range(0, end, 8))


def _bech32_encode(part: str, data: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    words = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    checksum = _bech32_checksum(part, words + [0] * 6) ^ 1
    words += [checksum >> 5 * (5 - at) & 31 for at in range(6)]
    return part + "1" + "".join(_BECH32[word] for word in words)


def x25519(secret: bytes, point: bytes) -> bytes | None:
    """RFC 7748 §5; None if the result is all zero, which is how the library says that the point is of low order."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return None


def is_low_order(point: bytes) -> bool:
    """§6.5: any clamped scalar sends a point of low order to zero, and no other point."""
    return x25519(b"\x09" * 32, point) is None


def _passes_modulus_check(key: bytes) -> bool:
    """FIPS 203 §7.2: each 12-bit number of an ML-KEM-768 encapsulation key (before its 32-byte seed) is below 3329."""
    triples = zip(key[0:1152:3], key[1:1152:3], key[2:1152:3])
    return all((a | (b & 15) << 8) < 3329 and (b >> 4 | c << 4) < 3329 for a, b, c in triples)


def read_recipient(text: str) -> tuple[str, bytes]:
    """§3.3: the type and the bytes of a recipient."""
    if text != text.lower():
        raise BadKey("a recipient is written in lower case")
    part, data = _bech32_decode(text)
    if part not in _RECIPIENT_PARTS:
        raise BadKey("a recipient of another type")
    kind, length = _RECIPIENT_PARTS[part]
    if len(data) != length:
        raise BadKey("a recipient of another length")
    if is_low_order(data[-32:]):
        raise BadKey("an X25519 point of low order")
    if kind == HYBRID and not _passes_modulus_check(data[:MLKEM_KEY_LENGTH]):
        raise BadKey("an ML-KEM key that fails the modulus check")
    return kind, data


@dataclass(frozen=True)
class Identity:
    """A private key and what follows from it (§3)."""

    kind: str
    recipient_bytes: bytes
    x25519_secret: bytes = field(repr=False)
    mlkem_secret: MLKEM768PrivateKey | None = field(repr=False)

    @property
    def recipient(self) -> str:
        part = next(part for part, (kind, _) in _RECIPIENT_PARTS.items() if kind == self.kind)
        return _bech32_encode(part, self.recipient_bytes)

    @property
    def fingerprint(self) -> str:
        return "sha256:" + hashlib.sha256(self.recipient.encode()).hexdigest()

    @property
    def key_id(self) -> str:
        return "k" + hashlib.sha256(self.recipient.encode()).hexdigest()[:16]


def read_identity(text: str) -> Identity:
    """§3.1 to §3.3: an identity, in upper or in lower case."""
    part, secret = _bech32_decode(text)
    if part not in _IDENTITY_PARTS or len(secret) != 32:
        raise BadKey("not an identity of a known type")
    kind = _IDENTITY_PARTS[part]
    if kind == X25519:
        public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        return Identity(kind, public, secret, None)
    expanded = hashlib.shake_256(secret).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[0:64])  # d ‖ z
    x = expanded[64:96]
    point = X25519PrivateKey.from_private_bytes(x).public_key().public_bytes_raw()
    return Identity(kind, mlkem.public_key().public_bytes_raw() + point, x, mlkem)


@dataclass(frozen=True)
class HeldKey:
    """An identity that an opener holds (§3.4)."""

    identity: Identity
    role: str = "Cluster"
    state: str = "Active"
    created: tuple[datetime, Fraction] = (datetime(2000, 1, 1, tzinfo=timezone.utc), Fraction(0))


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def read_instant(text: str) -> tuple[datetime, Fraction]:
    """RFC 3339, with any number of digits of a second: the whole second, and the fraction. They compare as instants."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError("not an instant of RFC 3339")
    day, time, digits, offset = match.groups()
    whole = datetime.fromisoformat(f"{day}T{time}{'+00:00' if offset in 'Zz' else offset}")
    return whole.astimezone(timezone.utc), Fraction(int(digits), 10 ** len(digits)) if digits else Fraction(0)


def in_order_of_held_keys(held: list[HeldKey]) -> list[HeldKey]:
    """§3.4: the primary, then the latest first; among equals, the smaller key id first."""
    by_id = sorted(held, key=lambda key: key.identity.key_id)
    newest_first = sorted(by_id, key=lambda key: key.created, reverse=True)  # stable: equals stay in order of ids
    primaries = [key for key in newest_first if key.role == "Cluster" and key.state == "Active"]
    return primaries[:1] + [key for key in newest_first if key not in primaries[:1]]


# ------------------------------------------------------------------------------------------------- §5 derivations

MAX_DATA = 1_048_576


def commitment_of(dek: bytes) -> bytes:
    """§5.1"""
    return hkdf(dek, None, b"waxseal/v1/commitment", 32)


def envelope_id_of(commitment: bytes) -> str:
    """§5.1"""
    return "e" + commitment.hex()[:10]


def binding_of(scope: str, namespace: str, name: str, data_key: str) -> bytes:
    """§5.2: what is bound depends on the scope."""
    namespace = "" if scope == "Cluster" else namespace
    name = name if scope == "Strict" else ""
    parts = [part.encode() for part in ("waxseal/v1", scope, namespace, name, data_key)]
    return b"".join(u32(len(part)) + part for part in parts)


def value_key(dek: bytes, salt: bytes, binding: bytes) -> tuple[bytes, bytes]:
    """§5.3: the AES-256-GCM key and the nonce of one value."""
    derived = hkdf(dek, salt, b"waxseal/v1/value" + binding, 44)
    return derived[0:32], derived[32:44]


def padded_length(length: int) -> int:
    """§5.4: P(n)"""
    total = length + 4
    if total <= 256:
        return 256
    exponent = total.bit_length() - 1  # E = floor(log2 L)
    step = 1 << exponent - exponent.bit_length()  # S = floor(log2 E) + 1 = the number of bits of E
    return -(-total // step) * step


def is_padded_length(length: int) -> bool:
    """§5.4"""
    return length >= 256 and padded_length(length - 4) == length


def proof_of(dek: bytes, key_id: str, age_file: bytes) -> bytes:
    """§5.5"""
    return hkdf(dek, None, b"waxseal/v1/wrap" + key_id.encode() + hashlib.sha256(age_file).digest(), 16)


# ----------------------------------------------------------------------------------- §5.6, §6.4, §6.5 the age file

_AGE_VERSION = b"age-encryption.org/v1\n"
_AGE_STANZA = re.compile(rb"-> ([!-~]+(?: [!-~]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63})\n")
_AGE_MAC = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")


@dataclass(frozen=True)
class Stanza:
    """A recipient stanza of a known type, after its checks."""

    kind: str
    share: bytes
    body: bytes


@dataclass(frozen=True)
class AgeFile:
    """A binary age file (§5.6) that passed §6.4 and §6.5."""

    stanza: Stanza
    header: bytes  # all that the MAC covers: up to and with "---"
    mac: bytes
    nonce: bytes
    payload: bytes


Fail = Callable[[str], NoReturn]


def _read_stanzas(stanzas: list[tuple[list[str], bytes]], fail: Fail) -> Stanza:
    """§6.5, in the order of the file, row by row."""
    known: list[Stanza] = []
    for (kind, *arguments), body in stanzas:
        if kind.endswith("-grease"):
            continue
        if kind not in (X25519, HYBRID):
            fail("stanza-foreign")
        if len(arguments) != 1:
            fail("stanza-arguments")
        if len(body) != 32:
            fail("stanza-body")
        share = decode_raw_base64(arguments[0])
        if share is None:
            fail("share-encoding")
        if len(share) != (32 if kind == X25519 else MLKEM_CIPHERTEXT_LENGTH + 32):
            fail("share-length")
        if is_low_order(share[-32:]):
            fail("share-low-order")
        known.append(Stanza(kind, share, body))
    if len(known) != 1:
        fail("stanza-count")
    return known[0]


def read_age_file(data: bytes, fail: Fail) -> AgeFile:
    """§6.4, then §6.5. `fail` raises with the place of the wrap."""
    if not data.startswith(_AGE_VERSION):
        fail("age-version")
    at = len(_AGE_VERSION)
    stanzas: list[tuple[list[str], bytes]] = []
    while match := _AGE_STANZA.match(data, at):
        body = decode_raw_base64(match[2].replace(b"\n", b"").decode())
        if body is None:
            fail("age-header")
        stanzas.append((match[1].decode().split(" "), body))
        at = match.end()
    end = _AGE_MAC.match(data, at)
    mac = decode_raw_base64(end[1].decode()) if end else None
    if not stanzas or end is None or mac is None:
        fail("age-header")
    payload = data[end.end() :]
    if len(payload) != 16 + 32 + 16:
        fail("age-payload")
    return AgeFile(_read_stanzas(stanzas, fail), data[: at + 3], mac, payload[:16], payload[16:])


def _hpke_key_and_nonce(shared_secret: bytes) -> tuple[bytes, bytes]:
    """§5.6: the key schedule of HPKE's base mode, RFC 9180 §5.1, for the only suite that is used."""
    suite = b"HPKE" + bytes.fromhex("647a 0001 0003")
    info = b"age-encryption.org/mlkem768x25519"

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, about: bytes, length: int) -> bytes:
        labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + about
        return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=labeled).derive(prk)

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)


def _file_key(identity: Identity, stanza: Stanza) -> bytes:
    """§5.6: the file key. Raises InvalidTag if the stanza is not for this identity."""
    share = stanza.share[-32:]
    point = identity.recipient_bytes[-32:]
    secret = x25519(identity.x25519_secret, share)
    if secret is None:  # cannot be: §6.5 refused such shares
        raise InvalidTag
    if identity.mlkem_secret is None:
        key, nonce = hkdf(secret, share + point, b"age-encryption.org/v1/X25519", 32), bytes(12)
    else:
        mlkem = identity.mlkem_secret.decapsulate(stanza.share[:MLKEM_CIPHERTEXT_LENGTH])
        label = bytes.fromhex("5c2e2f2f5e5c")
        key, nonce = _hpke_key_and_nonce(hashlib.sha3_256(mlkem + secret + share + point + label).digest())
    return ChaCha20Poly1305(key).decrypt(nonce, stanza.body, b"")


def open_age_file(identity: Identity, age: AgeFile) -> tuple[bytes, bytes] | None:
    """§7.3, steps 1 to 4: the DEK and the file key, or None if the file does not open."""
    if age.stanza.kind != identity.kind:  # 1
        return None
    try:
        file_key = _file_key(identity, age.stanza)  # 2
        mac = hmac.digest(hkdf(file_key, None, b"header", 32), age.header, "sha256")
        if not same(mac, age.mac):  # 3
            return None
        payload_key = hkdf(file_key, age.nonce, b"payload", 32)
        return ChaCha20Poly1305(payload_key).decrypt(bytes(11) + b"\x01", age.payload, b""), file_key  # 4
    except InvalidTag:
        return None


# ------------------------------------------------------------------------------------------------- §4 the object


@dataclass(frozen=True)
class Envelope:
    bound_to: dict[str, str]
    commitment: str
    wraps: dict[str, str]


@dataclass(frozen=True)
class Template:
    type: str = "Opaque"
    immutable: bool | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SealedSecret:
    """What the format looks at (§4), before any check of §6."""

    name: str
    namespace: str
    scope: str
    envelopes: dict[str, Envelope]
    encrypted_data: dict[str, str]
    template: Template


@dataclass(frozen=True)
class Scalar:
    """A scalar of YAML or JSON, not yet understood. JSON's numbers, true, false and null are not `quoted`."""

    text: str
    quoted: bool  # or tagged !!str: a string to every reader


@dataclass(frozen=True)
class Alias:
    """An alias of YAML. It is never followed: its document is refused."""


@dataclass(frozen=True)
class Map:
    entries: tuple[tuple[str, "Node"], ...]

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.entries if name == key), None)


@dataclass(frozen=True)
class Sequence:
    items: tuple["Node", ...]


Node = Union[Scalar, Alias, Map, Sequence]

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = {"", "~", "null", "true", "false", "y", "yes", "n", "no", "on", "off", "=", "<<"}
_NUMBER = re.compile(
    r"0b[+-]*[01]*|0o[+-]*[0-7]*|0x[+-]*[0-9a-f]*|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"
    r"|[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|\.inf|\.nan"
)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]+(?=[0-9][^:]*:)[0-9:.+\-Zz \t]+)?")
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def is_string_to_every_reader(text: str) -> bool:
    """§10: of an unquoted scalar."""
    if text.lower() in _WORDS or _TIMESTAMP.fullmatch(text):
        return False
    if text[0] in "0123456789+-.":
        number = text.lower().replace("_", "")
        if _NUMBER.fullmatch(number[1:] if number[:1] in ("+", "-") else number):
            return False
    return True


def _is_no_string_to_any_reader(text: str) -> bool:
    """Null, booleans and numbers as JSON has them: the same to every reader, so a `wrong-type`, not `ambiguous`."""
    return text in _NULLS or text in _BOOLEANS or _PLAIN_NUMBER.fullmatch(text) is not None


def _string(node: Node, path: str) -> str:
    if not isinstance(node, Scalar):
        raise ManifestRefused("wrong-type", path)
    if not node.quoted and not is_string_to_every_reader(node.text):
        raise ManifestRefused("wrong-type" if _is_no_string_to_any_reader(node.text) else "ambiguous", path)
    return node.text


def _boolean(node: Node, path: str) -> bool:
    if not isinstance(node, Scalar) or node.quoted or node.text not in _BOOLEANS:
        raise ManifestRefused("wrong-type", path)
    return _BOOLEANS[node.text]


def _is_null(node: Node | None) -> bool:
    return isinstance(node, Scalar) and not node.quoted and node.text in _NULLS


def _map(node: Node, path: str, fields: tuple[str, ...] | None = None) -> Map:
    """A map with fields of these names only, or, without `fields`, of any."""
    if not isinstance(node, Map):
        raise ManifestRefused("wrong-type", path)
    for key, _ in node.entries:
        if fields is not None and key not in fields:
            raise ManifestRefused("unknown-field", f"{path}.{key}")
    return node


def _strings(node: Node | None, path: str) -> dict[str, str]:
    """A map of strings; absent is empty, null is a wrong type."""
    if node is None:
        return {}
    return {key: _string(value, f"{path}.{key}") for key, value in _map(node, path).entries}


def _required(parent: Map, key: str, path: str) -> Node:
    node = parent.get(key)
    if node is None:
        raise ManifestRefused("missing-field", f"{path}.{key}".lstrip("."))
    return node


_OBJECT_META = (
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation "
    "labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
).split()


def _read_envelope(node: Node, path: str) -> Envelope:
    envelope = _map(node, path, ("boundTo", "commitment", "wraps"))
    bound_to: dict[str, str] = {}
    if (bound := envelope.get("boundTo")) is not None:
        for key, value in _map(bound, f"{path}.boundTo", ("namespace", "name")).entries:
            if not _is_null(value):  # §4: null counts as absent
                bound_to[key] = _string(value, f"{path}.boundTo.{key}")
    commitment = _string(_required(envelope, "commitment", path), f"{path}.commitment")
    return Envelope(bound_to, commitment, _strings(_required(envelope, "wraps", path), f"{path}.wraps"))


def _read_template(node: Node | None) -> Template:
    path = "spec.template"
    if node is None or _is_null(node):
        return Template()
    template = _map(node, path, ("type", "immutable", "metadata"))
    kind, immutable, metadata = template.get("type"), template.get("immutable"), template.get("metadata")
    inner = Map(())
    if metadata is not None and not _is_null(metadata):
        inner = _map(metadata, f"{path}.metadata", ("labels", "annotations"))
    return Template(
        "Opaque" if kind is None or _is_null(kind) else _string(kind, f"{path}.type"),
        None if immutable is None or _is_null(immutable) else _boolean(immutable, f"{path}.immutable"),
        _strings(inner.get("labels"), f"{path}.metadata.labels"),
        _strings(inner.get("annotations"), f"{path}.metadata.annotations"),
    )


def read_tree(node: Node, *, manifest: bool = False) -> SealedSecret:
    """§4: an object as a tree; for a `manifest` also the stricter rules of §10 for whole objects.

    Of several broken rules any may be the answer; here the order is version, fields at the top, metadata, spec.
    """
    root = _map(node, "the object")
    api_version = root.get("apiVersion")
    kind = root.get("kind")
    if api_version is None or kind is None:
        raise ManifestRefused("missing-field", "apiVersion or kind")
    if _string(kind, "kind") != "SealedSecret" or _string(api_version, "apiVersion") != "waxseal.dev/v1alpha1":
        raise ManifestRefused("version", "apiVersion")
    if manifest:
        _map(root, "the object", ("apiVersion", "kind", "metadata", "spec", "status"))
    empty = Map(())
    metadata = _map(_required(root, "metadata", "") if manifest else root.get("metadata") or empty, "metadata")
    if manifest:
        _map(metadata, "metadata", tuple(_OBJECT_META))
        if metadata.get("generateName") is not None:
            raise ManifestRefused("generate-name", "metadata.generateName")
        _required(metadata, "name", "metadata")
    names = {key: _string(value, f"metadata.{key}") for key, value in metadata.entries if key in ("name", "namespace")}
    if manifest:
        # An absent namespace is left to §6.1; one that is there and empty is refused.
        if not is_object_name(names["name"]) or not is_namespace(names.get("namespace", "x")):
            raise ManifestRefused("name", "metadata.name or metadata.namespace")

    spec_node = _required(root, "spec", "") if manifest else root.get("spec") or empty
    spec = _map(spec_node, "spec", ("scope", "envelopes", "encryptedData", "template"))
    scope_node = spec.get("scope")
    scope = "Strict" if scope_node is None or _is_null(scope_node) else _string(scope_node, "spec.scope")
    if scope not in ("Strict", "Namespace", "Cluster"):
        raise ManifestRefused("wrong-type", "spec.scope")
    envelopes = _map(spec.get("envelopes") or empty, "spec.envelopes").entries
    return SealedSecret(
        name=names.get("name", ""),
        namespace=names.get("namespace", ""),
        scope=scope,
        envelopes={key: _read_envelope(value, f"spec.envelopes.{key}") for key, value in envelopes},
        encrypted_data=_strings(spec.get("encryptedData"), "spec.encryptedData"),
        template=_read_template(spec.get("template")),
    )


def node_of(value: Any) -> Node:
    """The node of a value that Python's `json` gave (a number as float, int or Scalar)."""
    if isinstance(value, (Scalar, Map)):
        return value
    if isinstance(value, str):
        return Scalar(value, quoted=True)
    if isinstance(value, dict):
        return Map(tuple([(key, node_of(item)) for key, item in value.items()]))
    if isinstance(value, list):
        items: list[Node] = []
        for item in value:  # a loop, not a comprehension: one frame for each of up to 510 collections
            items.append(node_of(item))
        return Sequence(tuple(items))
    return Scalar(json.dumps(value), quoted=False)  # true, false, null, numbers


# ------------------------------------------------------------------------------------------- §10 reading manifests

MAX_STREAM = 32 * 1024 * 1024
MAX_DOCUMENTS = 10_000
MAX_DOCUMENT = 8 * 1024 * 1024
MAX_NODES = 100_000
MAX_NODES_OF_STREAM = 2_000_000
MAX_OPEN_COLLECTIONS = 510
MAX_OPEN_OF_ONE_STYLE = 255  # in YAML
_OTHER_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")
_TAG_STR = "tag:yaml.org,2002:str"


@dataclass
class Document:
    """One document of a stream. Its first fault counts only if a SealedSecret stands in it."""

    node: Node = Scalar("", quoted=False)
    fault: ManifestRefused | None = None

    def refuse(self, rule: str, place: str) -> None:
        self.fault = self.fault or ManifestRefused(rule, place)


@dataclass
class _Counts:
    """What the rule `size` counts, besides open collections and the bytes of the stream."""

    documents: int = 0
    nodes: int = 0  # of the document; keys and aliases count
    nodes_of_stream: int = 0

    def add_node(self, place: str) -> None:
        self.nodes += 1
        self.nodes_of_stream += 1
        if self.nodes > MAX_NODES or self.nodes_of_stream > MAX_NODES_OF_STREAM:
            raise ManifestRefused("size", place)

    def add_document(self, text: str, place: str) -> None:
        self.documents += 1
        if self.documents > MAX_DOCUMENTS or len(text.encode()) > MAX_DOCUMENT:
            raise ManifestRefused("size", place)


def _add_key(document: Document, keys: set[str], key: Node, place: str) -> str:
    """§10: merge-key, ambiguous (as a key), duplicate-key. Returns the key's text."""
    if not isinstance(key, Scalar):
        document.refuse("wrong-type", place)
        return ""
    if not key.quoted and key.text == "<<":
        document.refuse("merge-key", place)
    elif not key.quoted and not is_string_to_every_reader(key.text):
        document.refuse("ambiguous", place)
    if key.text in keys:
        document.refuse("duplicate-key", place)
    keys.add(key.text)
    return key.text


def _json_documents(text: str) -> list[Document] | None:
    """A stream of JSON values (RFC 8259), or None if it is not one."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return None
    depth, counts = 0, _Counts()
    token_of_json = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]|[^\s"\[\]{},:]+', re.DOTALL)
    for token in token_of_json.finditer(text):  # before anything recurses
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_OPEN_COLLECTIONS:
            raise ManifestRefused("size", "a JSON value")
        if depth <= 0:
            counts.nodes = 0
        elif token[0] not in ("]", "}"):
            counts.add_node("a JSON value")

    document = Document()

    def map_of(pairs: list[tuple[str, Any]]) -> Map:
        keys: set[str] = set()
        entries: list[tuple[str, Node]] = []
        for key, value in pairs:
            _add_key(document, keys, Scalar(key, quoted=True), f"the JSON key {key!r}")
            entries.append((key, node_of(value)))
        return Map(tuple(entries))

    def no_json(_: str) -> NoReturn:
        raise json.JSONDecodeError("not a number of RFC 8259", text, 0)

    def number(digits: str) -> Scalar:
        return Scalar(digits, quoted=False)

    decoder = json.JSONDecoder(object_pairs_hook=map_of, parse_int=number, parse_float=number, parse_constant=no_json)
    documents: list[Document] = []
    at = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            counts.add_document(text[at:end], f"JSON value {len(documents) + 1}")
            document.node = node_of(value)
            if _has_half_surrogate(document.node):
                raise ManifestRefused("syntax", f"JSON value {len(documents) + 1}")
            documents.append(document)
            document = Document()
            at = len(text) - len(text[end:].lstrip(" \t\r\n"))
    except json.JSONDecodeError:
        return None
    return documents


def _has_half_surrogate(node: Node) -> bool:
    """Python's `json` joins pairs, and leaves halves as they are."""
    if isinstance(node, Scalar):
        return any("\ud800" <= c <= "\udfff" for c in node.text) if not node.text.isascii() else False
    if isinstance(node, Map):
        for key, value in node.entries:
            if _has_half_surrogate(Scalar(key, True)) or _has_half_surrogate(value):
                return True
    elif isinstance(node, Sequence):
        for item in node.items:
            if _has_half_surrogate(item):
                return True
    return False


@dataclass
class _Open:
    """A collection of YAML whose end has not come."""

    is_map: bool
    is_flow: bool
    items: list[Node] = field(default_factory=list)
    entries: list[tuple[str, Node]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    key: str | None = None


def _yaml_documents(text: str) -> list[Document]:
    """A YAML 1.2 stream, from parse events: nothing is resolved, no alias is followed.

    The library reads YAML 1.1. What matters of the difference is in the rules of §10; else it refuses a few texts that
    YAML 1.2 allows, such as a tab after a colon, or a plain scalar in a flow map that begins with a colon.
    """
    breaks = [match.start() for match in _OTHER_LINE_BREAKS.finditer(text)]
    # To YAML 1.2 the three are ordinary characters, to the library line ends. Documents that hold one are refused, so
    # another ordinary character may stand for them while the rest is read.
    events: Iterator[Any] = yaml.parse(_OTHER_LINE_BREAKS.sub("\ufffd", text), Loader=yaml.SafeLoader)
    documents: list[Document] = []
    document = Document()
    stack: list[_Open] = []
    document_start, counts = 0, _Counts()

    def put(node: Node, place: str) -> None:
        if not stack:
            document.node = node
        elif not stack[-1].is_map:
            stack[-1].items.append(node)
        elif stack[-1].key is None:
            stack[-1].key = _add_key(document, stack[-1].keys, node, place)
        else:
            stack[-1].entries.append((stack[-1].key, node))
            stack[-1].key = None

    try:
        for event in events:
            place, end = f"line {event.start_mark.line + 1}", event.end_mark.index
            if isinstance(event, yaml.DocumentStartEvent):
                document, counts.nodes = Document(), 0
                # The event begins at the first directive that the library knows; others stand between the documents.
                before = text[document_start:end]
                if event.explicit and re.search("^%", before, re.MULTILINE):
                    document.refuse("directive", place)
            elif isinstance(event, yaml.DocumentEndEvent):
                if any(document_start <= at < end for at in breaks):
                    document.refuse("line-break", "a document")
                counts.add_document(text[document_start:end], place)
                document_start = end
                documents.append(document)
            elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionStartEvent)):
                counts.add_node(place)
                if event.anchor is not None:  # of an anchor, or of an alias
                    document.refuse("anchor", place)
                tag = None if isinstance(event, yaml.AliasEvent) else event.tag
                if isinstance(event, yaml.ScalarEvent):
                    if tag not in (None, _TAG_STR):
                        document.refuse("tag", place)
                    scalar = Scalar(event.value, quoted=event.style is not None or tag == _TAG_STR)
                    if _has_half_surrogate(scalar):  # as in JSON: YAML 1.2 has no such characters
                        raise ManifestRefused("syntax", place)
                    put(scalar, place)
                elif isinstance(event, yaml.AliasEvent):
                    put(Alias(), place)
                else:
                    if tag is not None:  # !!str too: a collection is no string
                        document.refuse("tag", place)
                    stack.append(_Open(isinstance(event, yaml.MappingStartEvent), event.flow_style))
                    if sum(1 for each in stack if each.is_flow == event.flow_style) > MAX_OPEN_OF_ONE_STYLE:
                        raise ManifestRefused("size", place)
            elif isinstance(event, yaml.CollectionEndEvent):
                done = stack.pop()
                put(Map(tuple(done.entries)) if done.is_map else Sequence(tuple(done.items)), place)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ManifestRefused("syntax", f"line {mark.line + 1}" if mark else "a document") from None
    if documents and any(at >= document_start for at in breaks):
        documents[-1].refuse("line-break", "behind the last document")
    return documents


def _text_of(node: Node | None) -> str | None:
    return node.text if isinstance(node, Scalar) else None


def _is_ours(node: Node) -> bool:
    """Kind SealedSecret of the group waxseal.dev; other programs have a kind of that name too."""
    if not isinstance(node, Map) or _text_of(node.get("kind")) != "SealedSecret":
        return False
    return (_text_of(node.get("apiVersion")) or "waxseal.dev/").startswith("waxseal.dev/")


def _objects_of(node: Node) -> list[Node]:
    """The SealedSecrets of a document: itself, or items of a List."""
    if isinstance(node, Map) and _text_of(node.get("kind")) == "List":
        items = node.get("items")
        return [item for item in items.items if _is_ours(item)] if isinstance(items, Sequence) else []
    return [node] if _is_ours(node) else []


def _tells_no_kind(node: Node) -> bool:
    """An alias stands where it should say what it is, so other readers could see a SealedSecret in it."""
    return isinstance(node, Map) and any(isinstance(node.get(key), Alias) for key in ("kind", "apiVersion", "items"))


def read_manifest(data: bytes) -> list[SealedSecret]:
    """§10: the SealedSecrets of a file. Objects of other kinds are passed over."""
    if len(data) > MAX_STREAM:
        raise ManifestRefused("size", "the stream")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ManifestRefused("syntax", "the stream is not UTF-8") from None
    text = text.removeprefix("\ufeff")
    documents = _json_documents(text)
    if documents is None:
        documents = _yaml_documents(text)
    found: list[SealedSecret] = []
    for document in documents:
        objects = _objects_of(document.node)
        if document.fault and (objects or _tells_no_kind(document.node)):
            raise document.fault
        found += [read_tree(node, manifest=True) for node in objects]
    return found


# ------------------------------------------------------------------------------ §6 decoding: checks without any key

_DNS_PART = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_REPLICATORS = (
    "reflector.v1.k8s.emberstack.com/",
    "replicator.v1.mittwald.de/",
    "kubed.appscode.com/",
    "cluster.open-cluster-management.io/",
)


def is_object_name(text: str) -> bool:
    return 1 <= len(text.encode()) <= 253 and re.fullmatch(rf"{_DNS_PART}(?:\.{_DNS_PART})*", text) is not None


def is_namespace(text: str) -> bool:
    return 1 <= len(text.encode()) <= 63 and re.fullmatch(_DNS_PART, text) is not None


@dataclass(frozen=True)
class Wrap:
    age_file: bytes
    age: AgeFile
    proof: bytes


@dataclass(frozen=True)
class DecodedEnvelope:
    commitment: bytes
    wraps: dict[str, Wrap]


@dataclass(frozen=True)
class Token:
    envelope: str
    salt: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class Decoded:
    """An object that passed all of §6."""

    sealed: SealedSecret
    envelopes: dict[str, DecodedEnvelope]
    tokens: dict[str, Token]


def _decode_wrap(envelope: str, key_id: str, text: str) -> Wrap:
    """§6.3 to §6.5"""
    if not re.fullmatch("k[0-9a-f]{16}", key_id):
        raise Refused("key-id", "Malformed", envelope=envelope)

    def fail(check: str) -> NoReturn:
        raise Refused(check, "Malformed", envelope=envelope, wrap=key_id)

    parts = text.split(".")
    if len(parts) != 2:
        fail("wrap-parts")
    if len(parts[0].encode()) > 5464:
        fail("wrap-size")
    proof = decode_base64url(parts[1])
    if proof is None:
        fail("proof-encoding")
    if len(proof) != 16:
        fail("proof-length")
    age_file = decode_base64(parts[0])
    if age_file is None:
        fail("wrap-encoding")
    if len(age_file) > 4096:
        fail("wrap-size")
    return Wrap(age_file, read_age_file(age_file, fail), proof)


def _decode_envelope(sealed: SealedSecret, name: str, envelope: Envelope) -> DecodedEnvelope:
    """§6.2 for one envelope, its wraps, and §6.6"""
    if not re.fullmatch("e[0-9a-f]{10}", name):
        raise Refused("envelope-id", "Malformed")

    def fail(check: str) -> NoReturn:
        raise Refused(check, "Malformed", envelope=name)

    commitment = decode_base64(envelope.commitment)
    if commitment is None:
        fail("commitment-encoding")
    if len(commitment) != 32:
        fail("commitment-length")
    if name != envelope_id_of(commitment):
        raise Refused("commitment-foreign", "Malformed")  # about an id and a commitment: without a place
    if not envelope.wraps:
        fail("wraps-empty")
    if len(envelope.wraps) > 16:
        fail("wrap-count")
    wraps = {key_id: _decode_wrap(name, key_id, envelope.wraps[key_id]) for key_id in in_order(envelope.wraps)}
    if len({wrap.age.stanza.kind for wrap in wraps.values()}) > 1:
        fail("wraps-mixed")
    bound_to: dict[str, str] = {}
    if sealed.scope != "Cluster":
        bound_to["namespace"] = sealed.namespace
    if sealed.scope == "Strict":
        bound_to["name"] = sealed.name
    if envelope.bound_to != bound_to:
        raise Refused("bound-to", "Moved")  # about the whole object: without a place
    return DecodedEnvelope(commitment, wraps)


def _decode_token(sealed: SealedSecret, data_key: str, text: str) -> Token:
    """§6.7"""
    if not re.fullmatch(r"[A-Za-z0-9\-_.]{1,253}", data_key) or data_key == "." or data_key.startswith(".."):
        raise Refused("data-key", "Malformed")

    def fail(check: str) -> NoReturn:
        raise Refused(check, "Malformed", data_key=data_key)

    if not text.startswith("wax1."):
        fail("token-version")
    envelope, dot, body = text[len("wax1.") :].partition(".")
    if not dot:
        fail("token-parts")
    if not re.fullmatch("e[0-9a-f]{10}", envelope):
        fail("token-envelope-id")
    if len(body.encode()) > 1_441_835:
        fail("token-size")
    data = decode_base64url(body)
    if data is None:
        fail("token-encoding")
    if not is_padded_length(len(data) - 16 - 16):
        fail("token-length")
    if envelope not in sealed.envelopes:
        fail("token-envelope")
    return Token(envelope, data[:16], data[16:])


def _check_template(template: Template) -> None:
    """§6.8"""
    forbidden = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
    if template.type in forbidden or template.type.startswith("waxseal.dev/"):
        raise Refused("template-type", "TypeForbidden")
    for keys in (template.labels, template.annotations):
        for key in in_order(keys):
            if key.startswith("waxseal.dev/"):
                raise Refused("template-own-metadata", "TypeForbidden")
            if key.startswith(_REPLICATORS):
                raise Refused("template-replicator", "TypeForbidden")


def decode(sealed: SealedSecret) -> Decoded:
    """§6, in exactly its order."""
    if not is_object_name(sealed.name):
        raise Refused("object-name", "Malformed")
    if not is_namespace(sealed.namespace):
        raise Refused("object-namespace", "Malformed")
    if len(sealed.encrypted_data) > 256:
        raise Refused("data-key-count", "Malformed")
    if len(sealed.envelopes) > 64:
        raise Refused("envelope-count", "Malformed")
    envelopes = {name: _decode_envelope(sealed, name, sealed.envelopes[name]) for name in in_order(sealed.envelopes)}
    tokens = {key: _decode_token(sealed, key, sealed.encrypted_data[key]) for key in in_order(sealed.encrypted_data)}
    _check_template(sealed.template)
    return Decoded(sealed, envelopes, tokens)


# ------------------------------------------------------------------------------------------------------ §7 opening

MAX_CANDIDATES = 4


@dataclass(frozen=True)
class Opened:
    """The data of a Secret, all of it."""

    data: dict[str, bytes] = field(repr=False)
    opened_with: list[str]
    broken_wraps: dict[str, list[str]]
    sealed: SealedSecret = field(repr=False)


def _open_envelope(name: str, envelope: DecodedEnvelope, held: list[HeldKey]) -> tuple[bytes, str]:
    """§7.2 and §7.3: the DEK, and the key id of the wrap that gave it. `held` is in the order of held keys."""
    held_wraps = [key for key in held if key.identity.key_id in envelope.wraps]
    if not held_wraps:
        raise Refused("envelope-key-missing", "KeyMissing", envelope=name)
    candidates = [key for key in held_wraps if key.state != "Revoked"][:MAX_CANDIDATES]
    if not candidates:
        raise Refused("envelope-key-revoked", "KeyRevoked", envelope=name)
    for key in candidates:
        opened = open_age_file(key.identity, envelope.wraps[key.identity.key_id].age)
        if opened and same(commitment_of(opened[0]), envelope.commitment):  # step 5
            return opened[0], key.identity.key_id
    raise Refused("envelope-broken", "Unreadable", envelope=name)


def _unpad(plaintext: bytes) -> bytes | None:
    """§7.5, `value-padding`: the value, or None."""
    length = int.from_bytes(plaintext[:4], "big")
    if length > len(plaintext) - 4 or padded_length(length) != len(plaintext):
        return None
    value, zeros = plaintext[4 : 4 + length], plaintext[4 + length :]
    return value if zeros == bytes(len(zeros)) else None


def open_decoded(decoded: Decoded, held: list[HeldKey], deks: list[bytes] | None = None) -> Opened:
    """§7. `deks` are data keys from elsewhere; one is used for the envelope whose commitment is its own."""
    sealed = decoded.sealed
    held = in_order_of_held_keys(held)
    opened: dict[str, bytes] = {}
    used: set[str] = set()
    broken: dict[str, list[str]] = {}
    for token in decoded.tokens.values():  # §7.1; the tokens are in order
        name, envelope = token.envelope, decoded.envelopes[token.envelope]
        if name in opened:
            continue
        given = [dek for dek in deks or [] if same(commitment_of(dek), envelope.commitment)]
        if given:
            opened[name] = given[0]
        else:
            opened[name], key_id = _open_envelope(name, envelope, held)
            used.add(key_id)
        for key_id, wrap in envelope.wraps.items():  # §7.4; the wraps are in order
            if not same(proof_of(opened[name], key_id, wrap.age_file), wrap.proof):
                broken.setdefault(name, []).append(key_id)

    data: dict[str, bytes] = {}
    total = 0
    for data_key, token in decoded.tokens.items():  # §7.5
        binding = binding_of(sealed.scope, sealed.namespace, sealed.name, data_key)
        key, nonce = value_key(opened[token.envelope], token.salt, binding)
        try:
            plaintext = AESGCM(key).decrypt(nonce, token.ciphertext, b"")
        except InvalidTag:
            raise Refused("value-authentication", "Unreadable", data_key=data_key) from None
        value = _unpad(plaintext)
        if value is None:
            raise Refused("value-padding", "Unreadable", data_key=data_key)
        total += len(value)
        if total > MAX_DATA:
            raise Refused("data-size", "TooLarge")
        data[data_key] = value
    return Opened(data, sorted(used), broken, sealed)


# ----------------------------------------------------------------------------------------------- the command line


def read_identity_file(text: str) -> list[HeldKey]:
    """Age's identity file; each identity once (§3.4), all of them Active Cluster keys of one time."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    identities = {identity.key_id: identity for identity in map(read_identity, lines)}
    return [HeldKey(identity) for identity in identities.values()]


def read_dek_file(data: bytes) -> bytes:
    """The output of `age -d`: 32 bytes; or the same in 64 hex digits."""
    if len(data) == 32:
        return data
    try:
        dek = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        dek = b""
    if len(dek) != 32:
        raise BadKey("a data key is 32 bytes, or 64 hex digits")
    return dek


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Open SealedSecrets of Waxseal, for recovery.")
    commands = parser.add_subparsers(dest="command", required=True)
    opening = commands.add_parser("open", help="print the values of a manifest as JSON, in base64")
    opening.add_argument("--identity", action="append", default=[], metavar="FILE", help="age's identity file")
    opening.add_argument("--dek-file", action="append", default=[], metavar="FILE", help="a data key, from `age -d`")
    opening.add_argument("--object", metavar="NAMESPACE/NAME", help="which SealedSecret, if the manifest has several")
    opening.add_argument("manifest", metavar="MANIFEST")
    options = parser.parse_args(arguments)
    if not options.identity and not options.dek_file:
        parser.error("give --identity or --dek-file")
    try:
        held: dict[str, HeldKey] = {}
        for path in options.identity:
            with open(path, encoding="utf-8") as file:
                held.update((key.identity.key_id, key) for key in read_identity_file(file.read()))
        deks = []
        for path in options.dek_file:
            with open(path, "rb") as raw:
                deks.append(read_dek_file(raw.read(100)))
        with open(options.manifest, "rb") as raw:
            objects = read_manifest(raw.read(MAX_STREAM + 1))
        if options.object is not None:
            objects = [sealed for sealed in objects if f"{sealed.namespace}/{sealed.name}" == options.object]
        if len(objects) != 1:
            print(f"error: {len(objects)} SealedSecrets, where one was to be; see --object", file=sys.stderr)
            return 2
        opened = open_decoded(decode(objects[0]), list(held.values()), deks)
    except (Refused, ManifestRefused, BadKey, OSError, UnicodeDecodeError) as error:
        # A UnicodeDecodeError would show bytes of the file that it was about, perhaps of an identity.
        print(f"error: {'not UTF-8' if isinstance(error, UnicodeDecodeError) else error}", file=sys.stderr)
        return 1
    for name, key_ids in opened.broken_wraps.items():
        print(f"warning: wrong proofs in envelope {name}, wraps {', '.join(key_ids)}", file=sys.stderr)
    print(json.dumps({key: base64.b64encode(value).decode() for key, value in opened.data.items()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
