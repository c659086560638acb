#!/bin/sh
# Put the certificate that Caddy got or renewed where the mail services read theirs; they use it within 10 s.
#
#   certificates.sh CADDY-DATA HOSTNAME TARGET-FOLDER [once]
#
# Looks every minute. A file is replaced as a whole, and a pair only after both parts are there; what the services find
# in between doesn't fit together, and they keep the old pair until it does.
set -eu
data=$1 host=$2 target=$3 often=${4:-}

newest() { ls -t "$data"/caddy/certificates/*/"$host"/"$host".crt 2>/dev/null | head -n 1; }

# Readable for the services, which have users of their own; only their containers see the folder.
replace() {
	cp "$1" "$2.new"
	chmod 0644 "$2.new"
	mv "$2.new" "$2"
}

while :; do
	certificate=$(newest)
	key=${certificate%.crt}.key
	if [ -n "$certificate" ] && [ -s "$certificate" ] && [ -s "$key" ]; then
		if ! cmp -s "$certificate" "$target/tls.crt" || ! cmp -s "$key" "$target/tls.key"; then
			replace "$key" "$target/tls.key"
			replace "$certificate" "$target/tls.crt"
			echo "certificate of $host is in use from now on"
		fi
	fi
	[ "$often" != once ] || exit 0
	sleep 60
done
