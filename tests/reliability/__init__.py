"""The kill matrix: faults, on every kind of compute target, through a real Airflow (``make kill-matrix``)."""
