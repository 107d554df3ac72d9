# Martlet in a small image: the Swift runtime is linked in, OpenSSL comes from Debian, so that its
# security updates arrive with the base image.
#
#   docker build -t martlet .
#   docker run -p 8443:8443 -v "$PWD/site:/etc/martlet:ro" martlet
#
# The folder holds config.json and what it names. Inside a container a listener has to listen on
# "*:8443", since the loopback interface is the container's own. The user has the id 10001 and must
# be able to read the private keys; ports below 1024 are open to it under Docker's defaults.

FROM swift:6.3-bookworm AS build
RUN apt-get -q update \
  && apt-get -q install -y --no-install-recommends libssl-dev pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /martlet
COPY Package.swift ./
COPY Sources Sources
# The manifest names these targets as well, so their folders have to be there.
COPY Benchmarks/Steady Benchmarks/Steady
COPY Tests Tests
RUN swift build -c release --product martlet --static-swift-stdlib \
  && install -D -s "$(swift build -c release --show-bin-path)/martlet" /out/martlet

FROM debian:bookworm-slim
RUN apt-get -q update \
  && apt-get -q install -y --no-install-recommends libssl3 libstdc++6 ca-certificates \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin martlet
COPY --from=build /out/martlet /usr/local/bin/martlet
USER 10001
WORKDIR /etc/martlet
EXPOSE 8443
# Exec form: the signals that docker stop and docker kill send reach Martlet itself.
ENTRYPOINT ["martlet"]
CMD ["run", "--config", "/etc/martlet/config.json"]
