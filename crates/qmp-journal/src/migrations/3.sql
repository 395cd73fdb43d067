-- From format 2 to 3: segments have a summary, which the hub adds while it runs.
CREATE TABLE summary (
    segment  INTEGER PRIMARY KEY,       -- segment.last
    version  INTEGER NOT NULL,          -- of what derived classes and changes from the records
    earliest INTEGER,                   -- the earliest time of a change
    standing BLOB,                      -- the changes that hold after the segment; NULL except about every 64th row
    changes  BLOB NOT NULL,             -- for each VM: offset, time, what changed
    counts   BLOB NOT NULL              -- for each VM, name, class and minute: how many records
);
