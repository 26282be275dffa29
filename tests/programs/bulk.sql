-- Bulk inserts, indexes, joins, window functions, text search, deletion and
-- VACUUM; then the database is checked.
PRAGMA journal_mode = MEMORY;
PRAGMA cache_size = -20000;
CREATE TABLE account (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL);
CREATE TABLE entry (account INTEGER REFERENCES account, amount INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO account SELECT i, printf('owner %x', i * 7919 % 20011), i * 31 % 1000 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
INSERT INTO entry
SELECT i * 7919 % 20000 + 1, i * 104729 % 2003 - 1000, substr(hex(i * 2654435761 % 4294967296), 1, i % 17)
FROM n;
COMMIT;
CREATE INDEX entry_account ON entry (account, amount);
CREATE INDEX account_owner ON account (owner);
UPDATE account SET balance = balance + (SELECT sum(amount) FROM entry WHERE account = account.id);
SELECT count(*), sum(balance), min(owner), max(owner) FROM account;
SELECT owner, balance FROM account ORDER BY balance DESC, owner LIMIT 10;
SELECT length(note), count(*), avg(amount) FROM entry GROUP BY 1 ORDER BY 1;
SELECT a.owner, sum(e.amount) AS total
FROM account a JOIN entry e ON e.account = a.id
WHERE a.owner LIKE 'owner 1%' GROUP BY a.id ORDER BY total DESC, a.id LIMIT 10;
SELECT * FROM (
  SELECT account, amount, rank() OVER (PARTITION BY account ORDER BY amount DESC, rowid) AS place FROM entry
) WHERE place = 3 AND account % 4001 = 5 ORDER BY account;
SELECT count(*), max(length(notes)) FROM (SELECT group_concat(note, '/') AS notes FROM entry GROUP BY account);
SELECT json_extract(json_group_array(json_object('id', id, 'owner', owner)), '$[1999].owner') FROM account;
CREATE VIRTUAL TABLE search USING fts5(body);
INSERT INTO search SELECT owner || ' has ' || balance FROM account;
SELECT count(*) FROM search WHERE search MATCH 'owner AND 100';
DELETE FROM entry WHERE amount % 3 = 0;
DELETE FROM account WHERE id % 5 = 0;
VACUUM;
PRAGMA integrity_check;
SELECT count(*) FROM entry;
