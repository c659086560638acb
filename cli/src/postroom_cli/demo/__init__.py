"""`postroom demo`: a message from Alice to Bill's mail server, and his answer by push."""
