/* Keeps 4 GiB of data under a limit of 512 MiB and verifies all of it: larger_than_limit.cc in C.
 *   larger_than_limit_c [MEBIBYTES [LIMIT_MEBIBYTES]] */
#include <coldpress/coldpress.h>
#include <stdio.h>
#include <stdlib.h>

/* Text-like records: what a log or a cache holds. */
static uint64_t word_at(size_t index) {
  uint64_t record = index / 16;
  return index % 16 == 0 ? record : 0x2020746e65766520u + (record >> 7) % 251 * (index % 16);
}

static int fill_and_verify(coldpress_region* region) {
  uint64_t* words = coldpress_region_data(region);
  size_t count = coldpress_region_size(region) / sizeof *words;
  for (size_t i = 0; i < count; ++i) words[i] = word_at(i);
  for (size_t i = 0; i < count; ++i) {
    if (words[i] != word_at(i)) {
      fprintf(stderr, "wrong word at %zu\n", i);
      return 1;
    }
  }
  /* Not needed for a while: it goes now, instead of when something else needs the room. */
  return coldpress_region_cold(region, 0, coldpress_region_size(region)) != COLDPRESS_OK;
}

static unsigned long mebibytes(uint64_t bytes) { return (unsigned long)(bytes >> 20); }

int main(int argc, char** argv) {
  size_t bytes = (size_t)(argc > 1 ? strtoull(argv[1], NULL, 10) : 4096) << 20;
  coldpress_options options = COLDPRESS_OPTIONS_INIT;
  options.limit_bytes = (uint64_t)(argc > 2 ? strtoull(argv[2], NULL, 10) : 512) << 20;

  coldpress_pager* pager;
  coldpress_error error;
  if (coldpress_open(&options, &pager, &error) != COLDPRESS_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  coldpress_region* region;
  coldpress_status status = coldpress_map(pager, bytes, NULL, &region);
  if (status != COLDPRESS_OK) {
    fprintf(stderr, "%s\n", coldpress_status_text(status));
    return 1;
  }
  if (fill_and_verify(region) != 0) return 1;

  coldpress_pager_statistics s;
  status = coldpress_get_statistics(pager, &s, sizeof s);
  if (status != COLDPRESS_OK) return 1;
  printf("%lu MiB verified; resident %lu MiB, pool %lu MiB, tables %lu MiB, limit %lu MiB\n",
         mebibytes(bytes), mebibytes(s.resident_bytes), mebibytes(s.pool_bytes), mebibytes(s.metadata_bytes),
         mebibytes(s.limit_bytes));
  coldpress_unmap(region);
  return coldpress_close(pager) == COLDPRESS_OK ? 0 : 1;
}
