-- What a service says (outbox), what it has heard (inbox), and what it could not make sense of (dead_letter).
-- Times are milliseconds since 1970-01-01T00:00:00Z.

-- seq gives the order of commits: there is one writer at a time, so a row never appears below a seq already seen.
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    topic        TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    message      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    delivered_at INTEGER
) STRICT;
CREATE INDEX outbox_undelivered ON outbox (seq, topic, subject) WHERE delivered_at IS NULL;
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;

-- Subscribers that have a message already while another is still missing. Gone once the outbox row is delivered.
CREATE TABLE outbox_receipt (
    seq        INTEGER NOT NULL REFERENCES outbox (seq) ON DELETE CASCADE,
    subscriber TEXT    NOT NULL,
    PRIMARY KEY (seq, subscriber)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id          TEXT    NOT NULL PRIMARY KEY,
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_received_at ON inbox (received_at);

CREATE TABLE dead_letter (
    id          TEXT    NOT NULL PRIMARY KEY,
    topic       TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    error       TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
