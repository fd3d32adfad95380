-- Which clients a browser session has signed in at: they are told when it ends (Back-Channel Logout 1.0, 2.3).

CREATE TABLE session_client (
    sid       TEXT NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (sid, client_id)
) STRICT;

-- Those of before were not noted when they signed in; their grants tell.
INSERT OR IGNORE INTO session_client (sid, client_id)
    SELECT sid, client_id FROM refresh_token UNION SELECT sid, client_id FROM authorization_code;
