# One image for the containers of deploy/: the driver, the switch with its native engine, and the program that Felix starts in calico-node.
FROM node:20-bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libdpdk-dev make pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /calico-p4
COPY . .
RUN make build engine \
 && npm prune --omit=dev \
 && strip native/build/calico-p4-engine native/build/calico-p4-felix-bridge

FROM node:20-bookworm-slim
LABEL org.opencontainers.image.title="calico-p4" \
      org.opencontainers.image.description="A dataplane driver for Calico on P4 targets, with an embedded P4Runtime switch" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 libbsd0 libnuma1 libpcap0.8 nftables procps \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /calico-p4
COPY --from=build /calico-p4/package.json ./
COPY --from=build /calico-p4/node_modules node_modules
COPY --from=build /calico-p4/p4runtime-js-bindings p4runtime-js-bindings
COPY --from=build /calico-p4/felix-proto felix-proto
COPY --from=build /calico-p4/pipelines pipelines
COPY --from=build /calico-p4/native/build native/build
COPY --from=build /calico-p4/bin bin
COPY --from=build /calico-p4/dist dist
# The driver needs no more. The switch with its engine, and a driver that keeps the host's network, need root (deploy/).
USER node
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9191/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/calico-p4/bin/calico-p4"]
CMD ["driver"]
