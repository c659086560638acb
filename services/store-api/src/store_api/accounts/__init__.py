"""Accounts, passwords, the maildrop lock."""
