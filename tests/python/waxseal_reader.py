"""A second reader of the Waxseal format, version 1, for tests and for recovery. Not for production.

It was written from `shared/FORMAT.md` and the documents that FORMAT.md cites, without reading the programs. Change it
in the same way. If something can be learned only from the programs, that is a fault of FORMAT.md: correct it there
first.

It has two purposes. `check_vectors.py` runs it on the test vectors: this shows that the specification is complete. And
for recovery without Waxseal's programs, it prints the values of a SealedSecret: it needs only Python, two packages and
an identity, or a DEK that `age -d` has decrypted.

Why not for production: Python cannot wipe keys from memory; only the comparison of digests and the code of
`cryptography` run in constant time; and a hostile file may take it minutes. It writes values only to standard output,
and no error message contains one.

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
    """A rule of §10 is broken, or, for a tree that did not come from a file, of §4.

    Names a field of the format and a place in the text, never what an object holds.
    """

    reason = "Malformed"

    def __init__(self, rule: str, what: str, at: int | None = None) -> None:
        self.rule = rule
        self.what = what
        self.at = at  # how many characters of the text stand before it
        super().__init__(f"Malformed manifest: rule {rule} ({what})")

    def with_place(self, text: str) -> ManifestRefused:
        """§10: returns the same error with line and column."""
        if self.at is None:
            return self
        ends = [match.end() for match in _LINE_END.finditer(text, 0, self.at)]
        column = self.at - (ends[-1] if ends else 0) + 1
        return ManifestRefused(self.rule, f"{self.what}, line {len(ends) + 1}, column {column}")


class BadKey(ValueError):
    """A text that is not an identity or recipient of §3. The message does not quote it."""


# -------------------------------------------------------------------------------------------------- §2 encodings


def in_order(keys: Any) -> list[str]:
    """§2: maps are walked in ascending order of the bytes of their keys."""
    return sorted(keys, key=lambda key: key.encode())


def _canonical(text: str, altchars: bytes, padded: bool) -> bytes | None:
    """Returns the decoded bytes, or None if encoding them again gives another text."""
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
X25519_PRIME = 2**255 - 19
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
    """§6.5: with any clamped scalar, X25519 gives zero for the points of low order, and for no other point."""
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
    if int.from_bytes(data[-32:], "little") >= X25519_PRIME:
        raise BadKey("an X25519 point that is not canonical")
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


_STRICTEST_FIRST = ("Revoked", "Retired", "Active")


def held_once(given: list[HeldKey]) -> list[HeldKey]:
    """§3.4: of each identity the entry with the strictest state, and of those with that state the earliest."""
    held: dict[tuple[str, bytes], HeldKey] = {}
    for key in sorted(given, key=lambda key: (_STRICTEST_FIRST.index(key.state), key.created)):
        held.setdefault((key.identity.kind, key.identity.recipient_bytes), key)
    return list(held.values())


def in_order_of_held_keys(held: list[HeldKey]) -> list[HeldKey]:
    """§3.4: the primary, then the latest first; among equals, the smaller key id first."""
    by_id = sorted(held, key=lambda key: key.identity.key_id)
    newest_first = sorted(by_id, key=lambda key: key.created, reverse=True)  # stable: equals stay in order of ids
    primary = next((key for key in newest_first if key.role == "Cluster" and key.state == "Active"), None)
    return ([primary] if primary else []) + [key for key in newest_first if key is not primary]


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
    type: str | None = None  # None is absent
    immutable: bool | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def secret_type(self) -> str:
        """§4: absent or empty is `Opaque`."""
        return self.type or "Opaque"


@dataclass(frozen=True)
class SealedSecret:
    """What the format looks at (§4), before any check of §6."""

    name: str
    namespace: str
    scope: str | None  # None is absent
    envelopes: dict[str, Envelope]
    encrypted_data: dict[str, str]
    template: Template

    @property
    def bound_scope(self) -> str:
        """§4: absent is, and is bound as, `Strict`."""
        return "Strict" if self.scope is None else self.scope


# The nodes of a tree. `at` is where one begins in the text that it came from; `fault` is a rule of §10 that it breaks
# by itself, `anchor` or `tag`. Whether that matters depends on the object that it stands in.


@dataclass(eq=False)
class Scalar:
    """A scalar of YAML or JSON, not yet understood. JSON's numbers, true, false and null are not `quoted`."""

    text: str
    quoted: bool  # in quotes, or a block
    tagged_str: bool = False
    fault: str | None = None
    at: int | None = None
    odd_tag: bool = False  # a tag other than !!str

    @property
    def is_string(self) -> bool:
        """Whether it is a string to every reader (§10)."""
        return self.quoted or self.tagged_str or is_string_to_every_reader(self.text)


