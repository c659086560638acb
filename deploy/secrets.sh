#!/bin/sh
# Write the secrets of docker-compose.yml: random values and a self-signed certificate.
#
#   deploy/secrets.sh [FOLDER [HOSTNAME]]      default: deploy/compose/secrets localhost
#
# What exists is kept, so running it again is harmless; to change a value, remove its file (postgres_password and
# database_url together, s3_access_key, s3_secret_key and s3_config together). Put a real certificate in place of
# tls/tls.crt and tls/tls.key before others connect; it is used within 10 s. Needs openssl.
set -eu
folder=${1:-$(dirname "$0")/compose/secrets}
hostname=${2:-localhost}
mkdir -p "$folder"
# Containers read the files as their own users, so the folder is what keeps others on this host out.
chmod 700 "$folder"
umask 022
cd "$folder"

random() { openssl rand -hex "$1"; }
value() { [ -s "$1" ] || random "$2" >"$1"; }

value postgres_password 24
value admin_token 32
value service_token 32
value s3_access_key 10
value grafana_password 12
value s3_secret_key 24
[ -s database_url ] || printf 'postgresql://postroom:%s@postgres/postroom\n' "$(cat postgres_password)" >database_url
[ -s s3_config ] || cat >s3_config <<JSON
{"identities": [{"name": "postroom", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$(cat s3_access_key)", "secretKey": "$(cat s3_secret_key)"}]}]}
JSON
mkdir -p tls
for file in tls.crt tls.key; do # where the release before had them
  if [ -s "$file" ] && [ ! -e "tls/$file" ]; then mv "$file" "tls/$file"; fi
done
if [ ! -s tls/tls.crt ] || [ ! -s tls/tls.key ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj "/CN=$hostname" \
    -addext "subjectAltName=DNS:$hostname" -keyout tls/tls.key -out tls/tls.crt 2>/dev/null
fi
chmod 755 tls
find . -type f -exec chmod 644 {} +
echo "secrets are in $(pwd)"
