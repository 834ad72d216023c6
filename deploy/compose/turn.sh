#!/bin/sh
# Starts coturn with the shipped configuration, this machine's addresses, and the certificate that Caddy keeps for its name;
# and hands it each new one. Arguments go to turnserver.
set -eu
: "${TURN_HOST:?}" "${TURN_SECRET:?}" "${PUBLIC_ADDRESS:?}"
: "${MACHINE_ADDRESS:=$PUBLIC_ADDRESS}" "${CERTIFICATES:=/caddy/caddy/certificates}"
: "${SHIPPED:=/etc/coturn/turnserver.conf}" "${ROOM:=/run}" "${LOOK_SECONDS:=3600}"
umask 077

# Caddy keeps one folder for each authority; the newest certificate counts.
newest() {
    found=""
    for one in "$CERTIFICATES"/*/"$TURN_HOST/$TURN_HOST.crt"; do
        if [ -s "$one" ] && [ -s "${one%.crt}.key" ]; then
            if [ -z "$found" ] || [ "$one" -nt "$found" ]; then found=$one; fi
        fi
    done
    [ -n "$found" ]
}

# True if there is one that coturn does not have yet; it is put where coturn reads it.
take() {
    newest || return 1
    cmp -s "$found" "$ROOM/turn.crt" && return 1
    cp "$found" "$ROOM/turn.crt" && cp "${found%.crt}.key" "$ROOM/turn.key"
}

child="" watch=""
leave() {
    trap - TERM INT
    # shellcheck disable=SC2086  # those that there are
    [ -z "$child" ] || kill -TERM $child $watch 2>/dev/null || true
    [ -z "$child" ] || wait "$child" || true
    exit 0
}
trap leave TERM INT

rm -f "$ROOM/turn.crt"
until take; do
    echo "turn: no certificate for $TURN_HOST yet: does $TURN_HOST lead to this machine in the DNS, and is port 80 open?" >&2
    sleep 5 & wait $!
done

addresses="listening-ip=127.0.0.1
listening-ip=$MACHINE_ADDRESS
relay-ip=$MACHINE_ADDRESS"
[ "$PUBLIC_ADDRESS" = "$MACHINE_ADDRESS" ] || addresses="$addresses
external-ip=$PUBLIC_ADDRESS/$MACHINE_ADDRESS"
[ -z "${PUBLIC_ADDRESS_6:-}" ] || addresses="$addresses
listening-ip=$PUBLIC_ADDRESS_6
relay-ip=$PUBLIC_ADDRESS_6"
{
    grep -vE '^(cert|pkey|tls-listening-port)=' "$SHIPPED"
    printf '%s\n' "static-auth-secret=$TURN_SECRET" "cert=$ROOM/turn.crt" "pkey=$ROOM/turn.key" \
        "tls-listening-port=5349" "pidfile=$ROOM/turnserver.pid" "$addresses"
} >"$ROOM/turnserver.conf"

turnserver -c "$ROOM/turnserver.conf" "$@" &
child=$!
while sleep "$LOOK_SECONDS"; do
    if take; then kill -USR2 "$child"; fi
done &
watch=$!
wait "$child" && ended=0 || ended=$?
kill "$watch" 2>/dev/null || true
exit "$ended"
