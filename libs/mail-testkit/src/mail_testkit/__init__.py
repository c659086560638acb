"""Test fixtures of Postroom: real servers, certificates, transcripts."""

__version__ = "0.1.0"
