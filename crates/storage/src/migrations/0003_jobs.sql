-- Work that outlives the process. state: 0 waiting, 1 running, 2 finished, 3 given up, 4 cancelled. priority: the lower, the
-- sooner. attempts counts the runs that were begun; with the node it tells a run from those before. lease_until: when others
-- may take a running job, because its node is not heard of any more. progress_total is 0 where it is not known.
CREATE TABLE jobs (
    job_id SERIAL_KEY,
    name TEXT NOT NULL,
    priority BIGINT NOT NULL,
    job_key TEXT,
    payload TEXT NOT NULL,
    state BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    scheduled_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    lease_until BIGINT,
    node TEXT,
    progress_done BIGINT NOT NULL DEFAULT 0,
    progress_total BIGINT NOT NULL DEFAULT 0,
    progress_note TEXT,
    last_error TEXT
);
CREATE UNIQUE INDEX jobs_waiting_by_key ON jobs (name, job_key) WHERE state = 0 AND job_key IS NOT NULL;
CREATE INDEX jobs_waiting_by_time ON jobs (priority, due_at) WHERE state = 0;
CREATE INDEX jobs_running ON jobs (name, job_key) WHERE state = 1;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- When what is done again and again is to be done next. plan: from what next_at was worked out.
CREATE TABLE job_schedules (
    name TEXT PRIMARY KEY,
    plan TEXT NOT NULL,
    next_at BIGINT NOT NULL
);

-- Rooms of which everything is being removed. Their heads are gone already, and nothing is appended to them.
CREATE TABLE room_purges (room_sn BIGINT PRIMARY KEY);

-- What was counted, and when. Users are those who were seen within a day, and within thirty; messages are those of a day.
CREATE TABLE server_statistics (
    counted_at BIGINT PRIMARY KEY,
    local_users BIGINT NOT NULL,
    daily_active_users BIGINT NOT NULL,
    monthly_active_users BIGINT NOT NULL,
    rooms BIGINT NOT NULL,
    daily_messages BIGINT NOT NULL,
    daily_sent_messages BIGINT NOT NULL
);