@dataclass(eq=False)
class Map:
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    fault: str | None = None
    at: int | None = None
    odd_tag: bool = False  # any tag


@dataclass(eq=False)
class Sequence:
    items: list[Node] = field(default_factory=list)
    fault: str | None = None
    at: int | None = None
    odd_tag: bool = False  # any tag


@dataclass(eq=False)
class Alias:
    """An alias of YAML. It is never followed."""

    fault: str | None = "anchor"
    at: int | None = None


Node = Union[Scalar, Map, Sequence, Alias]

_API_VERSION = "waxseal.dev/v1alpha1"
_GROUP = "waxseal.dev/"
_KINDS = ("SealedSecret", "SealedSecretList", "SealingKey", "SealingKeyList")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = {"", "~", "null", "true", "false", "y", "yes", "n", "no", "on", "off", "=", "<<"}
_NUMBER = re.compile(
    r"0b[+-]*[01]*|0o[+-]*[0-7]*|0x[+-]*[0-9a-f]*|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"
    r"|[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|\.inf|\.nan"
)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]+(?=[0-9][^:]*:)[0-9:.+\-Zz \t]+)?")
_NUMBER_OF_JSON = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def is_string_to_every_reader(text: str) -> bool:
    """§10: whether every reader reads this unquoted scalar as a string."""
    if text.lower() in _WORDS or _TIMESTAMP.fullmatch(text):
        return False
    if text[0] in "0123456789+-.":
        number = text.lower().replace("_", "")
        if _NUMBER.fullmatch(number[1:] if number[:1] in ("+", "-") else number):
            return False
    return True


def _is_the_same_to_every_reader(text: str) -> bool:
    """§10: whether all readers read this unquoted scalar, which is not a string to all, as the same value."""
    return text in _NULLS or text in _BOOLEANS or _NUMBER_OF_JSON.fullmatch(text) is not None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.quoted and not node.tagged_str and node.text in _NULLS


def _string(node: Node, path: str) -> str:
    """§4, §10: returns the text of a string; refuses other nodes (wrong-type, ambiguous)."""
    if not isinstance(node, Scalar):
        raise ManifestRefused("wrong-type", path, node.at)
    if not node.is_string:
        rule = "wrong-type" if _is_the_same_to_every_reader(node.text) else "ambiguous"
        raise ManifestRefused(rule, path, node.at)
    return node.text


def _boolean(node: Node, path: str) -> bool:
    """§4, §10: wrong-type where a boolean belongs."""
    if not isinstance(node, Scalar) or node.quoted or node.tagged_str or node.text not in _BOOLEANS:
        raise ManifestRefused("wrong-type", path, node.at)
    return _BOOLEANS[node.text]


def _entries(node: Node, path: str) -> dict[str, Node]:
    """§4, §10: a map that is read; wrong-type, and ambiguous as a key. No key of it stands twice."""
    if not isinstance(node, Map):
        raise ManifestRefused("wrong-type", path, node.at)
    entries: dict[str, Node] = {}
    for key, value in node.entries:
        if not isinstance(key, Scalar):
            raise ManifestRefused("wrong-type", f"a key of {path}", key.at)
        if not key.is_string:
            raise ManifestRefused("ambiguous", f"a key of {path}", key.at)
        entries[key.text] = value
    return entries


def _required(fields: dict[str, Node], name: str, parent: Node, path: str) -> Node:
    """§4, §10: missing-field"""
    if name not in fields:
        raise ManifestRefused("missing-field", path, parent.at)
    return fields[name]


def _fields(node: Node, path: str, optional: str, required: str = "") -> dict[str, Node]:
    """§4, §10: a map of fields; unknown-field and missing-field. `null` counts as absent for an optional one."""
    fields = _entries(node, path)
    for name, value in fields.items():
        if name not in (optional + " " + required).split():
            raise ManifestRefused("unknown-field", f"in {path}", value.at)
    for name in required.split():
        _required(fields, name, node, f"{path}.{name}")
    return {name: value for name, value in fields.items() if name in required.split() or not _is_null(value)}


def _strings(node: Node | None, path: str) -> dict[str, str]:
    """§4: a map of strings to strings; absent is empty."""
    entries = {} if node is None else _entries(node, path)
    return {key: _string(value, f"{path}.*") for key, value in entries.items()}


