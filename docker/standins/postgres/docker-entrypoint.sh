#!/usr/bin/env bash
# The part of the public image's entrypoint that the compose file uses, for a container that runs as postgres: a new
# cluster with the superuser's password from a file, and the scripts of the first start.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # shellcheck disable=SC2086 # The options are words.
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --options="-c listen_addresses=''" --wait start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        # shellcheck source=/dev/null
        . "$script"
    done
    pg_ctl --mode=fast --wait stop
fi
exec "$@" -c listen_addresses='*'
