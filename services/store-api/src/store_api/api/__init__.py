"""The two faces of the store over HTTP."""
