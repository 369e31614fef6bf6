# syntax=docker/dockerfile:1
# nbit and libtorch, without what only building them needs:
#
#   docker build -t nbit:0.1.0 .                                 for CPUs
#   docker build -t nbit:0.1.0-cuda --build-arg VARIANT=cuda .   for NVIDIA's GPUs: docker run --gpus all
#
# An image of yours begins with `FROM nbit:0.1.0` and copies a program to /app: docs/deploying.md.
ARG NODE=node:22.23.3-bookworm-slim
ARG VARIANT=cpu

FROM ${NODE} AS tools
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
ENV NBIT_HOME=/opt/nbit

# PyPI's wheel is the one for GPUs; the one for CPUs, a tenth of it, lies in an index of PyTorch's.
FROM tools AS cpu
ENV NBIT_TORCH_SPEC=torch==2.13.0+cpu PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

FROM tools AS cuda
ENV NBIT_TORCH_SPEC=torch==2.13.0

# The packages of this checkout, then a project that has them installed, as anybody's has. Behind a company's indexes:
# docker build --secret id=pip,src=pip.conf --secret id=npm,src=.npmrc
FROM ${VARIANT} AS build
WORKDIR /nbit
COPY . .
RUN --mount=type=cache,target=/root/.npm \
    --mount=type=cache,target=/opt/nbit/objects \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=npm,target=/usr/local/etc/npmrc \
    npm run pack
WORKDIR /app
RUN --mount=type=cache,target=/root/.npm \
    --mount=type=cache,target=/opt/nbit/objects \
    --mount=type=secret,id=npm,target=/usr/local/etc/npmrc \
    npm init -y && npm pkg set type=module && npm install /nbit/build/packages/*.tgz && npx nbit setup \
 && rm -rf /opt/nbit/libtorch-*/torch/include

FROM ${NODE}
ENV NODE_ENV=production NBIT_HOME=/opt/nbit
COPY --from=build /opt/nbit /opt/nbit
COPY --from=build /app /app
WORKDIR /app
RUN chown node:node /app
USER node
CMD ["node_modules/.bin/nbit", "doctor"]
