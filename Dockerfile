# One image for every part; what it runs is chosen by the command: web, worker, upkeep, migrate, check.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONPATH=/srv/throughline THROUGHLINE_DATA=/data HOST=0.0.0.0 PORT=5000
WORKDIR /srv/throughline

# The packages first: they change seldom, so most builds find this layer made.
COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock

COPY pyproject.toml wsgi.py gunicorn.conf.py ./
COPY app ./app
COPY jobs ./jobs
COPY migrations ./migrations
COPY templates ./templates
COPY static ./static
COPY samples ./samples

RUN useradd --system --uid 10001 --no-create-home throughline && install -d -o throughline /data
USER throughline
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM

ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["web"]
