"""Internet messages: MIME structure, header fields, summaries, sections, text (RFC 5322, RFC 2045 to 2047).

Everything here takes any octets whatever and answers in linear time; nothing raises. Both CRLF and bare LF
end a line. Offsets count octets from the start of the message and are half-open.
"""
