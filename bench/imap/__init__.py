"""IMAP, Postroom beside Dovecot: the client, the rows, the servers, and what sessions and large mailboxes take."""
