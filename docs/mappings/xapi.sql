-- Loads xAPI statements (one a line, also compressed) into a DuckDB file. Run it again at any time: statements that are
-- there already are left out by their id. It ends with the number of lines that are no JSON.
CREATE TABLE IF NOT EXISTS statements (id VARCHAR PRIMARY KEY, actor VARCHAR, time TIMESTAMPTZ, statement JSON);
CREATE INDEX IF NOT EXISTS statements_time ON statements (time);
INSERT OR IGNORE INTO statements
SELECT lower(coalesce(json->>'$.id', md5(json::VARCHAR))),
       -- An address is kept as its hash, which other statements may give as mbox_sha1sum.
       coalesce(json->>'$.actor.account.name', sha1(json->>'$.actor.mbox'), json->>'$.actor.mbox_sha1sum',
                json->>'$.actor.openid'),
       coalesce(try_cast(json->>'$.timestamp' AS TIMESTAMPTZ), try_cast(json->>'$.stored' AS TIMESTAMPTZ)),
       json
FROM read_ndjson_objects('statements/*.ndjson*', ignore_errors = true)
-- No JSON: a line that a crash cut off.
WHERE json IS NOT NULL;
SELECT count(*) AS lines_left_out FROM read_ndjson_objects('statements/*.ndjson*', ignore_errors = true)
WHERE json IS NULL;
