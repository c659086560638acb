"""What the frontends call: MessagePack and raw octets, service token only."""