def _read_envelope(node: Node) -> Envelope:
    path = "spec.envelopes.*"
    fields = _fields(node, path, "boundTo", required="commitment wraps")
    bound_to = _fields(fields["boundTo"], f"{path}.boundTo", "namespace name") if "boundTo" in fields else {}
    return Envelope(
        {name: _string(value, f"{path}.boundTo.{name}") for name, value in bound_to.items()},
        _string(fields["commitment"], f"{path}.commitment"),
        _strings(fields["wraps"], f"{path}.wraps"),
    )


def _read_template(node: Node | None) -> Template:
    path = "spec.template"
    fields = {} if node is None else _fields(node, path, "type immutable metadata")
    metadata: dict[str, Node] = {}
    if "metadata" in fields:
        metadata = _fields(fields["metadata"], f"{path}.metadata", "labels annotations")
    return Template(
        _string(fields["type"], f"{path}.type") if "type" in fields else None,
        _boolean(fields["immutable"], f"{path}.immutable") if "immutable" in fields else None,
        _strings(metadata.get("labels"), f"{path}.metadata.labels"),
        _strings(metadata.get("annotations"), f"{path}.metadata.annotations"),
    )


def _read_scope(node: Node) -> str:
    scope = _string(node, "spec.scope")
    if scope not in ("Strict", "Namespace", "Cluster"):
        raise ManifestRefused("wrong-type", "spec.scope", node.at)
    return scope


def _read_name(metadata: dict[str, Node], name: str) -> str:
    """§4: absent counts as empty, and `null` as absent."""
    node = metadata.get(name)
    return "" if node is None or _is_null(node) else _string(node, f"metadata.{name}")


def _read_object(metadata: dict[str, Node], spec: Node) -> SealedSecret:
    """§4, from `metadata.name` on."""
    fields = _fields(spec, "spec", "scope envelopes encryptedData template")
    envelopes = _entries(fields["envelopes"], "spec.envelopes") if "envelopes" in fields else {}
    return SealedSecret(
        name=_read_name(metadata, "name"),
        namespace=_read_name(metadata, "namespace"),
        scope=_read_scope(fields["scope"]) if "scope" in fields else None,
        envelopes={name: _read_envelope(envelope) for name, envelope in envelopes.items()},
        encrypted_data=_strings(fields.get("encryptedData"), "spec.encryptedData"),
        template=_read_template(fields.get("template")),
    )


def read_tree(value: Any) -> SealedSecret:
    """§4: an object that did not come from a file, as Python's maps, strings, booleans and None."""
    node = node_of(value)
    root = _entries(node, "the object")
    for name, text in (("apiVersion", _API_VERSION), ("kind", "SealedSecret")):
        if _string(_required(root, name, node, name), name) != text:
            raise ManifestRefused("version", name)
    metadata = _entries(_required(root, "metadata", node, "metadata"), "metadata")
    return _read_object(metadata, _required(root, "spec", node, "spec"))


def node_of(value: Any) -> Node:
    """The node of a value that Python's `json` gave."""
    if isinstance(value, str):
        return Scalar(value, quoted=True)
    if isinstance(value, dict):
        return Map([(Scalar(key, quoted=True), node_of(item)) for key, item in value.items()])
    if isinstance(value, list):
        return Sequence([node_of(item) for item in value])
    return Scalar(json.dumps(value), quoted=False)  # true, false, null, numbers


# -------------------------------------------------------------------------------------- §10 manifests: documents

MAX_STREAM = 32 * 1024 * 1024
MAX_DOCUMENTS = 10_000
MAX_DOCUMENT = 8 * 1024 * 1024
MAX_NODES = 100_000
MAX_NODES_OF_STREAM = 2_000_000
MAX_OPEN_COLLECTIONS = 510
MAX_OPEN_OF_ONE_STYLE = 255  # in YAML
MAX_OBJECT = 3 * 512 * 1024
MAX_LISTS = 8
_LINE_END = re.compile(r"\r\n|\r|\n")
_OTHER_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")
_TAG_STR = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Document:
    """One document of a stream, with the positions of its first directive and its first line break of YAML 1.1."""

    node: Node
    directive: int | None = None
    line_break: int | None = None


@dataclass
class _Counts:
    """What the rule `size` counts of documents and nodes."""

    documents: int = 0
    nodes: int = 0  # of the document; keys and aliases count
    nodes_of_stream: int = 0

    def add_document(self, text: str, at: int) -> None:
        self.documents += 1
        self.nodes = 0
        if self.documents > MAX_DOCUMENTS or len(text.encode()) > MAX_DOCUMENT:
            raise ManifestRefused("size", "a document", at)

    def add_node(self, at: int | None) -> None:
        self.nodes += 1
        self.nodes_of_stream += 1
        if self.nodes > MAX_NODES or self.nodes_of_stream > MAX_NODES_OF_STREAM:
            raise ManifestRefused("size", "a node", at)


