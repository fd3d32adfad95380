-- Whose order it is: who may read the delivery beside the restaurant and the courier. Unknown for deliveries from before.
ALTER TABLE delivery ADD COLUMN consumer_id TEXT;
