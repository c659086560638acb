"""Who sent a message: SPF, DKIM, DMARC, ARC, and the header field that tells of them.

Without I/O: whoever needs an answer of the DNS is a generator (`inquiry.Inquiry`) that yields questions and is sent
answers. Public keys are used by functions that are passed in.
"""
