# Martlet in a small image. The Swift runtime is linked statically. OpenSSL comes from Debian, so
# that its security updates arrive with the base image.
#
#   docker build -t martlet:0.1.0 .
#   docker run -p 443:8443 -v "$PWD/site:/etc/martlet:ro" --name martlet martlet:0.1.0
#   docker exec martlet martlet status
#
# The folder `site` contains config.json and the files that it names. Use "*:8443" as the address of
# the listener: the loopback interface of a container can't be reached from outside. The process
# runs as user id 10001, which must be able to read the private keys. With Docker's defaults it may bind
# ports below 1024. With a read-only root, mount a folder for the admin socket:
#
#   docker run --read-only --tmpfs /run/martlet:uid=10001,gid=10001,mode=0750 ...

FROM swift:6.3.1-bookworm AS build
RUN apt-get -q update \
  && apt-get -q install -y --no-install-recommends libssl-dev pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /martlet
COPY Package.swift ./
COPY Sources Sources
# Package.swift also has these targets, so their folders must exist.
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
# /run/martlet has the admin socket, which `martlet status` and other commands use.
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
# Checks that the process answers on its admin socket, not that backends are up: a restart would not
# repair them.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["martlet", "status"]
# Exec form, so that Martlet gets the signals of docker stop and docker kill.
ENTRYPOINT ["martlet"]
CMD ["run", "--config", "/etc/martlet/config.json"]
