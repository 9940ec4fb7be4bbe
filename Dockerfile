# Airflow with Stepwell, for docker-compose.yaml: Debian, and what `make` would make on it.
FROM debian:bookworm-slim

ENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# ca-certificates for uv and pip; libgomp1 for LightGBM; man1 because the JRE's packages fail without it on a slim image.
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv openjdk-17-jre-headless libgomp1 \
 && rm -rf /var/lib/apt/lists/*

# The environment first: it changes less often than the code.
WORKDIR /opt/stepwell
COPY LICENSE README.md pyproject.toml requirements.lock requirements-tools.lock ./
COPY scripts/bootstrap.py scripts/
RUN mkdir -p providers/stepwell && touch providers/stepwell/__init__.py \
 && python3 scripts/bootstrap.py airflow \
 && rm -rf .cache
COPY providers providers

# Bytecode now: the user below may not write it, and without it importing Airflow takes three times as long.
RUN .venv/bin/python -m compileall -q -j 0 .venv providers

# The folders of the volumes, so that a new volume belongs to the user.
RUN useradd --uid 50000 --create-home airflow \
 && install -d -o airflow /workspace /opt/airflow /opt/airflow/logs /opt/airflow/cache
USER airflow
WORKDIR /opt/airflow
ENV PATH=/opt/stepwell/.venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    STEPWELL_ROOT=/workspace \
    STEPWELL_UV=/opt/stepwell/.tools/bin/uv \
    UV_CACHE_DIR=/opt/airflow/cache/uv
ENTRYPOINT ["airflow"]
CMD ["version"]
