CREATE TABLE consumer (
    id         TEXT    NOT NULL PRIMARY KEY,
    first_name TEXT    NOT NULL,
    last_name  TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    blocked    INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE consumer_address (
    id          TEXT    NOT NULL PRIMARY KEY,
    consumer_id TEXT    NOT NULL REFERENCES consumer (id),
    position    INTEGER NOT NULL,
    label       TEXT    NOT NULL,
    street1     TEXT    NOT NULL,
    street2     TEXT,
    city        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    zip         TEXT    NOT NULL,
    UNIQUE (consumer_id, position)
) STRICT, WITHOUT ROWID;
