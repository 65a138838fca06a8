#!/usr/bin/env python3
"""Checks a Waybill proof without Waybill: written from ledger/FORMAT.md alone.

    verify.py PROOF [KEY]

Needs two packages: blake3, and cryptography for Ed25519. Prints one JSON document and ends with 0 if the proof holds,
prints why not and ends with 1 if it does not.
"""

import base64
import hashlib
import json
import sys

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """The proof proves nothing, and why."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def b64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except Exception as error:
        raise Refused(f"a part is not base64: {error}") from error
    # The unused bits of the last character are zero: one value has one text.
    need(base64.b64encode(data).decode() == text, "a part is not base64 as it is written")
    return data


def digest(text):
    value = b64(text)
    need(len(value) == 32, "a hash does not have 32 bytes")
    return value


# -- trees: RFC 6962, section 2.1, with blake3


def leaf(data):
    return blake3(b"\x00" + data).digest()


def node(left, right):
    return blake3(b"\x01" + left + right).digest()


def root_of(start, index, size, path):
    """The root that a path leads to; RFC 9162, section 2.1.3.2."""
    need(index < size, "an index is outside of its tree")
    at, last, value = index, size - 1, start
    for sibling in path:
        need(last != 0, "a path is too long")
        if at & 1 or at == last:
            value = node(sibling, value)
            while at & 1 == 0 and at != 0:
                at >>= 1
                last >>= 1
        else:
            value = node(value, sibling)
        at >>= 1
        last >>= 1
    need(last == 0, "a path is too short")
    return value


# -- heads: C2SP tlog-checkpoint, signed as signed-note


def open_note(note, key):
    name, key_hash, public = key.split("+", 2)
    public = b64(public)
    need(len(public) == 33 and public[0] == 1, "the key is not of the kind Ed25519")
    expected = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    need(key_hash == expected.hex(), "the key's hash is not its own")
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    need(origin == name, "the head is of another ledger than the key")
    for line in signatures.splitlines():
        need(line.startswith("\u2014 "), "a signature line is not one")
        signer, _, signature = line[2:].partition(" ")
        signature = b64(signature)
        if signer != name or signature[:4] != expected:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text.encode())
        except InvalidSignature:
            raise Refused("the head was changed after it was signed") from None
        return int(size), digest(root)
    raise Refused("the head is not signed by the key")


# -- blocks and envelopes


def header(data):
    need(len(data) == 192, "the header does not have 192 bytes")
    need(data[:4] == b"WBLK", "the header does not begin like one")
    need(data[4:6] == b"\x01\x00", "a newer release wrote the block")
    number = lambda at, length: int.from_bytes(data[at : at + length], "little")
    return {"first": number(8, 8), "events": number(16, 4), "envelopes": data[56:88]}


def varint(data, at):
    """An unsigned integer of bincode's variable encoding."""
    first = data[at]
    if first <= 250:
        return first, at + 1
    length = {251: 2, 252: 4, 253: 8, 254: 16}.get(first)
    need(length is not None, "an integer is not one")
    return int.from_bytes(data[at + 1 : at + 1 + length], "little"), at + 1 + length


def signed(data, at):
    value, at = varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def option(data, at):
    need(data[at] in (0, 1), "an option is not one")
    return data[at] == 1, at + 1


def envelope(data):
    """The circumstances of an event, and the commitment at its end. What the event itself says is left in between."""
    position, at = varint(data, 0)
    time, at = signed(data, at)
    run = None
    there, at = option(data, at)
    if there:
        run, at = varint(data, at)
    actor, at = varint(data, at)
    count, at = varint(data, at)
    causes = []
    for _ in range(count):
        cause, at = varint(data, at)
        causes.append(cause)
    subject = None
    there, at = option(data, at)
    if there:
        subject, at = varint(data, at)
    there, at = option(data, at)
    if there:
        _, at = varint(data, at)
        _, at = varint(data, at)
    there, at = option(data, at)
    if there:
        _, at = varint(data, at)
    kind, _ = varint(data, at)
    # The last thing in an envelope: 0, or 1 and the commitment.
    commitment = None
    if len(data) >= 33 and data[-33] == 1 and len(data) - 33 > at:
        commitment = data[-32:]
    return {
        "position": position,
        "time": time,
        "run": run,
        "actor": actor,
        "causes": causes,
        "subject": subject,
        "kind": kind,
        "commitment": commitment,
    }


def commitment(salt, plain):
    return blake3(bytes([1, plain[0]]) + len(plain).to_bytes(8, "little") + plain, key=salt).digest()


# -- proofs


def verify(proof, known_key):
    need(proof.get("form") == "waybill proof 1", "it is not a proof of this form")
    need(known_key is None or proof["key"] == known_key, "it is signed by another key than the one given")
    blocks, root = open_note(proof["head"], proof["key"])
    head = b64(proof["header"])
    about = header(head)
    found = root_of(leaf(head), proof["block"], blocks, [digest(part) for part in proof["block_path"]])
    need(found == root, "its block is not among those that the head speaks of")
    data = b64(proof["envelope"])
    index = proof["position"] - about["first"]
    need(0 <= index < about["events"], "its event is of another block")
    found = root_of(leaf(data), index, about["events"], [digest(part) for part in proof["envelope_path"]])
    need(found == about["envelopes"], "its event is not in its block")
    event = envelope(data)
    need(event["position"] == proof["position"], "its event has another position")
    shown = None
    if "content" in proof:
        salt, plain = b64(proof["content"]["salt"]), b64(proof["content"]["plain"])
        need(len(salt) == 32 and plain, "its content has no salt or no bytes")
        need(event["commitment"] == commitment(salt, plain), "its content is not the one that its event commits to")
        shown = plain.hex()
    del event["commitment"]
    return {**event, "blocks": blocks, "root": root.hex(), "key": proof["key"], "plain": shown}


def main():
    known_key = sys.argv[2] if len(sys.argv) > 2 else None
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            proof = json.load(file)
        print(json.dumps(verify(proof, known_key)))
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        sys.exit(1)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError) as error:
        print(f"refused: it is not a proof: {error!r}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
