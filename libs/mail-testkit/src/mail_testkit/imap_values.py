"""A strict reader of IMAP values as servers send them: list, quoted, literal, number, NIL (RFC 9051 §4)."""

from __future__ import annotations


def read_value(rendered: bytes) -> object:
    """One value, and nothing behind it: list, bytes, int or None. Raises AssertionError: a client would stumble."""
    value, end = _value(rendered, 0)
    assert end == len(rendered)
    return value


def _value(octets: bytes, at: int) -> tuple[object, int]:
    first = octets[at : at + 1]
    if first == b"(":
        return _list(octets, at + 1)
    if first == b'"':
        return _quoted(octets, at + 1)
    if first == b"{":
        end = octets.index(b"}\r\n", at)
        start, length = end + 3, int(octets[at + 1 : end])
        assert b"\x00" not in octets[start : start + length]
        assert start + length <= len(octets)
        return octets[start : start + length], start + length
    end = at
    while octets[end : end + 1] not in (b" ", b")", b"(", b""):
        end += 1
    word = octets[at:end]
    assert word == b"NIL" or word.isdigit(), word
    return (None if word == b"NIL" else int(word)), end


def _list(octets: bytes, at: int) -> tuple[list[object], int]:
    values: list[object] = []
    while octets[at : at + 1] != b")":
        value, at = _value(octets, at)
        values.append(value)
        if octets[at : at + 1] == b" ":
            at += 1
            assert octets[at : at + 1] != b")"
        else:
            # Only lists may follow one another without a space (addresses, bodies).
            assert octets[at : at + 1] == b")" or (isinstance(value, list) and octets[at : at + 1] == b"(")
    assert values
    return values, at + 1


def _quoted(octets: bytes, at: int) -> tuple[bytes, int]:
    text = bytearray()
    while (octet := octets[at : at + 1]) != b'"':
        if octet == b"\\":
            at += 1
            octet = octets[at : at + 1]
            assert octet in (b'"', b"\\")
        assert octet not in (b"", b"\r", b"\n", b"\x00")
        assert octet < b"\x80"
        text += octet
        at += 1
    return bytes(text), at + 1
