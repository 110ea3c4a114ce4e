-- What users have uploaded, and what was fetched of other servers'. expires_at: until when the content of an ID that was
-- given out before its content can be uploaded. Once there is content it is null, and file, size_bytes are not.
CREATE TABLE media (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    user_sn BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    file TEXT,
    size_bytes BIGINT,
    content_type TEXT,
    file_name TEXT,
    PRIMARY KEY (server_name, media_id)
) CLUSTERED;
CREATE INDEX media_without_content ON media (user_sn, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX media_by_expiry ON media (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX media_of_others_by_age ON media (created_at) WHERE user_sn IS NULL;

-- Smaller pictures that were made of media. width and height are what was asked for, not what the picture has.
CREATE TABLE media_thumbnails (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    is_cropped BOOLEAN NOT NULL,
    file TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    PRIMARY KEY (server_name, media_id, width, height, is_cropped)
) CLUSTERED;
