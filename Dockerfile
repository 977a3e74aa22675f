# syntax=docker/dockerfile:1
# docs/guide/container.md says how to use the image. What a RUN does is a script: scripts/test_container.py runs the same without Docker.

# cpu or cuda: which runtimes scripts/setup.py fetches. CUDA comes from its wheels, so that both have the same base.
ARG VARIANT=cpu

FROM rust:1.95.0-slim-bookworm AS build
ARG VARIANT
WORKDIR /src
COPY scripts/container/prepare.sh scripts/container/
RUN scripts/container/prepare.sh
# Before the sources: a change of those fetches nothing again.
COPY scripts/setup.py scripts/run_pip.py scripts/
COPY scripts/runtimes/ scripts/runtimes/
RUN python3 scripts/setup.py --variant "$VARIANT"
COPY . .
ARG REVISION=
RUN scripts/container/build.sh "$VARIANT" /opt/llama2-bench "$REVISION"

FROM debian:bookworm-slim AS runtime
COPY --from=build /opt/llama2-bench /opt/llama2-bench
COPY scripts/container/install.sh /opt/llama2-bench/
RUN /opt/llama2-bench/install.sh
# A user without a home (`--user`) keeps the cache beside the runs.
ENV LLAMA2_BENCH_CACHE=/runs/.cache
USER 1000:1000
WORKDIR /runs
VOLUME /runs
ENTRYPOINT ["llama2-bench"]
CMD ["--help"]

FROM runtime AS cpu

# For NVIDIA's container toolkit: which GPUs, and CUDA and NVML of the driver.
FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${VARIANT}