@dataclass
class _Open:
    """A collection that is not closed yet."""

    node: Map | Sequence
    is_flow: bool
    key: Node | None = None


class _Builder:
    """Builds the nodes of one document in the order of its text, and checks `size` on the way."""

    def __init__(self, counts: _Counts, most_open: int) -> None:
        self.root: Node = Scalar("", quoted=False)  # of an empty document
        self._counts = counts
        self._most_open = most_open  # of each style
        self._stack: list[_Open] = []
        self._anchors: set[str | None] = set()

    @property
    def is_complete(self) -> bool:
        return not self._stack

    def add(self, node: Node, anchor: str | None = None) -> None:
        self._counts.add_node(node.at)
        if anchor is not None:
            self._anchors.add(anchor)
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if isinstance(parent.node, Sequence):
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            parent.node.entries.append((parent.key, node))
            parent.key = None

    def open(self, node: Map | Sequence, is_flow: bool, anchor: str | None = None) -> None:
        self.add(node, anchor)
        self._stack.append(_Open(node, is_flow))
        if sum(1 for each in self._stack if each.is_flow == is_flow) > self._most_open:
            raise ManifestRefused("size", "a collection", node.at)

    def close(self) -> None:
        self._stack.pop()

    def alias(self, anchor: str | None, at: int) -> None:
        """YAML 1.2.2 §7.1: the anchor stands before its alias."""
        if anchor not in self._anchors:
            raise ManifestRefused("syntax", "an alias without its anchor", at)
        self.add(Alias(at=at))


def _with_pairs_joined(text: str, at: int) -> str:
    """§10, `syntax`: two escapes that make a surrogate pair are one character; half a pair is refused."""
    try:
        return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ManifestRefused("syntax", "half of a surrogate pair", at) from None


# ------------------------------------------------------------------------------------------- §10 manifests: JSON

_JSON_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*")
      | (?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)
      | (?P<mark>[\[\]{}:,])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_VALUE = ("string", "scalar", "[", "{")
_FIRST_KEY = ("string", "}")
_NEXT_KEY = ("string",)


class _NoJson(Exception):
    """The text is not a stream of JSON values."""


def _json_tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """The tokens of a stream of JSON values (RFC 8259), except colons and commas: kind, text and position.

    The kind is `string`, `scalar` or a bracket. Only collections are counted here, so that depth costs no recursion.
    """
    opened: list[str] = []
    expected: tuple[str, ...] = (*_VALUE, "end")
    at = 0
    while match := _JSON_TOKEN.match(text, at):
        at = match.end()
        group = match.lastgroup or ""
        kind = match[group] if group == "mark" else group
        if kind not in expected:
            break
        if kind == "end":
            return
        if kind not in (":", ","):
            yield kind, match[group], match.start(group)
        if kind in ("[", "{"):
            opened.append(kind)
            expected = (*_VALUE, "]") if kind == "[" else _FIRST_KEY
            continue
        if kind in ("]", "}"):
            opened.pop()
        is_key = kind == "string" and expected in (_FIRST_KEY, _NEXT_KEY)
        expected = (":",) if is_key else _expected_after(kind, opened[-1] if opened else "")
    raise _NoJson


def _expected_after(kind: str, collection: str) -> tuple[str, ...]:
    """RFC 8259: what may follow a colon, a comma or the end of a value, by the collection that it stands in."""
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _VALUE if collection == "[" else _NEXT_KEY
    return {"[": (",", "]"), "{": (",", "}")}.get(collection, (*_VALUE, "end"))


