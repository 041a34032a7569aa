CREATE TABLE ghost_benchmarks (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    target_band DECIMAL(2,1) NOT NULL,      -- Goal band (7.0, 7.5, 8.0)
    starting_skill DECIMAL(2,1) NOT NULL,   -- User's starting level
    day_number INT NOT NULL,                -- Day in prep journey

    -- Aggregated metrics
    avg_tasks_completed INT,
    avg_practice_minutes INT,
    avg_speaking_tasks INT,
    avg_writing_tasks INT,
    avg_reading_tasks INT,
    avg_listening_tasks INT,
    avg_mock_tests INT,
    avg_streak INT,

    -- Percentile info
    success_percentile INT,                 -- Top 10%, 25%, 50%
    sample_size INT,                        -- How many users this was based on

    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW(),

    UNIQUE(target_band, starting_skill, day_number, success_percentile)
);

CREATE TABLE cohort_ghost_data (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    cohort_id UUID REFERENCES cohorts(id),
    snapshot_date DATE NOT NULL,
    snapshot_hour INT DEFAULT 0,            -- For hourly snapshots

    -- Aggregate metrics
    active_member_count INT,
    avg_tasks_completed DECIMAL(5,2),
    avg_tasks_this_week DECIMAL(5,2),
    avg_practice_minutes DECIMAL(7,2),
    avg_streak DECIMAL(4,2),
    median_streak INT,
    top_10_percent_tasks INT,
    top_25_percent_tasks INT,
    avg_days_practiced_per_week DECIMAL(3,2),

    updated_at TIMESTAMP DEFAULT NOW(),

    UNIQUE(cohort_id, snapshot_date)
);

CREATE INDEX idx_ghost_benchmarks_lookup
    ON ghost_benchmarks(target_band, starting_skill, day_number);

CREATE INDEX idx_cohort_ghost_date
    ON cohort_ghost_data(cohort_id, snapshot_date DESC);

CREATE TABLE IF NOT EXISTS ngram_speed_summaries (
    summary_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    keyboard_id TEXT NOT NULL,
    ngram_text TEXT NOT NULL,
    ngram_size INTEGER NOT NULL,
    decaying_average_ms REAL NOT NULL,
    target_speed_ms REAL NOT NULL,
    target_performance_pct REAL NOT NULL,
    meets_target BOOLEAN NOT NULL,
    sample_count INTEGER NOT NULL,
    last_updated TEXT NOT NULL,
    created_at TEXT NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users(user_id) ON DELETE CASCADE,
    FOREIGN KEY (keyboard_id) REFERENCES keyboards(keyboard_id) ON DELETE CASCADE,
    UNIQUE (user_id, keyboard_id, ngram_text, ngram_size)
);

CREATE INDEX idx_ngram_summaries_user_keyboard ON ngram_speed_summaries (user_id, keyboard_id);

CREATE INDEX idx_ngram_summaries_performance ON ngram_speed_summaries (target_performance_pct, meets_target);
