"""Immutable octets in object storage."""
