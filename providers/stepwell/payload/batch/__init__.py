"""What a batch runs around the launcher: claim a job on shared storage, work it off here, bring up what it leaves."""
