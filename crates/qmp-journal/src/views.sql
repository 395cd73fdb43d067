-- Views for people. A view holds no data: it is recreated when a hub opens the file.
--
-- `certain_until` of a record without it: the time in its detail if a killed hub left the epoch open, or its receipt. A
-- row of `gaps` goes from the last moment that is certain to the first that is certain again. If the clock was set back
-- in between, the row spans all known moments of the gap: it never ends before it begins.
--
-- `host` is NULL for a VM of this host.

CREATE VIEW records AS
SELECT record.offset,
       VM(vm.name) AS vm,
       record.epoch,
       record.seq,
       UTC(record.received) AS received,
       kind.name AS kind,
       event.name AS event,
       UTC(record.event_time) AS event_time,
       record.data,
       sent.name AS sent_name,
       HOST(vm.name) AS host
FROM record
JOIN name AS vm ON vm.id = record.vm
JOIN name AS kind ON kind.id = record.kind
LEFT JOIN name AS event ON event.id = record.event
LEFT JOIN sent_name AS sent ON sent.offset = record.offset;

CREATE VIEW events AS
SELECT record.offset,
       VM(vm.name) AS vm,
       record.epoch,
       record.seq,
       UTC(record.received) AS received,
       event.name AS event,
       UTC(record.event_time) AS event_time,
       record.data,
       sent.name AS sent_name,
       HOST(vm.name) AS host
FROM record
JOIN name AS vm ON vm.id = record.vm
JOIN name AS event ON event.id = record.event
LEFT JOIN sent_name AS sent ON sent.offset = record.offset;

CREATE VIEW epochs AS
SELECT VM(vm.name) AS vm,
       epoch.epoch,
       UTC(opened.received) AS opened,
       UTC(closed.received) AS closed,
       CASE WHEN json_valid(closed.data) THEN closed.data ->> 'reason' END AS reason,
       CASE WHEN json_valid(closed.data) THEN closed.data ->> 'detail' END AS detail,
       1 + coalesce(
           closed.seq,
           (SELECT max(record.seq) FROM record
             WHERE record.offset > coalesce((SELECT max(last) FROM segment), 0)
               AND record.vm = epoch.vm AND record.epoch = epoch.epoch),
           (SELECT state.seq FROM vm AS state WHERE state.vm = epoch.vm AND state.epoch = epoch.epoch),
           0) AS records,
       epoch.opened AS first_offset,
       epoch.closed AS last_offset,
       coalesce(
           CASE WHEN json_valid(closed.data) THEN closed.data ->> 'certain_until' END,
           CASE WHEN json_valid(closed.data) AND closed.data ->> 'detail' LIKE '% nothing is certain since %Z'
                THEN substr(closed.data ->> 'detail', -27) END,
           UTC(closed.received)) AS certain_until,
       HOST(vm.name) AS host
FROM epoch
JOIN name AS vm ON vm.id = epoch.vm
LEFT JOIN record AS opened ON opened.offset = epoch.opened
LEFT JOIN record AS closed ON closed.offset = epoch.closed;

CREATE VIEW gaps AS
SELECT vm,
       min(certain_until, closed, coalesce(opened, closed)) AS "from",
       CASE WHEN opened IS NOT NULL THEN max(opened, closed, certain_until) END AS "to",
       reason,
       detail,
       epoch_before,
       epoch_after,
       host
FROM (
    SELECT VM(vm.name) AS vm,
           UTC(closed.received) AS closed,
           coalesce(
               CASE WHEN json_valid(closed.data) THEN closed.data ->> 'certain_until' END,
               CASE WHEN json_valid(closed.data) AND closed.data ->> 'detail' LIKE '% nothing is certain since %Z'
                    THEN substr(closed.data ->> 'detail', -27) END,
               UTC(closed.received)) AS certain_until,
           UTC(opened.received) AS opened,
           CASE WHEN json_valid(closed.data) THEN closed.data ->> 'reason' END AS reason,
           CASE WHEN json_valid(closed.data) THEN closed.data ->> 'detail' END AS detail,
           before.epoch AS epoch_before,
           after.epoch AS epoch_after,
           HOST(vm.name) AS host
    FROM epoch AS before
    JOIN name AS vm ON vm.id = before.vm
    JOIN record AS closed ON closed.offset = before.closed
    LEFT JOIN epoch AS after ON after.vm = before.vm AND after.epoch = (
        SELECT min(next.epoch) FROM epoch AS next WHERE next.vm = before.vm AND next.epoch > before.epoch)
    LEFT JOIN record AS opened ON opened.offset = after.opened
);

CREATE VIEW vms AS
SELECT VM(vm.name) AS vm,
       latest.epoch,
       CASE WHEN latest.closed IS NULL THEN 'attached' ELSE 'detached' END AS state,
       UTC(coalesce(closed.received, opened.received)) AS since,
       HOST(vm.name) AS host
FROM (SELECT vm, max(epoch) AS epoch FROM epoch GROUP BY vm) AS newest
JOIN epoch AS latest ON latest.vm = newest.vm AND latest.epoch = newest.epoch
JOIN name AS vm ON vm.id = latest.vm
LEFT JOIN record AS opened ON opened.offset = latest.opened
LEFT JOIN record AS closed ON closed.offset = latest.closed;
