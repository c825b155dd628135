#!/usr/bin/env bash
# Runs once, when the container makes its cluster: the server's login and the roles that it acts as.
# The migrations find these two group roles made and give them their rights.
set -euo pipefail
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$GLASSBOX_SERVER_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create role glassbox_app nologin;
create role glassbox_reader nologin;
create role glassbox_server
  login nosuperuser nobypassrls nocreatedb nocreaterole
  password :'password'
  in role glassbox_app, glassbox_reader;
SQL
