"""Gates: what a job is asked to judge, and what its verdicts mean; ``stepwell.payload.gate`` does the judging."""
