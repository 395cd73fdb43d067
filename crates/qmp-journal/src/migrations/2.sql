-- From format 1 to 2: segments have a checksum (NULL: sealed in format 1), and lost records are noted.
ALTER TABLE segment ADD COLUMN checksum INTEGER;

CREATE TABLE lost (
    first INTEGER PRIMARY KEY,          -- offset
    last  INTEGER NOT NULL,             -- offset
    epoch INTEGER NOT NULL              -- the highest epoch of any VM that they may have had
);
