# syntax=docker/dockerfile:1
# A clone and its environment, for a user without rights: docs/installing.md
#   docker build --tag bss .
#   docker build --tag bss:cuda --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 --build-arg TORCH= .
ARG BASE=ubuntu:24.04
FROM ${BASE}
# The build of torch: cpu, or nothing for the one with CUDA, which brings its libraries.
ARG TORCH=cpu

RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git make python3 python3-venv \
  && rm --recursive --force /var/lib/apt/lists/* \
  && if id ubuntu; then userdel --remove ubuntu; fi \
  && useradd --create-home --uid 1000 bss \
  && chmod a+rx /home/bss \
  && install --directory --owner bss --group bss /bss /home/bss/.cache

# The environment lies outside of /bss, so that a clone may be mounted there; make finds it by MAKEFLAGS.
ENV LANG=C.UTF-8 \
  PATH=/home/bss/venv/bin:$PATH \
  MAKEFLAGS="VENV=/home/bss/venv TORCH=${TORCH}" \
  UV_LINK_MODE=copy
USER bss
WORKDIR /bss

# A layer of its own, which a change of code does not touch.
COPY --chown=bss:bss Makefile pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/home/bss/.cache,uid=1000,gid=1000 make /home/bss/venv/packages
COPY --chown=bss:bss . .
RUN make /home/bss/venv/ready

ENTRYPOINT ["bss"]
CMD ["run"]
