"""Where mail is imported from: mbox files, Maildirs, folders of `.eml` files, IMAP servers."""
