"""Gates: what a job is asked to judge, and what its verdicts mean. The judging itself is in ``stepwell.payload.gate``."""