def _is_json(text: str) -> bool:
    """§10: whether a stream is JSON; every other is YAML."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return False
    try:
        for _ in _json_tokens(text):
            pass
    except _NoJson:
        return False
    return True


def _json_documents(text: str) -> Iterator[Document]:
    """§10: a stream that is JSON; each value is a document."""
    counts, start = _Counts(), 0
    builder = _Builder(counts, MAX_OPEN_COLLECTIONS)
    for kind, token, at in _json_tokens(text):
        if builder.is_complete:
            builder, start = _Builder(counts, MAX_OPEN_COLLECTIONS), at
        if kind == "string":
            builder.add(Scalar(_with_pairs_joined(json.loads(token), at), quoted=True, at=at))
        elif kind == "scalar":
            builder.add(Scalar(token, quoted=False, at=at))
        elif kind in ("[", "{"):
            builder.open(Sequence(at=at) if kind == "[" else Map(at=at), is_flow=True)
        else:
            builder.close()
        if builder.is_complete:
            counts.add_document(text[start : at + len(token)], start)
            yield Document(builder.root)


# ------------------------------------------------------------------------------------------- §10 manifests: YAML

_YAML_MARK = re.compile(r"(?:\A|(?<=[\r\n]))(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
_YAML_SUFFIX = re.compile(r"\.\.\.(?:[ \t]+(?:#[^\r\n]*)?)?[\r\n]*")
_YAML_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class _Piece:
    """The text of one document of YAML, and where it begins in the stream."""

    text: str
    start: int
    directive: int | None  # where the first of its directives stands
    suffix: int | None = None  # where in `text` its line `...` stands


def _first_directive(text: str) -> int | None:
    """§10: the position of the first directive; None without one, or if a line is no directive, comment or blank."""
    first: int | None = None
    for line in _YAML_LINE.finditer(text):
        if line[0].startswith("%"):
            first = line.start() if first is None else first
        elif line[0].strip(" \t\r\n")[:1] not in ("", "#"):
            return None
    return first


def _pieces(text: str) -> Iterator[_Piece]:
    """§10: cuts a YAML stream before each `---`, except after directives, and after each line `...`."""
    start, directive = 0, None
    for mark in _YAML_MARK.finditer(text):
        if mark[0] == "---":
            first = _first_directive(text[start : mark.start()])
            if first is not None:
                directive = start + first
                continue
            piece, start = _Piece(text[start : mark.start()], start, directive), mark.start()
        else:
            line = _YAML_LINE.match(text, mark.start())
            end = line.end() if line else len(text)
            piece, start = _Piece(text[start:end], start, directive, mark.start() - start), end
        directive = None
        if piece.text:
            yield piece
    if start < len(text):
        yield _Piece(text[start:], start, directive)


def _index_of(mark: Any) -> int:
    """The position of a mark of the library."""
    return 0 if mark is None else int(mark.index)


def _add_event(builder: _Builder, event: Any, at: int) -> None:
    """One event of the parser: the rules `tag` and `anchor` of a node are noted at it."""
    if isinstance(event, yaml.AliasEvent):
        builder.alias(event.anchor, at)
    elif isinstance(event, yaml.ScalarEvent):
        text, quoted = _with_pairs_joined(event.value, at), event.style is not None
        fault = "anchor" if event.anchor is not None else "tag" if event.tag not in (None, _TAG_STR) else None
        odd_tag = event.tag not in (None, _TAG_STR)
        if event.style is None and text.startswith("\ufeff"):
            raise ManifestRefused("syntax", "a byte order mark", at)
        builder.add(Scalar(text, quoted, event.tag == _TAG_STR, fault, at, odd_tag), event.anchor)
    elif isinstance(event, yaml.CollectionStartEvent):
        # !!str is refused too: a collection is not a string
        fault = "anchor" if event.anchor is not None else "tag" if event.tag is not None else None
        of_event = Map if isinstance(event, yaml.MappingStartEvent) else Sequence
        node = of_event(fault=fault, at=at, odd_tag=event.tag is not None)
        builder.open(node, bool(event.flow_style), event.anchor)
    elif isinstance(event, yaml.CollectionEndEvent):
        builder.close()


def _yaml_node(piece: _Piece, counts: _Counts) -> Node:
    """The node of one document, from parse events: nothing is resolved.

    The library reads YAML 1.1. What matters of the difference is in the rules of §10; else it refuses a few texts that
    YAML 1.2 allows, such as a tab after a colon, or a plain scalar in a flow map that begins with a colon.
    """

    if piece.suffix is not None and not _YAML_SUFFIX.fullmatch(piece.text, piece.suffix):
        raise ManifestRefused("syntax", "the end of a document", piece.start + piece.suffix)
    # To YAML 1.2 the other line breaks are ordinary characters, to the library line ends. Documents that hold one are
    # refused, so another ordinary character may stand for them while the rest is read.
    text = _OTHER_LINE_BREAKS.sub("\ufffd", piece.text[: piece.suffix])
    builder = _Builder(counts, MAX_OPEN_OF_ONE_STYLE)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _add_event(builder, event, piece.start + _index_of(event.start_mark))
    except yaml.YAMLError as error:
        at = getattr(error, "position", None) or _index_of(getattr(error, "problem_mark", None))
        raise ManifestRefused("syntax", "a document", piece.start + at) from None
    except (ValueError, OverflowError):  # what the library makes of an escape beyond U+10FFFF
        raise ManifestRefused("syntax", "a document", piece.start) from None
    return builder.root


def _yaml_documents(text: str) -> Iterator[Document]:
    """§10: a stream that is YAML."""
    counts = _Counts()
    for piece in _pieces(text):
        counts.add_document(piece.text, piece.start)
        line_break = _OTHER_LINE_BREAKS.search(piece.text)
        yield Document(
            _yaml_node(piece, counts),
            directive=piece.directive,
            line_break=piece.start + line_break.start() if line_break else None,
        )


# ---------------------------------------------------------------------------------------- §10 manifests: objects

_OBJECT_META = (
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation "
    "labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
)


def _is_merge_key(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.quoted and not node.tagged_str and node.text == "<<"


def _has_text(node: Node, *texts: str) -> bool:
    return isinstance(node, Scalar) and node.text in texts


def _is_disguised(node: Node) -> bool:
    return isinstance(node, Alias) or node.odd_tag


def _is_told_plainly(root: Map) -> bool:
    """§10: whether every reader sees the same `apiVersion`, `kind` and `items` in an object."""
    seen: set[str] = set()
    for key, value in root.entries:
        if _is_disguised(key) or _is_merge_key(key):
            return False
        if isinstance(key, Scalar) and key.text in ("apiVersion", "kind", "items"):
            if key.text in seen or _is_disguised(value):
                return False
            children = [child for entry in value.entries for child in entry] if isinstance(value, Map) else []
            if isinstance(value, Sequence):
                children = value.items
            if any(isinstance(child, Alias) for child in children):
                return False
            seen.add(key.text)
    return True


def _may_hide_a_kind(document: Node) -> bool:
    """§10: whether an object in this document that is not told plainly is refused."""
    for node in _nodes(document):
        if not isinstance(node, Alias) and node.odd_tag:
            return True
        if _has_text(node, "Secret", "SecretList", *_KINDS) or isinstance(node, Scalar) and node.text.startswith(_GROUP):
            return True
    return False


def _text_of(root: Map, name: str) -> str:
    """§10: a field that says what an object is; empty if the field is absent or not a string."""
    for key, value in root.entries:
        if _has_text(key, name) and isinstance(value, Scalar) and value.is_string:
            return value.text
    return ""


def _items_of(root: Map) -> list[Node]:
    """§10: the items of a list; wrong-type"""
    for key, items in root.entries:
        if _has_text(key, "items") and not _is_null(items):
            if not isinstance(items, Sequence):
                raise ManifestRefused("wrong-type", "items", items.at)
            return items.items
    return []


def _sealed_secrets(node: Node, document: Node, lists: int = 0, of_sealed_secrets: bool = False) -> Iterator[Map]:
    """§10: the SealedSecrets of a document, or of an item at this depth of lists."""
    if not isinstance(node, Map):
        return
    if not _is_told_plainly(node):
        if _may_hide_a_kind(document):
            _check_plain(node)
        return
    version, kind = _text_of(node, "apiVersion"), _text_of(node, "kind")
    of_our_group = version.startswith(_GROUP)
    half_named = of_sealed_secrets and bool(version) != bool(kind)
    if half_named or of_our_group and kind not in _KINDS:
        raise ManifestRefused("kind", "an object of waxseal.dev", node.at)
    if of_our_group and version != _API_VERSION and kind in ("SealedSecret", "SealedSecretList"):
        raise ManifestRefused("version", "an object", node.at)
    if of_our_group and kind == "SealedSecret" or of_sealed_secrets and not version and not kind:
        yield node
    elif (version, kind) in (("v1", "List"), ("v1", "SecretList"), (_API_VERSION, "SealedSecretList")):
        if lists == MAX_LISTS:
            raise ManifestRefused("size", "a list in lists", node.at)
        for item in _items_of(node):
            yield from _sealed_secrets(item, document, lists + 1, kind == "SealedSecretList")


def _nodes(root: Node) -> Iterator[Node]:
    """All nodes of an object. Aliases are not followed."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, Map):
            for key, value in reversed(node.entries):
                todo += (value, key)
        elif isinstance(node, Sequence):
            todo += reversed(node.items)


