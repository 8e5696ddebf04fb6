"""MQTT: packets, the hub's session, topics, the embedded broker. No other package speaks MQTT."""
