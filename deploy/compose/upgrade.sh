#!/bin/sh
# Change the release while mail flows: the schema first, then for each service new replicas beside the old ones, which end
# their sessions and go when the new ones are healthy.
#
#   deploy/compose/upgrade.sh TAG
#
# The images of that tag must be here (docker compose pull, or build). Afterwards write POSTROOM_TAG=TAG into .env. Should a
# new replica not become healthy, the script ends and the old ones go on: run it again with the tag that was.
# POSTROOM_COMPOSE and POSTROOM_DOCKER: other commands than "docker compose" and "docker".
set -eu
tag=${1:?usage: upgrade.sh TAG}
cd "$(dirname "$0")/../.."
compose=${POSTROOM_COMPOSE:-docker compose}
docker=${POSTROOM_DOCKER:-docker}
export POSTROOM_TAG="$tag"

echo "schema"
$compose run --rm --no-deps -T store-api migrate

for service in store-api smtp-out smtp-in pop3 imap; do
	old=$($compose ps --quiet "$service")
	replicas=$(echo "$old" | grep -c . || true)
	[ "$replicas" -gt 0 ] || continue
	echo "$service: $replicas"
	if ! $compose up --detach --no-deps --no-recreate --scale "$service=$((replicas * 2))" \
		--wait --wait-timeout 180 "$service"; then
		echo "the new replicas of $service aren't healthy: see $compose logs $service" >&2
		exit 1
	fi
	# The balancer looks every 2 s who is there: it must know the new ones before the old ones go.
	sleep 5
	for container in $old; do
		$docker stop "$container" >/dev/null
		$docker rm "$container" >/dev/null
	done
done

# One process holds the published ports, and clients connect in vain while it is replaced: only where
# POSTROOM_BALANCER_TAG is another.
wanted=$($compose config --images | grep /balancer:)
running=$($docker inspect --format '{{.Config.Image}}' $($compose ps --quiet balancer))
if [ "$wanted" != "$running" ]; then
	echo "balancer: $wanted"
	$compose up --detach --no-deps --wait balancer
fi
echo "now in use: $tag"
