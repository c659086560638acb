"""The statements of the release whose schema is revision 0001, as its code sent them: they have to work for ever.

During a rolling upgrade the new schema is there while processes of the release before still run.
"""

from __future__ import annotations

from typing import Final

CREATE_DOMAIN: Final = "INSERT INTO domain (id, name) VALUES (:id, :name) ON CONFLICT DO NOTHING RETURNING id"

CREATE_ACCOUNT: Final = (
    "INSERT INTO account (id, domain_id, address, password_hash)"
    " VALUES (:id, :domain_id, :address, :password_hash) ON CONFLICT (address) DO NOTHING RETURNING id"
)

FIRST_MAILBOXES: Final = (
    "INSERT INTO mailbox (account_id, id, name, special_use)"
    " SELECT :account_id, * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:uses AS text[]))"
)

CREATE_MAILBOXES: Final = (
    "INSERT INTO mailbox (account_id, id, name)"
    " SELECT :account_id, id, name FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS t (id, name)"
    " ON CONFLICT (account_id, name) DO NOTHING RETURNING id, name"
)

RENAME_MAILBOX: Final = (
    "UPDATE mailbox SET name = :new || substr(name, length(:old) + 1)"
    " WHERE account_id = :account_id AND (name = :old OR starts_with(name, :old || '/'))"
)

DELETE_MAILBOX: Final = (
    "DELETE FROM message WHERE account_id = :account_id AND mailbox_id = :id",
    "DELETE FROM expunged WHERE account_id = :account_id AND mailbox_id = :id",
    "DELETE FROM mailbox WHERE account_id = :account_id AND id = :id",
)

INSERT_BLOBS: Final = """
INSERT INTO blob (id, object_key, object_offset, length, sha256, summary)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:offsets AS bigint[]),
                     CAST(:lengths AS bigint[]), CAST(:hashes AS bytea[]), CAST(:summaries AS bytea[]))
"""

INSERT_TRANSMISSIONS: Final = """
INSERT INTO transmission (id, account_id, reverse_path, blob_id, octets, smtputf8)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]), CAST(:paths AS text[]),
                     CAST(:blobs AS uuid[]), CAST(:octets AS bigint[]), CAST(:utf8 AS boolean[]))
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

INSERT_DELIVERIES: Final = """
INSERT INTO delivery (id, transmission_id, recipient, domain, expires_at)
SELECT id, transmission_id, recipient, domain, now() + make_interval(secs => lifetime)
FROM unnest(CAST(:ids AS uuid[]), CAST(:transmissions AS uuid[]), CAST(:recipients AS text[]),
            CAST(:domains AS text[]), CAST(:lifetimes AS float8[]))
     AS t (id, transmission_id, recipient, domain, lifetime)
"""

LOCK_MAILBOXES: Final = """
SELECT id FROM mailbox
WHERE (account_id, id) IN (
    SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])))
ORDER BY account_id, id FOR UPDATE
"""

INSERT_MESSAGES: Final = """
WITH incoming AS (
    SELECT account_id, mailbox_id, blob_id, email_id, octets, internal_date,
           string_to_array(flags, ' ') AS flags, n,
           row_number() OVER (PARTITION BY account_id, mailbox_id ORDER BY n) - 1 AS place
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[]), CAST(:blobs AS uuid[]),
                CAST(:emails AS uuid[]), CAST(:octets AS bigint[]), CAST(:dates AS bigint[]),
                CAST(:flags AS text[]))
         WITH ORDINALITY AS t (account_id, mailbox_id, blob_id, email_id, octets, internal_date, flags, n)
), total AS (
    SELECT account_id, mailbox_id, count(*) AS messages, sum(octets) AS octets,
           count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
    FROM incoming GROUP BY account_id, mailbox_id
), counted AS (
    UPDATE mailbox SET uid_next = mailbox.uid_next + total.messages,
                       highest_modseq = mailbox.highest_modseq + 1,
                       messages = mailbox.messages + total.messages,
                       unseen = mailbox.unseen + total.unseen,
                       octets = mailbox.octets + total.octets
    FROM total WHERE mailbox.account_id = total.account_id AND mailbox.id = total.mailbox_id
    RETURNING mailbox.account_id, mailbox.id AS mailbox_id, mailbox.uid_next - total.messages AS first_uid,
              mailbox.highest_modseq, mailbox.uid_validity
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)
    SELECT account_id, mailbox_id, first_uid + place, blob_id, highest_modseq, flags, internal_date,
           email_id, octets
    FROM incoming JOIN counted USING (account_id, mailbox_id)
)
SELECT n, account_id, mailbox_id, first_uid + place AS uid, uid_validity, highest_modseq AS modseq
FROM incoming JOIN counted USING (account_id, mailbox_id) ORDER BY n
"""

COPY: Final = """
WITH copied AS (
    SELECT uid, blob_id, flags, internal_date, email_id, octets,
           :uid_next + row_number() OVER (ORDER BY uid) - 1 AS new_uid
    FROM message
    WHERE account_id = :account_id AND mailbox_id = :source_id
      AND (CAST(:uids AS bigint[]) IS NULL OR uid = ANY (CAST(:uids AS bigint[])))
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)
    SELECT :account_id, :target_id, new_uid, blob_id, :modseq, flags, internal_date, email_id, octets FROM copied
)
SELECT array_agg(uid ORDER BY uid) AS source_uids, array_agg(new_uid ORDER BY uid) AS target_uids,
       coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM copied
"""

REMOVE: Final = """
WITH gone AS (
    DELETE FROM message
    WHERE account_id = :account_id AND mailbox_id = :mailbox_id
      AND (CAST(:uids AS bigint[]) IS NULL OR uid = ANY (CAST(:uids AS bigint[])))
      AND (:force OR '\\Deleted' = ANY (flags))
    RETURNING uid, octets, flags
), tombstone AS (
    INSERT INTO expunged (account_id, mailbox_id, uid, modseq)
    SELECT :account_id, :mailbox_id, uid, :modseq FROM gone
)
SELECT array_agg(uid ORDER BY uid) AS uids, coalesce(sum(octets), 0) AS octets,
       count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
FROM gone
"""

COUNT: Final = (
    "UPDATE mailbox SET highest_modseq = :modseq, messages = messages + :messages, unseen = unseen + :unseen,"
    " octets = octets + :octets, uid_next = uid_next + greatest(:messages, 0)"
    " WHERE account_id = :account_id AND id = :mailbox_id"
)
