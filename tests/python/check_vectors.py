"""Run the test vectors of FORMAT.md §14 on the reader beside this file: `python check_vectors.py FOLDER`.

Prints one line for each file, and one with the name of each vector that disagrees. Exits with 1 if there is such a
vector, an unknown or absent file or field, or nothing to check. The expectation of a vector is compared as a
whole: an additional field on either side is a mismatch. Like the reader, this was written from FORMAT.md, without
reading the programs. Change it in the same way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import waxseal_reader as reader

Vector = dict[str, Any]
LARGEST_IN_FULL = 4096  # §14: larger values are given by length and digest


class Mismatch(Exception):
    """What was expected, and what came."""


def expect(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise Mismatch(f"{what}: expected {str(expected)[:300]}, got {str(got)[:300]}")


def known_fields(where: str, fields: dict[str, Any], required: str, optional: str = "") -> None:
    names = set(required.split())
    absent, unknown = names - set(fields), set(fields) - names - set(optional.split())
    if absent or unknown:
        raise Mismatch(f"fields of {where}: absent {sorted(absent)}, unknown {sorted(unknown)}")


def check_key(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment identity recipient recipientBytes keyId fingerprint")
    for text in (vector["identity"], vector["identity"].lower()):
        identity = reader.read_identity(text)
        expect("recipient", vector["recipient"], identity.recipient)
        expect("recipientBytes", vector["recipientBytes"], identity.recipient_bytes.hex())
        expect("keyId", vector["keyId"], identity.key_id)
        expect("fingerprint", vector["fingerprint"], identity.fingerprint)
    expect("bytes read", (identity.kind, identity.recipient_bytes), reader.read_recipient(vector["recipient"]))


def check_refused_recipient(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment recipient")
    try:
        reader.read_recipient(vector["recipient"])
    except reader.BadKey:
        return
    raise Mismatch("the recipient was accepted")


def check_refused_identity(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment identity")
    try:
        reader.read_identity(vector["identity"])
    except reader.BadKey:
        return
    raise Mismatch("the identity was accepted")


def check_padding(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment length paddedLength")
    expect("paddedLength", vector["paddedLength"], reader.padded_length(vector["length"]))
    expect("is a padded length", True, reader.is_padded_length(vector["paddedLength"]))


def check_derivation(vector: Vector) -> None:
    known_fields(
        "the vector", vector, "name comment dek commitment envelopeId binding salt key nonce plaintext value token"
    )
    bound = vector["binding"]
    known_fields("binding", bound, "scope namespace name dataKey bytes")
    dek, salt, value = (bytes.fromhex(vector[name]) for name in ("dek", "salt", "value"))
    commitment = reader.commitment_of(dek)
    expect("commitment", vector["commitment"], commitment.hex())
    expect("envelopeId", vector["envelopeId"], reader.envelope_id_of(commitment))
    binding = reader.binding_of(bound["scope"], bound["namespace"], bound["name"], bound["dataKey"])
    expect("binding", bound["bytes"], binding.hex())
    key, nonce = reader.value_key(dek, salt, binding)
    expect("key", vector["key"], key.hex())
    expect("nonce", vector["nonce"], nonce.hex())
    plaintext = (reader.u32(len(value)) + value).ljust(reader.padded_length(len(value)), b"\0")
    expect("plaintext", vector["plaintext"], plaintext.hex())
    body = reader.encode_base64url(salt + AESGCM(key).encrypt(nonce, plaintext, b""))
    expect("token", vector["token"], f"wax1.{vector['envelopeId']}.{body}")


def check_wrap(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment identity keyId dek fileKey ageFile proof wrap")

    def fail(check: str) -> Any:
        raise Mismatch(f"the age file was refused: {check}")

    identity = reader.read_identity(vector["identity"])
    expect("keyId", vector["keyId"], identity.key_id)
    age_file = base64.b64decode(vector["ageFile"])
    opened = reader.open_age_file(identity, reader.read_age_file(age_file, fail))
    if opened is None:
        raise Mismatch("the age file does not open")
    expect("dek", vector["dek"], opened[0].hex())
    expect("fileKey", vector["fileKey"], opened[1].hex())
    proof = reader.proof_of(opened[0], identity.key_id, age_file)
    expect("proof", vector["proof"], proof.hex())
    expect("wrap", vector["wrap"], f"{vector['ageFile']}.{reader.encode_base64url(proof)}")


def append_to(tree: Any, entry: dict[str, Any]) -> None:
    known_fields("append", entry, "at text times")
    for step in entry["at"][:-1]:
        tree = tree[step]
    tree[entry["at"][-1]] += entry["text"] * entry["times"]


def opened_as_expected(opened: reader.Opened) -> dict[str, Any]:
    """An opened object as §14 writes it."""

    def shown(value: bytes) -> dict[str, Any]:
        if len(value) <= LARGEST_IN_FULL:
            return {"base64": base64.b64encode(value).decode()}
        return {"length": len(value), "sha256": hashlib.sha256(value).hexdigest()}

    template = opened.sealed.template
    secret: dict[str, Any] = {
        "type": template.secret_type,
        "labels": template.labels,
        "annotations": template.annotations,
    }
    if template.immutable is not None:
        secret["immutable"] = template.immutable
    return {
        "opened": {
            "data": {key: shown(value) for key, value in opened.data.items()},
            "openedWith": opened.opened_with,
            "brokenWraps": opened.broken_wraps,
            "secret": secret,
        }
    }


def check_object(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment identities object expected", "append")
    for entry in vector.get("append", []):
        append_to(vector["object"], entry)
    held = []
    for entry in vector["identities"]:
        known_fields("an identity", entry, "identity role state createdAt")
        if entry["role"] not in ("Cluster", "Recovery") or entry["state"] not in ("Active", "Retired", "Revoked"):
            raise Mismatch("an unknown role or state")
        identity = reader.read_identity(entry["identity"])
        held.append(reader.HeldKey(identity, entry["role"], entry["state"], reader.read_instant(entry["createdAt"])))
    sealed = reader.read_tree(vector["object"])
    try:
        opened = reader.open_decoded(reader.decode(sealed), held)
    except reader.Refused as refused:
        got: dict[str, Any] = {"refused": {"check": refused.check, "reason": refused.reason, "at": refused.at}}
    else:
        got = opened_as_expected(opened)
        # Not asked for by §14: the same object as the text of a file gives the same.
        expect("the object as JSON text", [sealed], reader.read_manifest(json.dumps(vector["object"]).encode()))
    expect("result", vector["expected"], got)


def check_refused_tree(vector: Vector) -> None:
    known_fields("the vector", vector, "name comment object refused")
    try:
        reader.read_tree(vector["object"])
    except reader.ManifestRefused as refused:
        expect("rule", vector["refused"], refused.rule)
    else:
        raise Mismatch("the tree was read")


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != {}}


def spec_of(sealed: reader.SealedSecret) -> dict[str, Any]:
    """The `spec` that was read, without fields that are absent or empty maps (§14)."""
    template = sealed.template
    metadata = without_empty({"labels": template.labels, "annotations": template.annotations})
    envelopes = {
        name: without_empty(
            {"boundTo": envelope.bound_to, "commitment": envelope.commitment, "wraps": envelope.wraps}
        )
        for name, envelope in sealed.envelopes.items()
    }
    return without_empty(
        {
            "scope": sealed.scope,
            "envelopes": envelopes,
            "encryptedData": sealed.encrypted_data,
            "template": without_empty(
                {"type": template.type, "immutable": template.immutable, "metadata": metadata}
            ),
        }
    )


def manifest_of(vector: Vector) -> bytes:
    """§14: `text`, or `textBase64`; and what `append` adds."""
    manifest: bytes = vector["text"].encode() if "text" in vector else base64.b64decode(vector["textBase64"])
    if "append" in vector:
        known_fields("append", vector["append"], "text times")
        manifest += vector["append"]["text"].encode() * vector["append"]["times"]
    return manifest


def known_fields_of_manifest(vector: Vector, outcome: str) -> None:
    text = "textBase64" if "textBase64" in vector else "text"
    known_fields("the vector", vector, f"name comment {text} {outcome}", "append")


def check_manifest_read(vector: Vector) -> None:
    known_fields_of_manifest(vector, "specs")
    expect("specs", vector["specs"], [spec_of(sealed) for sealed in reader.read_manifest(manifest_of(vector))])


def check_manifest_refused(vector: Vector) -> None:
    known_fields_of_manifest(vector, "refused")
    try:
        reader.read_manifest(manifest_of(vector))
    except reader.ManifestRefused as refused:
        expect("rule", vector["refused"], refused.rule)
    else:
        raise Mismatch("the manifest was read")


CHECKS: dict[str, Callable[[Vector], None]] = {
    "keys.json": check_key,
    "recipients-refused.json": check_refused_recipient,
    "identities-refused.json": check_refused_identity,
    "padding.json": check_padding,
    "derivations.json": check_derivation,
    "wraps.json": check_wrap,
    "opening.json": check_object,
    "opening-large.json": check_object,
    "order-of-checks.json": check_object,
    "trees-refused.json": check_refused_tree,
    "manifests-read.json": check_manifest_read,
    "manifests-refused.json": check_manifest_refused,
}


def check_file(path: Path) -> tuple[int, int]:
    """The numbers of vectors that passed and that failed."""
    refusals = path.name.startswith("refused-") and path.name.endswith(".json")
    check = check_object if refusals else CHECKS.get(path.name)
    if check is None:
        print(f"{path.name}: unknown file")
        return 0, 1
    names: set[str] = set()
    passed = failed = 0
    try:
        file = json.loads(path.read_bytes().decode("utf-8"))
        known_fields("the file", file, "vectors", "specification")
        vectors = file["vectors"]
    except (ValueError, Mismatch) as error:
        print(f"{path.name}: {error}")
        return 0, 1
    for number, vector in enumerate(vectors, 1):
        name = vector.get("name", f"(vector {number})")
        try:
            if name in names:
                raise Mismatch("another vector has this name")
            names.add(name)
            check(vector)
            if refusals and "refused" not in vector["expected"]:
                raise Mismatch("opens, in a file of refusals")
            passed += 1
        except Exception as error:  # any failure of the reader is a mismatch, and the next vector is still checked
            failed += 1
            print(f"{path.name}: {name}: {'' if isinstance(error, Mismatch) else type(error).__name__ + ': '}{error}")
    if not vectors:
        print(f"{path.name}: no vectors")
        failed += 1
    print(f"{path.name}: {passed} passed, {failed} failed")
    return passed, failed


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python check_vectors.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    counts = [check_file(path) for path in paths]
    passed, failed = (sum(column) for column in zip(*counts)) if counts else (0, 0)
    for name in sorted(set(CHECKS) - {path.name for path in paths}):
        print(f"{name}: absent")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
