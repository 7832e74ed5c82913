/*
 * crc32c BYTES MS: CRC-32C by the instruction of the processor, one stream of 8 bytes at a time (three interleaved streams would be
 * up to three times as fast). Ends with 3 where the processor has no such instruction.
 */
#include "timing.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
__attribute__((target("sse4.2"))) static uint32_t crc(const uint8_t *bytes, size_t n) {
  uint64_t c = 0xffffffff;
  for (; n >= 8; n -= 8, bytes += 8) c = _mm_crc32_u64(c, *(const uint64_t *)bytes);
  for (; n > 0; n--) c = _mm_crc32_u8((uint32_t)c, *bytes++);
  return ~(uint32_t)c;
}
static int can(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t crc(const uint8_t *bytes, size_t n) {
  uint32_t c = 0xffffffff;
  for (; n >= 8; n -= 8, bytes += 8) c = __crc32cd(c, *(const uint64_t *)bytes);
  for (; n > 0; n--) c = __crc32cb(c, *bytes++);
  return ~c;
}
static int can(void) { return 1; }
#else
static uint32_t crc(const uint8_t *bytes, size_t n) { return bytes[n - 1]; }
static int can(void) { return 0; }
#endif

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  if (!can()) return 3;
  if (crc((const uint8_t *)"123456789", 9) != 0xe3069283) return 4;
  size_t bytes = atol(argv[1]);
  double seconds = atof(argv[2]) / 1e3;
  uint8_t *block = malloc(bytes);
  memset(block, 7, bytes);
  double began = now_s(), n = 0;
  volatile uint32_t sink = 0;
  while (now_s() < began + seconds) {
    for (int i = 0; i < 16; i++) sink += crc(block, bytes);
    n += 16;
  }
  report(n, n * bytes, now_s() - began, NULL, 0);
  return 0;
}
