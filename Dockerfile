# Weir's image, for people with Docker: docker build -t weir:0.1.0 . (scripts/image builds it without).
FROM debian:bookworm-slim AS base
RUN apt-get update \
  && apt-get install -y --no-install-recommends iproute2 iptables libatomic1 util-linux \
  && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /var/log/* /var/cache/debconf

FROM node:26-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /weir
COPY package.json package-lock.json ./
# Not npm ci: it insists that the lock file names the binaries of every platform. No package needs its install script.
RUN npm install --no-save --ignore-scripts --no-audit --no-fund
COPY . .
RUN mkdir dist && scripts/build-cni dist/weir-cni
RUN rm -rf node_modules && npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules -name '*.d.ts' -delete && find node_modules -name '*.map' -delete \
  && rm -rf node_modules/node-linux-*/include node_modules/node-linux-*/share

FROM base
COPY --from=build /weir/node_modules /weir/node_modules
COPY --from=build /weir/dist /weir/dist
COPY package.json LICENSE /weir/
COPY scripts/weir scripts/node-path /weir/scripts/
COPY cni /weir/cni
COPY src /weir/src
COPY agent /weir/agent
# Users of proxies and of the CA; and each program started once, so that its code is compiled in the image, where it is
# read-only later. The CA finds what root compiled under its own user.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin --uid 1337 weir-proxy \
  && useradd --system --no-create-home --shell /usr/sbin/nologin --uid 1338 weir-ca \
  && ln -s /weir/scripts/weir /usr/bin/weir \
  && export NODE_COMPILE_CACHE=/weir/node_modules/.cache/weir \
  && weir agent --help >/dev/null && weir ca --help >/dev/null && weir status --help >/dev/null \
  && for main in src/proxy/main.ts agent/identity/issuer-main.ts agent/cri/cri-main.ts agent/logs/log-worker.ts; do \
    /weir/node_modules/.bin/node "/weir/$main" --help >/dev/null 2>&1 || true; done \
  && for cache in "$NODE_COMPILE_CACHE"/*-0; do ln -s "${cache##*/}" "${cache%-0}-1338"; done \
  && chmod -R a+rX "$NODE_COMPILE_CACHE"
ENTRYPOINT ["/weir/scripts/weir"]
CMD ["help"]
