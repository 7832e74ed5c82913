#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* One line of JSON: operations and bytes per second, and percentiles in ms of the first `n` latencies in seconds. */
static inline void report(double operations, double bytes, double seconds, double *latencies, size_t n) {
  if (n > 0) qsort(latencies, n, sizeof *latencies, by_size);
  double p50 = n > 0 ? latencies[n / 2] * 1e3 : 0, p99 = n > 0 ? latencies[(size_t)(n * 0.99)] * 1e3 : 0;
  printf("{\"rate\":%f,\"bytesPerSecond\":%f,\"p50\":%f,\"p99\":%f}\n", operations / seconds, bytes / seconds, p50, p99);
}
