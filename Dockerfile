# The driver's image: what runs beside calico-node, on the other end of the socket that Felix's side is joined to.
FROM node:20-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /calico-p4
COPY . .
RUN make build && npm prune --omit=dev

FROM node:20-bookworm-slim
WORKDIR /calico-p4
COPY --from=build /calico-p4/package.json ./
COPY --from=build /calico-p4/node_modules node_modules
COPY --from=build /calico-p4/p4runtime-js-bindings p4runtime-js-bindings
COPY --from=build /calico-p4/felix-proto felix-proto
COPY --from=build /calico-p4/pipelines pipelines
COPY --from=build /calico-p4/bin bin
COPY --from=build /calico-p4/dist dist
USER node
ENTRYPOINT ["/calico-p4/bin/calico-p4"]
CMD ["driver"]
