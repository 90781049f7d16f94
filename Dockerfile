# Foretell's image: one for every process; the command after `foretell` chooses (stream, deliver, topics create, ...).
# Both stages stand on one Python, because a virtual environment runs only on the one that made it.
# For a release, pin it by digest too: --build-arg PYTHON_IMAGE=python:3.13.14-slim-trixie@sha256:...
ARG PYTHON_IMAGE=python:3.13.14-slim-trixie

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /src
COPY requirements.lock requirements-runtime.lock ./
COPY deploy/install.sh deploy/
RUN sh deploy/install.sh dependencies /opt/foretell
COPY pyproject.toml README.md LICENSE ./
COPY detectors/ detectors/
COPY streams/ streams/
COPY channels/ channels/
COPY foretell/ foretell/
RUN sh deploy/install.sh project /opt/foretell

FROM ${PYTHON_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="foretell" \
      org.opencontainers.image.description="Tells a customer what they would otherwise have had to call about." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# A fixed number, so that volumes keep their owner from one image to the next and Kubernetes can see that it is not root.
# The base image's pip goes: what is not needed to run cannot be used against us.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && groupadd --gid 10001 foretell \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/foretell --shell /usr/sbin/nologin foretell \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/foretell

# Owned by root: the process cannot change its own code. It writes only below /var/lib/foretell (deliver's ledger) and
# /tmp, so the root file system may be read-only. No VOLUME here: stream and one-shot commands keep nothing, and each of
# their containers would leave an anonymous volume behind.
COPY --from=builder /opt/foretell /opt/foretell

# FORETELL_HTTP__HOST: the default of 127.0.0.1 would let no Prometheus in from outside of the container.
# FORETELL_HEALTH_PORT: deliver answers on 9465, so give its containers that.
ENV PATH="/opt/foretell/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FORETELL_HTTP__HOST=0.0.0.0 \
    FORETELL_HEALTH_PORT=9464

USER 10001:10001
WORKDIR /var/lib/foretell
EXPOSE 9464 9465
STOPSIGNAL SIGTERM

# Docker marks an unhealthy container and leaves it running; orchestrators restart it (Kubernetes: /healthz as liveness,
# /readyz as readiness). http.client, because urllib would ask a proxy that the environment names.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['FORETELL_HEALTH_PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["foretell"]
CMD ["--help"]
