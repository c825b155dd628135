# syntax=docker/dockerfile:1
# The server alone: it needs a PostgreSQL (DATABASE_URL), the embedded one is for development.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The caches outlive this layer, so the program is copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin glassbox \
    && cp target/release/glassbox /usr/local/bin/glassbox

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin glassbox
COPY --from=build /usr/local/bin/glassbox /usr/local/bin/glassbox
USER 10001:10001
ENV PORT=8080 GLASSBOX_BIND=0.0.0.0
EXPOSE 8080
# SIGTERM starts the drain: readiness turns off first, sockets are closed with a reason.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD curl --fail --silent --show-error --max-time 2 "http://127.0.0.1:${PORT}/readyz" || exit 1
ENTRYPOINT ["glassbox"]
CMD ["serve"]
