-- The index of full-text search. A block is about the messages up to a position in the log, from the block before on; the module
-- search_index of the crate rooms knows the forms of the bytes. documents: the messages. postings: which of them have a term.
CREATE TABLE search_blocks (
    block_id BIGINT PRIMARY KEY,
    documents BLOB NOT NULL
);
CREATE TABLE search_postings (
    block_id BIGINT NOT NULL,
    term BIGINT NOT NULL,
    documents BLOB NOT NULL,
    PRIMARY KEY (block_id, term)
) CLUSTERED;