def _length_as_json(node: Node) -> int:
    """§10, `size`: what a node takes of its object's JSON, without what it holds."""
    if isinstance(node, Scalar):
        return len(node.text.encode()) + (2 if node.quoted else 0)
    if isinstance(node, Map):  # braces, colons and commas
        return 2 + len(node.entries) + max(0, len(node.entries) - 1)
    return 2 + max(0, len(node.items) - 1) if isinstance(node, Sequence) else 0


def _check_keys(node: Map) -> None:
    """§10: merge-key, wrong-type of a key, duplicate-key"""
    seen: set[str] = set()
    for key, _ in node.entries:
        if _is_merge_key(key):
            raise ManifestRefused("merge-key", "a key", key.at)
        if isinstance(key, (Map, Sequence)):
            raise ManifestRefused("wrong-type", "a key", key.at)
        if isinstance(key, Scalar):
            if key.text in seen:
                raise ManifestRefused("duplicate-key", "a key", key.at)
            seen.add(key.text)


def _check_plain(root: Map) -> None:
    """§10: the rules for the whole of an object, `status` included: anchor, tag, those of keys."""
    for node in _nodes(root):
        if node.fault is not None:
            raise ManifestRefused(node.fault, "a node", node.at)
        if isinstance(node, Map):
            _check_keys(node)


