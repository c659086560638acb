"""What each Postroom process needs: contracts, store client, bus, settings, TLS, logs, health, lifecycle."""

__version__ = "0.1.0"
