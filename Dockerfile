# Operator, proxy, archive and command line. Build after `make build`, with the repository as context:
#   docker build -t sallyport .
# BASE gives the C library and the certificate authorities; nothing else of it is in the image. NODE is a path in the context.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
ARG NODE=node_modules/node/bin/node
WORKDIR /src
COPY . .
RUN scripts/image-root.sh "$NODE" /root-of-image \
 && mkdir -p /root-of-image/app \
 && "$NODE" scripts/production-packages.ts /root-of-image/app \
 && cp -R package.json LICENSE crds dist /root-of-image/app/

FROM scratch
LABEL org.opencontainers.image.title="sallyport" \
      org.opencontainers.image.description="Access gateway for automated agents: operator, proxy, archive and command line" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /root-of-image/ /
ENV NODE_ENV=production PATH=/usr/bin
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["/usr/bin/node", "/app/dist/cli/main.js"]
CMD ["--help"]