def _check_metadata(node: Node) -> dict[str, Node]:
    """§10: `metadata`, of which other programs set more than the format reads."""
    metadata = _fields(node, "metadata", _OBJECT_META, required="name")
    if "generateName" in metadata:
        raise ManifestRefused("generate-name", "metadata.generateName", metadata["generateName"].at)
    for name in ("labels", "annotations"):
        _strings(metadata.get(name), f"metadata.{name}")
    name_node, namespace = metadata["name"], metadata.get("namespace")
    if not is_object_name(_string(name_node, "metadata.name")):
        raise ManifestRefused("name", "metadata.name", name_node.at)
    if namespace is not None and not is_namespace(_string(namespace, "metadata.namespace")):
        raise ManifestRefused("name", "metadata.namespace", namespace.at)
    return metadata


def _read_sealed_secret(node: Map) -> SealedSecret:
    """Reads an object of a document (§10). If several rules are broken, the error may name any of them."""
    _check_plain(node)
    if sum(map(_length_as_json, _nodes(node))) > MAX_OBJECT:
        raise ManifestRefused("size", "an object", node.at)
    root = _fields(node, "the object", "apiVersion kind status", required="metadata spec")
    return _read_object(_check_metadata(root["metadata"]), root["spec"])


def _read_document(document: Document) -> Iterator[SealedSecret]:
    """§10: the SealedSecrets of a document; directive and line-break if there is one."""
    for node in _sealed_secrets(document.node, document.node):
        if document.directive is not None:
            raise ManifestRefused("directive", "a document", document.directive)
        if document.line_break is not None:
            raise ManifestRefused("line-break", "a document", document.line_break)
        yield _read_sealed_secret(node)


def read_manifest(data: bytes) -> list[SealedSecret]:
    """§10: the SealedSecrets of a file. Other objects are ignored."""
    if len(data) > MAX_STREAM:
        raise ManifestRefused("size", "the stream")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise ManifestRefused("syntax", "the stream is not UTF-8") from None
    try:
        documents = _json_documents(text) if _is_json(text) else _yaml_documents(text)
        return [sealed for document in documents for sealed in _read_document(document)]
    except ManifestRefused as refused:
        raise refused.with_place(text) from None


# ------------------------------------------------------------------------------ §6 decoding: checks without any key

