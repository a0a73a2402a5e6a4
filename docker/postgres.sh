# Sourced once, when PostgreSQL makes its cluster: the committer's database and account, which may do nothing else.
# shellcheck shell=bash
psql --quiet --set=ON_ERROR_STOP=1 --username=postgres --set=password="$(cat /var/lib/streamseal/postgres/streamseal)" <<'SQL'
CREATE ROLE streamseal LOGIN PASSWORD :'password';
CREATE DATABASE ledger OWNER streamseal;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
