-- Whose order it is: who may read the ticket beside those who cook. Unknown for tickets from before; nobody but the
-- restaurant reads those.
ALTER TABLE ticket ADD COLUMN consumer_id TEXT;
