# catdog as a plain user, for read-only root file systems (docs/containers.md). For CPUs:
#     docker build -t catdog .
# and for NVIDIA's GPUs:
#     docker build -t catdog:cuda --build-arg TORCH= .

FROM python:3.11-slim-bookworm AS build
ARG TORCH=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/catdog \
    && /opt/catdog/bin/pip install ${TORCH:+--index-url "$TORCH"} "torch>=2.11" "torchvision>=0.26"
COPY pyproject.toml setup.py README.md LICENSE /source/
COPY configs /source/configs
COPY catdog /source/catdog
RUN /opt/catdog/bin/pip install "/source[web]"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/catdog /opt/catdog
RUN useradd --uid 1000 --no-create-home catdog \
    && install --directory --owner=catdog /work /work/runs /cache
ENV PATH=/opt/catdog/bin:$PATH XDG_CACHE_HOME=/cache MPLCONFIGDIR=/cache/matplotlib
USER 1000
WORKDIR /work
ENTRYPOINT ["catdog"]
CMD ["--help"]
