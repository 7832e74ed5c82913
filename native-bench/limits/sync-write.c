/*
 * sync-write FILE BYTES MS fresh|recycled|direct|direct-sync
 *   fresh        a growing file, write + fdatasync
 *   recycled     over a file that was filled with zeros, write + fdatasync
 *   direct       the same file, O_DIRECT, no sync: what the device takes
 *   direct-sync  O_DIRECT | O_DSYNC
 */
#define _GNU_SOURCE
#include "timing.h"
#include <fcntl.h>
#include <unistd.h>

#define FILE_BYTES (256L * 1024 * 1024)
#define LATENCIES 1000000

static void die(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const char *path = argv[1], *mode = argv[4];
  long bytes = atol(argv[2]);
  double seconds = atof(argv[3]) / 1e3;
  int fresh = strcmp(mode, "fresh") == 0, direct = strncmp(mode, "direct", 6) == 0;
  char *block;
  if (posix_memalign((void **)&block, 4096, bytes) != 0) die("memory");
  memset(block, 7, bytes);
  if (fresh) unlink(path);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd < 0) die(path);
  if (!fresh && lseek(fd, 0, SEEK_END) < FILE_BYTES) {
    char *zeros = calloc(1, 256 * 1024);
    for (long at = 0; at < FILE_BYTES; at += 256 * 1024)
      if (pwrite(fd, zeros, 256 * 1024, at) != 256 * 1024) die("fill");
    if (fdatasync(fd) != 0) die("fdatasync");
  }
  if (direct) {
    close(fd);
    fd = open(path, O_RDWR | O_DIRECT | (strcmp(mode, "direct-sync") == 0 ? O_DSYNC : 0));
    if (fd < 0) die("O_DIRECT");
  }
  double *latencies = malloc(LATENCIES * sizeof(double));
  size_t n = 0;
  long at = 0, step = direct ? (bytes + 4095) / 4096 * 4096 : (bytes + 511) / 512 * 512;
  double began = now_s(), now = began;
  while (now < began + seconds && n < LATENCIES) {
    if (at + step > FILE_BYTES) {
      at = 0;
      if (fresh && ftruncate(fd, 0) != 0) die("truncate");
    }
    if (pwrite(fd, block, bytes, at) != bytes) die("write");
    if (!direct && fdatasync(fd) != 0) die("fdatasync");
    at += step;
    double then = now_s();
    latencies[n++] = then - now;
    now = then;
  }
  report(n, (double)n * bytes, now - began, latencies, n);
  return 0;
}
