// A page in the background gets its timers once a minute; a worker's go on, so the watch never sleeps.
setInterval(() => postMessage(null), 250);