_DNS_PART = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_REPLICATORS = (
    "reflector.v1.k8s.emberstack.com/",
    "replicator.v1.mittwald.de/",
    "kubed.appscode.com/",
    "cluster.open-cluster-management.io/",
    "propagate.hnc.x-k8s.io/",
    "replicator.nadundesilva.github.io/",
    "management.cattle.io/",
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
        fail("commitment-foreign")
    if not envelope.wraps:
        fail("wraps-empty")
    if len(envelope.wraps) > 16:
        fail("wrap-count")
    wraps = {key_id: _decode_wrap(name, key_id, envelope.wraps[key_id]) for key_id in in_order(envelope.wraps)}
    if len({wrap.age.stanza.kind for wrap in wraps.values()}) > 1:
        fail("wraps-mixed")
    bound_to: dict[str, str] = {}
    if sealed.bound_scope != "Cluster":
        bound_to["namespace"] = sealed.namespace
    if sealed.bound_scope == "Strict":
        bound_to["name"] = sealed.name
    if envelope.bound_to != bound_to:
        raise Refused("bound-to", "Moved", envelope=name)
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
    if template.secret_type in forbidden or template.secret_type.startswith("waxseal.dev/"):
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
    if sum(min(len(token.ciphertext) - 16 - 4, MAX_DATA) for token in tokens.values()) > MAX_DATA:
        raise Refused("data-size", "TooLarge")
    _check_template(sealed.template)
    return Decoded(sealed, envelopes, tokens)


# ------------------------------------------------------------------------------------------------------ §7 opening

MAX_CANDIDATES = 4


@dataclass(frozen=True)
class Opened:
    """All data of a Secret."""

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
    if length > min(len(plaintext) - 4, MAX_DATA) or padded_length(length) != len(plaintext):
        return None
    value, zeros = plaintext[4 : 4 + length], plaintext[4 + length :]
    return value if zeros == bytes(len(zeros)) else None


def open_decoded(decoded: Decoded, held: list[HeldKey], deks: list[bytes] | None = None) -> Opened:
    """§7. `deks` are DEKs from elsewhere; each is used for the envelope that has its commitment."""
    sealed = decoded.sealed
    held = in_order_of_held_keys(held_once(held))
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
    for data_key, token in decoded.tokens.items():  # §7.5
        binding = binding_of(sealed.bound_scope, sealed.namespace, sealed.name, data_key)
        key, nonce = value_key(opened[token.envelope], token.salt, binding)
        try:
            plaintext = AESGCM(key).decrypt(nonce, token.ciphertext, b"")
        except InvalidTag:
            raise Refused("value-authentication", "Unreadable", data_key=data_key) from None
        value = _unpad(plaintext)
        if value is None:
            raise Refused("value-padding", "Unreadable", data_key=data_key)
        data[data_key] = value
    return Opened(data, sorted(used), broken, sealed)


# ----------------------------------------------------------------------------------------------- the command line


def read_identity_file(text: str) -> list[HeldKey]:
    """§3.3: an identity file; §3.4: all of them are Active Cluster keys of one creation time."""
    lines = [line.rstrip(" \t\r") for line in text.split("\n")]
    held = [HeldKey(read_identity(line)) for line in lines if line and not line.startswith("#")]
    if not held:
        raise BadKey("an identity file without an identity")
    return held


def read_dek_file(data: bytes) -> bytes:
    """The output of `age -d`: 32 bytes; or the same in 64 hex digits."""
    if len(data) == 32:
        return data
    try:
        dek = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        dek = b""
    if len(dek) != 32:
        raise BadKey("a DEK is 32 bytes, or 64 hex digits")
    return dek


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Open SealedSecrets of Waxseal, for recovery.")
    commands = parser.add_subparsers(dest="command", required=True)
    opening = commands.add_parser("open", help="print the values of a manifest as JSON, in base64")
    opening.add_argument("--identity", action="append", default=[], metavar="FILE", help="age's identity file")
    opening.add_argument("--dek-file", action="append", default=[], metavar="FILE", help="a DEK, from `age -d`")
    opening.add_argument("--object", metavar="NAMESPACE/NAME", help="which SealedSecret, if the manifest has several")
    opening.add_argument("manifest", metavar="MANIFEST")
    options = parser.parse_args(arguments)
    if not options.identity and not options.dek_file:
        parser.error("give --identity or --dek-file")
    try:
        held: list[HeldKey] = []
        for path in options.identity:
            try:
                with open(path, encoding="utf-8", newline="") as file:  # only the line ends of §3.3
                    held += read_identity_file(file.read())
            except (BadKey, UnicodeDecodeError) as error:
                fault = error if isinstance(error, BadKey) else "not UTF-8"  # a UnicodeDecodeError would quote the file
                advice = "if the file has a passphrase, decrypt it first with `age -d`"
                raise BadKey(f"{path}: {fault} ({advice})") from None
        deks = []
        for path in options.dek_file:
            with open(path, "rb") as raw:
                deks.append(read_dek_file(raw.read(100)))
        with open(options.manifest, "rb") as raw:
            objects = read_manifest(raw.read(MAX_STREAM + 1))
        if options.object is not None:
            objects = [sealed for sealed in objects if f"{sealed.namespace}/{sealed.name}" == options.object]
        if len(objects) != 1:
            advice = "choose one with --object NAMESPACE/NAME"
            print(f"error: found {len(objects)} SealedSecrets instead of one: {advice}", file=sys.stderr)
            return 2
        opened = open_decoded(decode(objects[0]), held, deks)
    except (Refused, ManifestRefused, BadKey, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, key_ids in opened.broken_wraps.items():
        print(f"warning: wrong proofs in envelope {name}, wraps {', '.join(key_ids)}", file=sys.stderr)
    print(json.dumps({key: base64.b64encode(value).decode() for key, value in opened.data.items()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
