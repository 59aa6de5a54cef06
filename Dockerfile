# anonymizer on a CPU, ready to run without a network:
#   docker build -t anonymizer .
#   docker run --rm --network none -v "$PWD/street:/in:ro" -v "$PWD/released:/out" anonymizer anonymizer run /in /out
#   docker run --rm --network none anonymizer make demo
FROM python:3.11-slim-bookworm

# OpenCV loads libGL even where it opens no window; make runs the demo. Debian has one version of each at a time.
# Nothing runs as root: OUTPUT's folder must be writable for this user, or give --user.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y libgl1 libglib2.0-0 make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 anonymizer \
 && install -d -o anonymizer /opt/anonymizer
USER 1000
WORKDIR /opt/anonymizer

COPY --chown=anonymizer . .
RUN PIP_NO_CACHE_DIR=1 make .venv/.installed
ENV PATH=/opt/anonymizer/.venv/bin:$PATH
CMD ["anonymizer", "--help"]
