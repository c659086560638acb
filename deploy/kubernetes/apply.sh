#!/bin/sh
# Install or upgrade: the schema first, then everything else.
#
#   deploy/kubernetes/apply.sh OVERLAY        for example deploy/kubernetes/overlays/production
#
# Ends with an error, and the old release still running, when the migration fails or a service doesn't get ready.
set -eu
overlay=${1:?usage: apply.sh OVERLAY}
migrate=app.kubernetes.io/name=migrate
kubectl() { command kubectl --namespace postroom "$@"; }

command kubectl create namespace postroom --dry-run=client --output yaml | command kubectl apply -f -
# Where the overlay brings its own Postgres, the migration waits for it.
if command kubectl kustomize "$overlay" | grep -q 'secretName: postroom-dev'; then
  kubectl apply -k "$overlay" --selector 'app.kubernetes.io/name in (postgres, nats, s3)'
fi
kubectl apply -k "$overlay" --selector '!app.kubernetes.io/name'
kubectl delete job --selector "$migrate" --ignore-not-found
kubectl apply -k "$overlay" --selector "$migrate"
kubectl wait --for=condition=complete --timeout=3600s job/migrate
kubectl apply -k "$overlay"
for service in store-api smtp-in smtp-out pop3 imap; do
  kubectl rollout status "deployment/$service" --timeout=900s
done
