-- One row for each run of a saga. The row moves in the transaction that records the reply in the inbox and the next
-- command in the outbox, so the three can never disagree.
CREATE TABLE saga (
    id           TEXT    NOT NULL PRIMARY KEY,
    kind         TEXT    NOT NULL,
    -- the aggregate the saga is about; partition key of every message it sends
    subject      TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('RUNNING', 'COMPLETED', 'COMPENSATED')),
    -- the step whose reply is awaited, by name, so that a new release may insert steps
    step         TEXT    NOT NULL,
    compensating INTEGER NOT NULL CHECK (compensating IN (0, 1)),
    -- which issue of the awaited command this is, from 1
    attempt      INTEGER NOT NULL CHECK (attempt >= 1),
    -- milliseconds since the epoch at which the command is issued again; NULL while a reply is awaited
    due_at       INTEGER,
    data         TEXT    NOT NULL CHECK (json_valid(data)),
    -- the code that turned the saga round
    reason       TEXT,
    -- the latest failure of any command, for whoever looks at a saga that does not move
    last_error   TEXT,
    created_at   TEXT    NOT NULL,
    updated_at   TEXT    NOT NULL
) STRICT;

CREATE INDEX saga_subject ON saga (subject, created_at);
CREATE INDEX saga_due ON saga (due_at) WHERE due_at IS NOT NULL;
