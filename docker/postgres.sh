# Sourced once, when PostgreSQL creates its cluster. Makes the committer's database and its account, which has no other
# rights.
# shellcheck shell=bash
psql --quiet --set=ON_ERROR_STOP=1 --username=postgres --set=password="$(cat /var/lib/streamseal/postgres/streamseal)" <<'SQL'
CREATE ROLE streamseal LOGIN PASSWORD :'password';
CREATE DATABASE ledger OWNER streamseal;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
