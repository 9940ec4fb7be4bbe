"""Pages for people, served by Airflow's web server."""
