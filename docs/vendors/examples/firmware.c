/* What firmware does, written against four functions that every MQTT 3.1.1 library has. `mqtt_publish` returns when
 * the PUBACK is there, or false. The storage is a ring in flash that outlives a reset. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

bool mqtt_connect(const char *client_id, const char *will_topic, const char *will, bool will_retained);
bool mqtt_publish(const char *topic, const char *payload, int qos, bool retained);
int64_t clock_ms(void);               /* since 1970, UTC; set by NTP */
bool ring_push(const char *payload);  /* false when full: then stop measuring, or thin out, but say so */
bool ring_peek(char *payload, int size);
void ring_pop(void);
uint32_t counter_next(void);          /* rises by one a message */
void sleep_ms(int ms);

static char base[96], topic[128], payload[256];

void setup(const char *site, const char *area, const char *device) {
  snprintf(base, sizeof base, "wards/v1/%s/%s/%s", site, area, device);
}

static bool online(const char *device) {
  snprintf(topic, sizeof topic, "%s/status", base);
  return mqtt_connect(device, topic, "{\"state\":\"offline\"}", true) &&
         mqtt_publish(topic, "{\"state\":\"online\",\"interval_s\":1}", 1, true);
}

/* A value that the sensor doesn't have is null, never 0 and never the value of before. */
void measured(int heart_rate, bool has_spo2, int spo2) {
  char value[8] = "null";
  if (has_spo2) snprintf(value, sizeof value, "%d", spo2);
  snprintf(payload, sizeof payload, "{\"time\":%lld,\"seq\":%lu,\"values\":{\"heart_rate\":%d,\"spo2\":%s}}",
           (long long)clock_ms(), (unsigned long)counter_next(), heart_rate, value);
  ring_push(payload);
}

/* Oldest first; a message leaves the ring only when the broker has acknowledged it. */
void run(const char *device, int rounds) {
  bool connected = false;
  int delay_ms = 1000;
  while (rounds-- > 0) {
    if (!connected) {
      connected = online(device);
      if (!connected) {
        sleep_ms(delay_ms);
        delay_ms = delay_ms < 60000 ? delay_ms * 2 : 60000; /* add some chance, so that a ward doesn't knock at once */
        continue;
      }
      delay_ms = 1000;
    }
    snprintf(topic, sizeof topic, "%s/observations", base);
    while (connected && ring_peek(payload, sizeof payload)) {
      connected = mqtt_publish(topic, payload, 1, false);
      if (connected) ring_pop();
    }
    sleep_ms(100);
  }
}
