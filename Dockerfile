# Martlet in a small image: the Swift runtime is linked in, OpenSSL comes from Debian, so that its
# security updates arrive with the base image.
#
#   docker build -t martlet:0.1.0 .
#   docker run -p 443:8443 -v "$PWD/site:/etc/martlet:ro" --name martlet martlet:0.1.0
#   docker exec martlet martlet status
#
# The folder holds config.json and the files that it names. Inside a container a listener has to
# listen on "*:8443", since the loopback interface is the container's own. The process runs as user
# id 10001, which must be able to read the private keys. Ports below 1024 are open to it under
# Docker's defaults. The root may be read-only; the admin socket then needs a place of its own:
#
#   docker run --read-only --tmpfs /run/martlet:uid=10001,gid=10001,mode=0750 ...

FROM swift:6.3.1-bookworm AS build
RUN apt-get -q update \
  && apt-get -q install -y --no-install-recommends libssl-dev pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /martlet
COPY Package.swift ./
COPY Sources Sources
# The manifest names these targets as well, so their folders have to be there.
COPY Benchmarks/Steady Benchmarks/Steady
COPY Tests Tests
# The same flags as in scripts/release. The argument is in the environment of the build.
ARG MARTLET_COMMIT=unknown
RUN swift build -c release --product martlet --static-swift-stdlib --scratch-path .build-release \
    -debug-info-format none --disable-local-rpath \
    -Xlinker -z -Xlinker now -Xlinker --build-id=none \
  && install -D -m 755 -s .build-release/release/martlet /out/martlet

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Martlet" \
  org.opencontainers.image.description="HTTPS edge load balancer" \
  org.opencontainers.image.version="0.1.0" \
  org.opencontainers.image.licenses="Apache-2.0"
# /run/martlet holds the admin socket, by which `martlet status` and the like find the process.
RUN apt-get -q update \
  && apt-get -q install -y --no-install-recommends libssl3 libstdc++6 ca-certificates \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin martlet \
  && install -d -o martlet -g martlet -m 0750 /run/martlet
COPY LICENSE NOTICE /usr/share/doc/martlet/
COPY --from=build /out/martlet /usr/local/bin/martlet
USER 10001:10001
WORKDIR /etc/martlet
EXPOSE 8080 8443
# Whether the process answers on its admin socket. Backends that are down don't count: a restart
# wouldn't bring them back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["martlet", "status"]
# Exec form: the signals that docker stop and docker kill send reach Martlet itself.
ENTRYPOINT ["martlet"]
CMD ["run", "--config", "/etc/martlet/config.json"]
