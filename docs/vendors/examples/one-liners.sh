#!/bin/sh
# Each line publishes one message. Needs mosquitto_pub (Debian: apt-get install mosquitto-clients).
set -eu
host=${HOST:-127.0.0.1} port=${PORT:-1883} base=wards/v1/main/icu/${DEVICE:-acme-9}

# online, retained: a hub that starts later knows it too
mosquitto_pub -h "$host" -p "$port" -q 1 -r -t "$base/status" -m '{"state":"online","interval_s":5,"battery":88}'

# values of one time
mosquitto_pub -h "$host" -p "$port" -q 1 -t "$base/observations" \
  -m '{"time":"2026-11-24T02:43:12.123Z","seq":1,"values":{"heart_rate":72,"spo2":97}}'

# several times in one message, one of them without a value
mosquitto_pub -h "$host" -p "$port" -q 1 -t "$base/observations" \
  -m '[{"time":1795488193123,"seq":2,"values":{"heart_rate":73}},{"time":1795488194123,"seq":3,"values":{"heart_rate":null}}]'

# an alarm that the device raises itself, and its end
mosquitto_pub -h "$host" -p "$port" -q 1 -t "$base/alarms" \
  -m '{"time":"2026-11-24T02:43:15Z","alarms":[{"condition":"leads_off","state":"present","priority":"low","text":"Leads off"}]}'
mosquitto_pub -h "$host" -p "$port" -q 1 -t "$base/alarms" \
  -m '{"time":"2026-11-24T02:43:25Z","alarms":[{"condition":"leads_off","state":"absent"}]}'

# half a second of an ECG
mosquitto_pub -h "$host" -p "$port" -q 0 -t "$base/waveforms" \
  -m '{"time":"2026-11-24T02:43:12Z","seq":4,"waveform":"ecg_ii","rate":8,"scale":0.005,"unit":"mV","samples":[0,4,120,-30]}'

# beacons that a gateway heard
mosquitto_pub -h "$host" -p "$port" -q 0 -t "$base/sightings" \
  -m '{"time":"2026-11-24T02:43:12Z","sightings":[{"beacon":"AC233F8C7CEE","rssi":-58,"tx_power":-59}]}'
