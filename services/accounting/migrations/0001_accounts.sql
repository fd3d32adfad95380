-- The source of truth: what happened to each account. The primary key is the optimistic lock: two writers that both saw
-- version n cannot both write version n + 1.
CREATE TABLE account_events (
    account_id  TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    event       TEXT    NOT NULL,
    recorded_at TEXT    NOT NULL,
    PRIMARY KEY (account_id, version)
) STRICT, WITHOUT ROWID;

-- Projections of the events, written in the same transaction. They can be dropped and folded again.
CREATE TABLE accounts (
    account_id     TEXT    NOT NULL PRIMARY KEY,
    consumer_id    TEXT    NOT NULL UNIQUE,
    status         TEXT    NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
    limit_amount   TEXT    NOT NULL,
    limit_currency TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    created_at     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- One bill for each order, whoever pays it.
CREATE TABLE bills (
    order_id      TEXT NOT NULL PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (account_id),
    consumer_id   TEXT NOT NULL,
    amount        TEXT NOT NULL,
    currency      TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('AUTHORIZED', 'REVERSED')),
    authorized_at TEXT NOT NULL,
    updated_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
