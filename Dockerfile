# Any Debian-like base with Python 3.11 or newer and its venv module will do; both stages must have the same one.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Two environments: the one that is shipped holds no pip, and nothing that only builds.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/lens-bridge
# `--build-arg REQUIREMENTS=otel`: with what `tracing.enabled` takes, 13 MB more.
ARG REQUIREMENTS=runtime
COPY .requirements/build.txt .requirements/${REQUIREMENTS}.txt .requirements/
# Wheels only: a compiler is neither needed nor there.
RUN tools/bin/pip install --require-hashes --only-binary :all: -r .requirements/build.txt \
    && tools/bin/pip --python /opt/lens-bridge/bin/python install --no-compile --require-hashes --only-binary :all: \
        -r .requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md ./
COPY bridge bridge
# Byte code by content, not by time stamp: nothing may be written at run time, and registries do not keep times.
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/lens-bridge/bin/python install --no-compile --no-index --no-deps wheels/*.whl \
    && /opt/lens-bridge/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/lens-bridge/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lens-bridge" \
      org.opencontainers.image.description="Archetype AI lens sessions (SSE) into Redis Streams, exactly once" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/lens-bridge /opt/lens-bridge
ENV PATH=/opt/lens-bridge/bin:${PATH}
# The slim images ship the standard library without byte code. Compile what the worker imports, once, as root.
RUN python -c "import bridge.cli, bridge.worker.service, bridge.settings.loading"
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["lens-bridge"]
CMD ["run"]
