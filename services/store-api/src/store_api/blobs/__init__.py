"""Immutable octets in object storage."""

import mmap

# What was received: in memory, or a file that is mapped when it is large.
Octets = bytes | mmap.mmap
