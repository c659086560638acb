#!/bin/sh
# Print the Secrets that the manifests refer to, from the files that deploy/secrets.sh writes.
#
#   deploy/kubernetes/secrets.sh [FOLDER [HOSTNAME]] | kubectl apply -f -
#
# FOLDER (default: deploy/kubernetes/secrets) is written once and then kept: keep it as you keep passwords. For servers
# of your own, put database_url, s3_access_key and s3_secret_key there first, and a real certificate as tls/tls.crt, tls/tls.key.
# Needs openssl and kubectl (no cluster).
set -eu
here=$(dirname "$0")
folder=${1:-$here/secrets}
"$here/../secrets.sh" "$folder" "${2:-localhost}" >&2

secret() { kubectl create secret generic "$@" --namespace postroom --dry-run=client --output yaml; }
from() { printf ' --from-file=%s' "$@"; }

kubectl create namespace postroom --dry-run=client --output yaml
echo ---
cd "$folder"
# shellcheck disable=SC2046 # names without spaces
secret postroom-service $(from service_token)
echo ---
# shellcheck disable=SC2046
secret postroom-store $(from database_url admin_token s3_access_key s3_secret_key)
echo ---
# shellcheck disable=SC2046
secret postroom-dev $(from postgres_password s3_config)
echo ---
kubectl create secret tls postroom-tls --cert tls/tls.crt --key tls/tls.key --namespace postroom --dry-run=client --output yaml
