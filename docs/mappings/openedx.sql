-- Loads tracking logs of Open edX (one JSON object a line, also compressed) into a DuckDB file. Run it again at any time:
-- lines that are there already are left out. It ends with the number of lines that are no JSON.
CREATE TABLE IF NOT EXISTS tracking (id VARCHAR PRIMARY KEY, time TIMESTAMPTZ, event JSON);
CREATE INDEX IF NOT EXISTS tracking_time ON tracking (time);
INSERT OR IGNORE INTO tracking
SELECT md5(json::VARCHAR), try_cast(json->>'$.time' AS TIMESTAMPTZ), json
FROM read_ndjson_objects('tracking/*.log*', ignore_errors = true)
-- No JSON: a line that a crash cut off.
WHERE json IS NOT NULL;
SELECT count(*) AS lines_left_out FROM read_ndjson_objects('tracking/*.log*', ignore_errors = true) WHERE json IS NULL;
