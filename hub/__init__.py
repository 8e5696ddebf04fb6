"""Ward device connectivity hub: MQTT in, time series, live values and alarms out."""

__version__ = "0.1.0"
