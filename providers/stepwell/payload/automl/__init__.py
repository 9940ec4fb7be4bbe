"""AutoML: models searched in parallel on a compute target, explained, and handed on. Runs where the step runs."""
