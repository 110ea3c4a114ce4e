-- What was added to the log, one row for each transaction that took positions, for the processes on this database that did not write it.
-- position: the last one that the transaction took; previous: the last one before it. node: who wrote it. entries: JSON. A
-- SQLite database has only what commands beside the server have written. Rows are removed after some hours.
CREATE TABLE log_entries (
    position BIGINT PRIMARY KEY,
    previous BIGINT NOT NULL,
    node TEXT NOT NULL,
    written_at BIGINT NOT NULL,
    entries TEXT NOT NULL
);

-- Changes of accounts are entries of the log.
DROP TABLE account_changes;

-- What only one node at a time may do. epoch grows whenever the lease changes hands: whoever acts under it compares it.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    held_until BIGINT NOT NULL
);

-- What nodes say of the users whose clients they serve. state: as in presence. seen_at: when the node last said so.
CREATE TABLE presence_on_nodes (
    user_sn BIGINT NOT NULL,
    node TEXT NOT NULL,
    state BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_sn, node)
) CLUSTERED;
CREATE INDEX presence_on_nodes_by_node ON presence_on_nodes (node);
