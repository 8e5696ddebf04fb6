#!/bin/sh
# Make every secret that compose.yaml names, each once: run it again and nothing changes.
#   deploy/make_secrets.sh [HOST…]    names and addresses by which browsers and devices reach this machine
# The folder is for its owner alone; the files in it are readable so that each container's own user can read
# those that are mounted into it.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { openssl rand -hex 24; }
once() { # once NAME: keep what is there, else write a random one
  [ -s "$1" ] || random >"$1"
}

for name in broker_hub_password broker_simulators_password influxdb_password influxdb_token grafana_password; do
  once "$name"
done

if [ ! -s broker_users.conf ]; then
  cat >broker_users.conf <<CONF
authorization {
  users: [
    { user: hub, password: "$(cat broker_hub_password)" }
    { user: simulators, password: "$(cat broker_simulators_password)", permissions: {
        publish: { allow: "wards.v1.>" }, subscribe: { allow: ["\$MQTT.sub.>"] } } }
    # A device: { user: mon-1, password: "…", permissions: {
    #   publish: { allow: "wards.v1.*.*.mon-1.>" },
    #   subscribe: { allow: ["wards.v1.*.*.mon-1.>", "\$MQTT.sub.>"] } } }
  ]
}
CONF
fi

if [ ! -s mosquitto_passwords ] && command -v mosquitto_passwd >/dev/null; then
  mosquitto_passwd -c -b mosquitto_passwords hub "$(cat broker_hub_password)" 2>/dev/null
  mosquitto_passwd -b mosquitto_passwords simulators "$(cat broker_simulators_password)" 2>/dev/null
fi
[ -e mosquitto_passwords ] || : >mosquitto_passwords # only the profile `mosquitto` needs it
# Prometheus gets in with a token of the hub's own: hub token create, see docs/how-to/deploy.md.
[ -e metrics_token ] || : >metrics_token

if [ ! -s ca_cert ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj "/CN=wardhub CA" -keyout ca_key -out ca_cert 2>/dev/null
fi
certificate() { # certificate NAME ALTERNATIVES
  [ -s "$1_cert" ] && return
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$1_key" -out "$1.csr" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$2" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca_cert -CAkey ca_key -CAcreateserial -days 825 -extfile "$1.ext" \
    -out "$1_cert" 2>/dev/null
  rm -f "$1.csr" "$1.ext"
}
names=""
for host in localhost 127.0.0.1 "$@"; do
  case "$host" in
    *[!0-9.]*) names="$names,DNS:$host" ;;
    *) names="$names,IP:$host" ;;
  esac
done
certificate broker "DNS:broker$names"
certificate hub "DNS:hub$names"

chmod 644 -- *
chmod 600 ca_key
echo "secrets are in $(pwd); give ca_cert to browsers and devices, and keep ca_key off this machine"
