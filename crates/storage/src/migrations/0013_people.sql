-- The scope of a transaction ID is a device and the path of a request. sender: the device's number; less than zero, the number of
-- a user who sent without a device. endpoint: the number of the type that was sent; less than zero, a hash of the event that was
-- to be redacted.
ALTER TABLE client_transactions RENAME COLUMN device_sn TO sender;
ALTER TABLE client_transactions RENAME COLUMN type_sn TO endpoint;

-- Users who asked for their content to be erased. position: when, in the log.
CREATE TABLE erased_users (user_sn BIGINT PRIMARY KEY, position BIGINT NOT NULL) CLUSTERED;
CREATE INDEX media_by_user ON media (user_sn) WHERE user_sn IS NOT NULL;
