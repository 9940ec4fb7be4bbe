# Airflow with Stepwell, for docker-compose.yaml: Debian, and what requirements-compose.lock says, by hash.
FROM debian:bookworm-slim

# Python, pip and uv trust what the system trusts: a base image with your company's certificate is enough.
ENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
# A JRE for steps on Spark here; libgomp1 for LightGBM; man1 because the JRE's packages fail without it on a slim image.
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv openjdk-17-jre-headless libgomp1 \
 && rm -rf /var/lib/apt/lists/*

# From the slowest and steadiest to what changes most: uv, the environment, the code.
WORKDIR /opt/stepwell
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements-tools.lock ./
RUN python3 -m venv .tools \
 && .tools/bin/pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-tools.lock
# With bytecode: the user below may not write it, and without it importing Airflow takes three times as long.
COPY requirements-compose.lock ./
RUN .tools/bin/uv venv -q --python python3 .venv \
 && .tools/bin/uv pip sync -q --no-cache --compile-bytecode --require-hashes requirements-compose.lock
COPY LICENSE README.md pyproject.toml ./
COPY providers providers
RUN .tools/bin/uv pip install -q --no-cache --compile-bytecode --no-deps --no-build-isolation .

COPY docker/airflow/health.py ./
# The folders of the volumes, so that a new volume belongs to the user.
RUN useradd --uid 50000 --create-home airflow \
 && install -d -o airflow /workspace /opt/airflow /opt/airflow/logs /opt/airflow/auth /opt/airflow/cache
USER airflow
WORKDIR /opt/airflow
ENV PATH=/opt/stepwell/.venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    STEPWELL_ROOT=/workspace \
    STEPWELL_UV=/opt/stepwell/.tools/bin/uv \
    UV_CACHE_DIR=/opt/airflow/cache/uv
ENTRYPOINT ["airflow"]
CMD ["version"]
