"""What is asked about the sender of a message: DNS look-ups, keys, the public suffix list."""
