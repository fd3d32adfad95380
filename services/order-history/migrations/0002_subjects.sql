-- Which aggregate an event is about: an order, its ticket and its delivery have one id, so that an order's events can be
-- told alone.
ALTER TABLE event_log ADD COLUMN subject TEXT NOT NULL DEFAULT '';
UPDATE event_log SET subject = coalesce(json_extract(event, '$.subject'), '');
CREATE INDEX event_log_subject ON event_log (subject, sequence);
