-- Tickets, and the kitchen's replica of the restaurants. Times are RFC 3339 text in UTC.
CREATE TABLE ticket (
    -- The order in which tickets were created here: what pages are cut by. AUTOINCREMENT never gives a number twice.
    position            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The id of the order. Unique: the last line of defence against a second ticket for one order.
    id                  TEXT NOT NULL UNIQUE,
    restaurant_id       TEXT NOT NULL,
    state               TEXT NOT NULL,
    previous_state      TEXT,
    version             INTEGER NOT NULL,
    line_items          TEXT NOT NULL,
    proposed_line_items TEXT,
    ready_by            TEXT,
    accepted_at         TEXT,
    preparing_at        TEXT,
    ready_for_pickup_at TEXT,
    picked_up_at        TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    CHECK ((previous_state IS NOT NULL) = (state IN ('CANCEL_PENDING', 'REVISION_PENDING')))
);

CREATE INDEX ticket_of_restaurant ON ticket (restaurant_id, position);
CREATE INDEX ticket_of_restaurant_in_state ON ticket (restaurant_id, state, position);

CREATE TABLE restaurant (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
