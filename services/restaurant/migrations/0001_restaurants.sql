-- The version is the optimistic lock and the entity tag: a writer changes the row only at the version that it read.
CREATE TABLE restaurants (
    id               TEXT    NOT NULL PRIMARY KEY,
    version          INTEGER NOT NULL CHECK (version > 0),
    name             TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    latitude         REAL    NOT NULL,
    longitude        REAL    NOT NULL,
    cuisine          TEXT    NOT NULL,
    time_zone        TEXT    NOT NULL,
    opening_hours    TEXT    NOT NULL,
    minimum_amount   TEXT    NOT NULL,
    minimum_currency TEXT    NOT NULL,
    created_at       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Every menu there ever was, by the version of the restaurant that brought it: what somebody ordered from can be told
-- years later.
CREATE TABLE menu_revisions (
    restaurant_id TEXT    NOT NULL REFERENCES restaurants (id),
    version       INTEGER NOT NULL,
    items         TEXT    NOT NULL,
    revised_at    TEXT    NOT NULL,
    PRIMARY KEY (restaurant_id, version)
) STRICT, WITHOUT ROWID;

CREATE VIEW current_restaurants AS
    SELECT r.*, m.items AS menu
    FROM restaurants r
    JOIN menu_revisions m ON m.restaurant_id = r.id AND m.version = r.version;
