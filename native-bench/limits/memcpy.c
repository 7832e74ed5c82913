/* memcpy BYTES MS: copies between two buffers of that size. */
#include "timing.h"

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  size_t bytes = atol(argv[1]);
  double seconds = atof(argv[2]) / 1e3;
  char *from = malloc(bytes), *to = malloc(bytes);
  memset(from, 1, bytes);
  memset(to, 2, bytes);
  double began = now_s(), n = 0;
  volatile char sink = 0;
  while (now_s() < began + seconds) {
    for (int i = 0; i < 16; i++) {
      memcpy(to, from, bytes);
      __asm__ volatile("" : : "r"(to) : "memory");
    }
    n += 16;
  }
  sink += to[bytes - 1];
  report(n, n * bytes, now_s() - began, NULL, 0);
  return 0;
}
