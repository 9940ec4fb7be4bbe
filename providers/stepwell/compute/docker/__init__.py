"""Jobs in containers: the daemon, images with environments in them, and containers as a runner of jobs."""
