# The server, its command line and the node agent, in one image. Rootless but where the agent needs more.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
RUN python -m venv /opt/rheostat
RUN /opt/rheostat/bin/pip install --no-cache-dir --disable-pip-version-check '.[server,agent,otel]' \
    && /opt/rheostat/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Rheostat" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.description="The server, its command line and the node agent"
# The agent's group is of the same number on the host: members of it may use the agent's socket.
RUN useradd --uid 10001 --user-group --no-log-init --home-dir /var/lib/rheostat --create-home rheostat
COPY --from=build /opt/rheostat /opt/rheostat
ENV PATH=/opt/rheostat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RHEOSTAT_HOST=0.0.0.0 \
    RHEOSTAT_LOG_FORMAT=json \
    XDG_STATE_HOME=/var/lib
USER 10001:10001
WORKDIR /var/lib/rheostat
EXPOSE 8420
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('RHEOSTAT_PORT', '8420') + '/healthz', timeout=4)"]
ENTRYPOINT ["rheostat"]
CMD ["serve"]
