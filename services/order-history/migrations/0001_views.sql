-- The views and the log of events that fed them. Every row remembers the version of the aggregate it was made from, so
-- that an older event never overwrites a newer one. Instants are nanoseconds since the epoch.

CREATE TABLE order_view (
    id              TEXT    PRIMARY KEY,
    consumer_id     TEXT    NOT NULL,
    restaurant_id   TEXT    NOT NULL,
    restaurant_name TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    total           TEXT    NOT NULL,       -- JSON, as it is shown
    line_items      TEXT    NOT NULL,       -- JSON, as it is shown
    search_text     TEXT    NOT NULL,       -- names of the restaurant and the items, in lower case
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL
) STRICT;
CREATE INDEX order_view_history ON order_view (consumer_id, created_at DESC, id DESC);

-- Tables of their own: a ticket's event may come before its order's.
CREATE TABLE ticket_view (
    order_id TEXT    PRIMARY KEY,
    state    TEXT    NOT NULL,
    version  INTEGER NOT NULL
) STRICT;

CREATE TABLE delivery_view (
    order_id TEXT    PRIMARY KEY,
    state    TEXT    NOT NULL,
    version  INTEGER NOT NULL
) STRICT;

CREATE TABLE restaurant_view (
    id            TEXT    PRIMARY KEY,
    name          TEXT    NOT NULL,
    address       TEXT    NOT NULL,         -- JSON, as it is shown
    order_minimum TEXT    NOT NULL,         -- JSON, as it is shown
    cuisine       TEXT    NOT NULL,
    cuisine_key   TEXT    NOT NULL,         -- in lower case
    lat           REAL    NOT NULL,
    lng           REAL    NOT NULL,
    time_zone     TEXT    NOT NULL,         -- IANA name
    opening_hours TEXT    NOT NULL,         -- JSON
    version       INTEGER NOT NULL
) STRICT;
CREATE INDEX restaurant_view_place ON restaurant_view (lat, lng);

-- AUTOINCREMENT: a number is never used twice, whatever has been pruned.
CREATE TABLE event_log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    type     TEXT    NOT NULL,
    event    TEXT    NOT NULL               -- the CloudEvents envelope in JSON
) STRICT;
