"""GitHub, as a job meets it: the runner's files and events, the REST API, one comment that stays one."""
