# syntax=docker/dockerfile:1
# The server with its page, for CPUs. How to build and run it: docs/server.md

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/search
ENV PATH=/opt/search/bin:$PATH
# Both from the index for CPUs, which leaves out gigabytes of CUDA; before the sources, because it seldom changes.
# No versions: an image that is built anew has what was mended since.
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
ARG EXTRAS=server,raw
COPY pyproject.toml README.md LICENSE NOTICE cli.py /src/
COPY alembic /src/alembic
COPY indexer /src/indexer
COPY retrieval /src/retrieval
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install "/src[$EXTRAS]"

FROM python:3.13-slim
# The first user of most machines: what that user may read, the server may.
ARG UID=1000
RUN groupadd --gid "$UID" search \
    && useradd --no-log-init --uid "$UID" --gid "$UID" --no-create-home --home-dir /tmp --shell /usr/sbin/nologin search \
    && mkdir /catalog /models /photos \
    && chown "$UID:$UID" /catalog /models
COPY --from=build /opt/search /opt/search
ENV PATH=/opt/search/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    SEARCH_CATALOG=/catalog \
    SEARCH_CACHE=/models \
    HF_HOME=/models/hub
USER $UID:$UID
VOLUME /catalog /models
EXPOSE 7788
# Not through a proxy that the environment names, so not with urllib.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 7788, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# `docker run IMAGE index /photos` runs another command. There is no token in the image: without one it ends.
ENTRYPOINT ["search"]
CMD ["serve", "--host", "0.0.0.0"]
