-- Everything the identity provider must remember across a restart. Times are whole seconds since the epoch, as in the
-- tokens themselves. Secrets that a client presents are stored as SHA-256 only; the signing keys are what they are.

CREATE TABLE signing_key (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    kid         TEXT    NOT NULL UNIQUE,
    algorithm   TEXT    NOT NULL CHECK (algorithm IN ('RS256', 'ES256')),
    private_key TEXT    NOT NULL,           -- PKCS#8 in PEM
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER                     -- no longer signs since then, still published for a while
) STRICT;

CREATE TABLE browser_session (
    secret_hash BLOB    PRIMARY KEY,
    sid         TEXT    NOT NULL UNIQUE,
    sub         TEXT    NOT NULL,
    auth_time   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX browser_session_expiry ON browser_session (expires_at);

CREATE TABLE authorization_code (
    code_hash      BLOB    PRIMARY KEY,
    family         TEXT    NOT NULL,        -- of the refresh tokens that will descend from it
    client_id      TEXT    NOT NULL,
    redirect_uri   TEXT    NOT NULL,
    code_challenge TEXT    NOT NULL,
    sub            TEXT    NOT NULL,
    scope          TEXT    NOT NULL,
    nonce          TEXT,
    sid            TEXT    NOT NULL,
    auth_time      INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER
) STRICT;
CREATE INDEX authorization_code_expiry ON authorization_code (expires_at);

CREATE TABLE refresh_token (
    token_hash BLOB    PRIMARY KEY,
    family     TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    sub        TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    sid        TEXT    NOT NULL,
    auth_time  INTEGER NOT NULL,
    family_end INTEGER NOT NULL,            -- no descendant outlives this
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX refresh_token_family ON refresh_token (family);
CREATE INDEX refresh_token_sid ON refresh_token (sid);
CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);
CREATE INDEX refresh_token_family_end ON refresh_token (family_end);
