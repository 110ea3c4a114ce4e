-- Files of media that no other table refers to. A job removes the file first and its row afterwards.
CREATE TABLE media_files_to_remove (
    file TEXT NOT NULL PRIMARY KEY
) CLUSTERED;

-- Thumbnails are made in five sizes only. No request asks for others, which earlier versions made.
INSERT INTO media_files_to_remove (file)
    SELECT file FROM media_thumbnails WHERE NOT (
        (is_cropped AND width = height AND width IN (32, 96))
        OR (NOT is_cropped AND width = 320 AND height = 240)
        OR (NOT is_cropped AND width = 640 AND height = 480)
        OR (NOT is_cropped AND width = 800 AND height = 600)
    );
DELETE FROM media_thumbnails WHERE file IN (SELECT file FROM media_files_to_remove);
