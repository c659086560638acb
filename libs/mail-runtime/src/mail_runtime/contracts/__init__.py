"""What the parts say to each other on the wire: values without I/O.

Internal HTTP bodies are MessagePack (msgspec); bulk bytes are framed after them (see `framing`).
"""
