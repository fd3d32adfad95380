-- What is carried: names and quantities, as JSON. Not known of deliveries from before.
ALTER TABLE delivery ADD COLUMN line_items TEXT NOT NULL DEFAULT '[]';
