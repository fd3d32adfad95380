-- Answers that a client may ask for again with the same Idempotency-Key. stored_at: milliseconds since 1970.
CREATE TABLE idempotency (
    operation   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    location    TEXT,
    body        TEXT    NOT NULL,
    stored_at   INTEGER NOT NULL,
    PRIMARY KEY (operation, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_stored_at ON idempotency (stored_at);
