"""The postroom command, with the one-machine launcher."""

__version__ = "0.1.0"
