"""Domains and where a recipient address leads."""
