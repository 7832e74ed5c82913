/* lz4 FILE BYTES MS: compresses blocks of FILE by liblz4, the reference implementation. Its header need not be installed. */
#include "timing.h"

int LZ4_compress_default(const char *from, char *to, int from_bytes, int to_bytes);

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int bytes = atoi(argv[2]);
  double seconds = atof(argv[3]) / 1e3;
  char *from = calloc(1, bytes), *to = malloc(bytes + bytes / 255 + 16);
  FILE *file = fopen(argv[1], "rb");
  if (file == NULL) return 2;
  int filled = (int)fread(from, 1, bytes, file);
  for (int at = filled; filled > 0 && at < bytes; at++) from[at] = from[at - filled];
  fclose(file);
  double began = now_s(), n = 0;
  while (now_s() < began + seconds) {
    if (LZ4_compress_default(from, to, bytes, bytes + bytes / 255 + 16) <= 0) return 1;
    n++;
  }
  report(n, n * bytes, now_s() - began, NULL, 0);
  return 0;
}
