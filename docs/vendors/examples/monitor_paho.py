"""A monitor with paho-mqtt: buffers while the broker is away and loses nothing."""

import json
import os
import sqlite3
import sys
import time

import paho.mqtt.client as mqtt

HOST, PORT = os.environ.get("BROKER", "127.0.0.1:1883").split(":")
SITE, AREA, DEVICE = "main", "icu", os.environ.get("DEVICE", "acme-7")
BASE = f"wards/v1/{SITE}/{AREA}/{DEVICE}"
READINGS = int(os.environ.get("READINGS", "10"))

# What was measured and not yet acknowledged. On flash or disk: it outlives a restart of the device.
outbox = sqlite3.connect(os.environ.get("OUTBOX", "outbox.sqlite"), isolation_level=None)
outbox.execute("CREATE TABLE IF NOT EXISTS reading (seq INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT)")


def measure(seq: int) -> str:
    return json.dumps(
        {
            "time": int(time.time() * 1000),  # when it was determined; RFC 3339 with a zone is fine too
            "seq": seq,
            "values": {
                "heart_rate": 72,
                "spo2": 97,
                "respiratory_rate": 15,
                "temperature": 98.2,
                "nibp_mean": None,
            },
            "units": {"temperature": "[degF]"},
            "quality": {"spo2": "questionable"},
        }
    )


def on_connect(client, userdata, flags, reason, properties):
    if reason.is_failure:
        print(f"refused: {reason}", file=sys.stderr)
        return
    client.subscribe(f"{BASE}/diagnostics", qos=1)  # what the hub could not use of our messages, and why
    client.publish(f"{BASE}/status", json.dumps({"state": "online", "interval_s": 1}), qos=1, retain=True)


def on_message(client, userdata, message):
    for reject in json.loads(message.payload)["rejects"]:
        print(f"the hub can't use {reject['path']}: {reject['reason']}", file=sys.stderr)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=mqtt.MQTTv311)
client.on_connect, client.on_message = on_connect, on_message
client.will_set(f"{BASE}/status", json.dumps({"state": "offline"}), qos=1, retain=True)
if "PASSWORD" in os.environ:
    client.username_pw_set(DEVICE, os.environ["PASSWORD"])
if "CA_FILE" in os.environ:  # TLS, with a certificate of its own whose common name is the device
    client.tls_set(os.environ["CA_FILE"], os.environ.get("CERT_FILE"), os.environ.get("KEY_FILE"))
client.reconnect_delay_set(min_delay=1, max_delay=60)
client.connect_async(HOST, int(PORT), keepalive=30)
client.loop_start()

taken = 0
while taken < READINGS or outbox.execute("SELECT count(*) FROM reading").fetchone()[0]:
    if taken < READINGS:
        outbox.execute("INSERT INTO reading (payload) VALUES ('')")
        seq = outbox.execute("SELECT last_insert_rowid()").fetchone()[0]
        outbox.execute("UPDATE reading SET payload = ? WHERE seq = ?", (measure(seq), seq))
        taken += 1
    if client.is_connected():
        # Oldest first, one after the other: deleted only once the broker has acknowledged it. What was under
        # way when the connection broke goes twice; the hub knows it by time and seq.
        for seq, payload in outbox.execute("SELECT seq, payload FROM reading ORDER BY seq").fetchall():
            try:
                sent = client.publish(f"{BASE}/observations", payload, qos=1)
                sent.wait_for_publish(10)
                if not sent.is_published():
                    break
            except (RuntimeError, ValueError):  # the connection is gone
                break
            outbox.execute("DELETE FROM reading WHERE seq = ?", (seq,))
    time.sleep(float(os.environ.get("EVERY_S", "1")))

client.publish(f"{BASE}/status", json.dumps({"state": "offline"}), qos=1, retain=True).wait_for_publish(5)
client.disconnect()
client.loop_stop()
