# Stepwell's settings for Airflow in this folder, for every command of the Makefile. For commands of your own:
#
#     . scripts/env.sh && airflow dags list
#
# Everything that Airflow, Stepwell and their tools write stays below this folder.
# shellcheck shell=sh

if [ ! -f pyproject.toml ] || [ ! -d providers/stepwell ]; then
  echo "stepwell: scripts/env.sh is to be sourced in the project's folder" >&2
  return 1 2>/dev/null || exit 1
fi
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME # without bytecode `import airflow` takes three times as long

export PATH="$PWD/.venv/bin:$PATH"
export STEPWELL_ROOT="${STEPWELL_ROOT:-$PWD/.stepwell}"
export STEPWELL_UV="$PWD/.tools/bin/uv"
export UV_CACHE_DIR="$PWD/.cache/uv" UV_PYTHON_INSTALL_DIR="$PWD/.cache/python" PIP_CACHE_DIR="$PWD/.cache/pip"
export MPLCONFIGDIR="$PWD/.cache/matplotlib"

export AIRFLOW_HOME="$PWD/.airflow"
# Set even where it is the default: a setting in the caller's environment may mean another Airflow.
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$AIRFLOW_HOME/airflow.db"
export AIRFLOW__CORE__DAGS_FOLDER="$PWD/dags"
export AIRFLOW__CORE__PLUGINS_FOLDER="$PWD/plugins"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__EXECUTOR=LocalExecutor
export AIRFLOW__CORE__PARALLELISM=4 # SQLite: with more writers at a time its lock gives out
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False
export AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL=1 # a short task holds its slot for that many seconds
export AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=10
export AIRFLOW__LOGGING__BASE_LOG_FOLDER="$AIRFLOW_HOME/logs"
# A box for one person, on loopback only: no login.
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__CORE__AUTH_MANAGER=airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True
