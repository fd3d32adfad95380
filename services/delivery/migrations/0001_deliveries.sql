-- Deliveries, couriers, and the replica of the restaurants. Times are RFC 3339 text in UTC, which sorts as they do.
CREATE TABLE courier (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    available        INTEGER NOT NULL,
    lat              REAL,
    lng              REAL,
    located_at       TEXT,
    announced_at     TEXT,
    announcement_due INTEGER NOT NULL DEFAULT FALSE,
    version          INTEGER NOT NULL,
    CHECK ((lat IS NULL) = (lng IS NULL))
) WITHOUT ROWID;

CREATE INDEX courier_to_announce ON courier (id) WHERE announcement_due;

CREATE TABLE delivery (
    -- The id of the order.
    id                      TEXT PRIMARY KEY,
    restaurant_id           TEXT NOT NULL,
    state                   TEXT NOT NULL,
    version                 INTEGER NOT NULL,
    pickup_address          TEXT NOT NULL,
    pickup_lat              REAL NOT NULL,
    pickup_lng              REAL NOT NULL,
    delivery_address        TEXT NOT NULL,
    ready_by                TEXT,
    courier_id              TEXT REFERENCES courier (id),
    courier_name            TEXT,
    scheduled_pickup_time   TEXT,
    scheduled_delivery_time TEXT,
    picked_up_at            TEXT,
    delivered_at            TEXT,
    created_at              TEXT NOT NULL,
    updated_at              TEXT NOT NULL,
    CHECK ((courier_id IS NULL) = (courier_name IS NULL)),
    CHECK (courier_id IS NOT NULL OR state IN ('PENDING', 'CANCELLED'))
) WITHOUT ROWID;

CREATE INDEX delivery_waiting ON delivery (ready_by, id) WHERE state = 'PENDING' AND ready_by IS NOT NULL;
CREATE INDEX delivery_under_way ON delivery (courier_id) WHERE state IN ('SCHEDULED', 'PICKED_UP');

-- Kitchens whose promise arrived before the order did: the two travel on different topics.
CREATE TABLE early_promise (
    order_id TEXT PRIMARY KEY,
    ready_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE restaurant (
    id      TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    lat     REAL NOT NULL,
    lng     REAL NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
