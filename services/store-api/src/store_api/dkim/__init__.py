"""DKIM: the keys of domains, and signing what leaves."""
