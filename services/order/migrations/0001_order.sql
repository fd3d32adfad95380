-- An order is one document: the aggregate is loaded and saved whole. `version` guards every update; the generated
-- column is for people who look into the file.
CREATE TABLE orders (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL CHECK (version >= 1),
    document TEXT    NOT NULL CHECK (json_valid(document)),
    state    TEXT    GENERATED ALWAYS AS (json_extract(document, '$.state')) VIRTUAL
) STRICT;

-- What order needs to know of each restaurant, fed by restaurant.events. `version` is the restaurant's own.
CREATE TABLE restaurant_replica (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    document TEXT    NOT NULL CHECK (json_valid(document))
) STRICT;
