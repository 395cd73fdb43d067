-- Format 3 of the journal. Times are microseconds since the Unix epoch.

-- Names of kinds, VMs and events; the tables below hold their ids.
CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    role TEXT NOT NULL,                 -- 'kind', 'vm', 'event'
    name TEXT NOT NULL,
    UNIQUE (role, name)
);
INSERT INTO name (id, role, name) VALUES
    (1, 'kind', 'event'), (2, 'kind', 'attached'), (3, 'kind', 'finding'), (4, 'kind', 'detached');

-- Every record, in order; offsets start at 1 and have no holes.
CREATE TABLE record (
    offset     INTEGER PRIMARY KEY,
    vm         INTEGER NOT NULL,        -- name.id
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       INTEGER NOT NULL,        -- name.id
    received   INTEGER NOT NULL,
    event      INTEGER,                 -- name.id; NULL unless kind is event
    event_time,                         -- NULL: the server did not send one; TEXT: seconds beyond 64-bit microseconds
    data       TEXT                     -- as received
);

-- Where each epoch opens and closes.
CREATE TABLE epoch (
    vm     INTEGER NOT NULL,            -- name.id
    epoch  INTEGER NOT NULL,
    opened INTEGER NOT NULL,            -- offset of its attached record
    closed INTEGER,                     -- offset of its detached record; NULL while it is open
    PRIMARY KEY (vm, epoch)
) WITHOUT ROWID;

-- Sealed segments: contiguous offsets that are indexed. Records after the last one are not indexed yet.
CREATE TABLE segment (
    last         INTEGER PRIMARY KEY,   -- offset
    first        INTEGER NOT NULL,      -- offset
    received_min INTEGER NOT NULL,
    received_max INTEGER NOT NULL,
    checksum     INTEGER                -- of its records; NULL: sealed in format 1
);

-- Offsets that were assigned, and whose records are missing from the file for another reason than retention.
CREATE TABLE lost (
    first INTEGER PRIMARY KEY,          -- offset
    last  INTEGER NOT NULL,             -- offset
    epoch INTEGER NOT NULL              -- the highest epoch of any VM that the records may have had
);

-- For each segment and each VM, event and kind (but 'event') in it: the offsets, as LEB128 differences from
-- the one before, the first from first - 1.
CREATE TABLE posting (
    segment INTEGER NOT NULL,           -- segment.last
    name    INTEGER NOT NULL,           -- name.id
    offsets BLOB NOT NULL,
    PRIMARY KEY (segment, name)
) WITHOUT ROWID;

-- How often each event came in each minute, in sealed segments.
CREATE TABLE tally (
    minute  INTEGER NOT NULL,           -- received, in minutes since the Unix epoch
    event   INTEGER NOT NULL,           -- name.id
    records INTEGER NOT NULL,
    PRIMARY KEY (minute, event)
) WITHOUT ROWID;

-- What a sealed segment holds, counted and abridged. A row of a removed segment, the last one, has what holds after it.
CREATE TABLE summary (
    segment  INTEGER PRIMARY KEY,       -- segment.last
    version  INTEGER NOT NULL,          -- of what derived classes and changes from the records
    earliest INTEGER,                   -- the earliest time of a change
    standing BLOB,                      -- the changes that hold after the segment; NULL except about every 64th row
    changes  BLOB NOT NULL,             -- for each VM: offset, time, what changed
    counts   BLOB NOT NULL              -- for each VM, name, class and minute: how many records
);

-- Each VM's last record in a sealed segment.
CREATE TABLE vm (
    vm    INTEGER PRIMARY KEY,          -- name.id
    last  INTEGER NOT NULL,             -- offset
    epoch INTEGER NOT NULL,
    seq   INTEGER NOT NULL
);
