/* A C program that uses all of the library: every function, and every way to call it wrongly that it can see.
 *
 *   library_c FILE thread|signal */
#define _POSIX_C_SOURCE 200809L
#include <coldpress/coldpress.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPage = 4096, kWords = kPage / sizeof(uint64_t) };
static const size_t kMiB = 1024 * 1024;

static void die(const char* what, const char* why) {
  printf("FAILED: %s: %s\n", what, why);
  fflush(stdout);
  _exit(1);
}

static void expect(coldpress_status status, coldpress_status expected, const char* what) {
  if (status != expected) die(what, coldpress_status_text(status));
}

static void require(int good, const char* what) {
  if (!good) die(what, "no");
}

static uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

/* Of key 1 every other page does not compress; all others repeat what is new in them. */
static uint64_t word(uint64_t key, size_t page, size_t i) {
  uint64_t seed = key * 0x100000001b3u + page;
  return mix(seed * kWords + (key == 1 && page % 2 == 0 ? i : i % (kWords / 16)));
}

static void fill(coldpress_region* region, uint64_t key) {
  uint64_t* at = coldpress_region_data(region);
  size_t pages = coldpress_region_size(region) / kPage;
  for (size_t page = 0; page < pages; ++page) {
    for (size_t i = 0; i < kWords; ++i) at[page * kWords + i] = word(key, page, i);
  }
}

/* From the page `first` on. */
static void verify(const coldpress_region* region, uint64_t key, size_t first) {
  const uint64_t* at = coldpress_region_data(region);
  size_t pages = coldpress_region_size(region) / kPage;
  for (size_t page = first; page < pages; ++page) {
    for (size_t i = 0; i < kWords; ++i) {
      if (at[page * kWords + i] != word(key, page, i)) die("content", "wrong");
    }
  }
}

static coldpress_pager_statistics statistics(const coldpress_pager* pager) {
  coldpress_pager_statistics s;
  expect(coldpress_get_statistics(pager, &s, sizeof s), COLDPRESS_OK, "statistics");
  return s;
}

static coldpress_group_statistics group_statistics(const coldpress_group* group) {
  coldpress_group_statistics s;
  expect(coldpress_group_get_statistics(group, &s, sizeof s), COLDPRESS_OK, "statistics of a group");
  return s;
}

static coldpress_region* map(coldpress_pager* pager, size_t bytes, const coldpress_group* group) {
  coldpress_region* region;
  expect(coldpress_map(pager, bytes, group, &region), COLDPRESS_OK, "map");
  require(coldpress_region_data(region) != NULL && coldpress_region_size(region) == bytes, "a region");
  return region;
}

/* The region does not fit into the limit, nor what it compresses to. */
static void devices(coldpress_pager* pager, const char* file, coldpress_region* region) {
  coldpress_error error;
  char device[512];
  snprintf(device, sizeof device, "%s,size=256M", file);
  expect(coldpress_swapon(pager, device, &error), COLDPRESS_OK, error.text);
  expect(coldpress_swapon(pager, device, &error), COLDPRESS_REFUSED, "a device twice");
  require(strlen(error.text) > 10, "the reason");
  fill(region, 1);
  verify(region, 1, 0);
  coldpress_pager_statistics s = statistics(pager);
  require(s.limit_bytes == 32 * kMiB && s.resident_bytes <= s.limit_bytes, "the limit");
  require(s.resident_bytes + s.pool_bytes <= s.limit_bytes + kMiB && s.limit_exceeded == 0, "it was held");
  require(s.swap_pages > 1000 && s.pswpin > 0 && s.pswpout > 0, "the device is in use");
  expect(coldpress_writeback(pager, kMiB, &error), COLDPRESS_OK, error.text);
  coldpress_device told[3];
  char settings[1024];
  size_t all = 0;
  expect(coldpress_get_devices(pager, told, 3, sizeof *told, &all, &error), COLDPRESS_OK, "devices");
  require(all == 2 && strcmp(told[0].name, file) == 0 && strncmp(told[1].name, "ram", 4) == 0, "two devices");
  require(told[0].pages + told[1].pages > 1000 && told[0].used_bytes <= told[0].size_bytes, "their use");
  require(told[0].size_bytes > 255 * kMiB && !told[0].failing && told[0].priority == 0, "what the first is");
  told[0].pages = 7;
  expect(coldpress_get_devices(pager, told, 0, sizeof *told, &all, &error), COLDPRESS_OK, "how many");
  require(all == 2 && told[0].pages == 7, "none is filled");
  expect(coldpress_get_devices(pager, NULL, 1, sizeof *told, &all, &error), COLDPRESS_INVALID, "no place");
  expect(coldpress_get_settings(pager, settings, sizeof settings, &error), COLDPRESS_OK, error.text);
  require(strstr(settings, "limit=33554432\n") != NULL && strstr(settings, "codec=lz4\n") != NULL,
          "settings");
  expect(coldpress_get_settings(pager, settings, 10, &error), COLDPRESS_OUT_OF_RANGE, "ten bytes");
  expect(coldpress_swapoff(pager, "ram", &error), COLDPRESS_OK, error.text);
  expect(coldpress_swapoff(pager, file, &error), COLDPRESS_REFUSED, "swapoff without room");
  expect(coldpress_cancel(pager), COLDPRESS_OK, "nobody waits");
  expect(coldpress_cancel(NULL), COLDPRESS_INVALID, "of no pager");
  require(strncmp(error.text, "ENOMEM", 6) == 0, "ENOMEM");
  expect(coldpress_set(pager, "colour=red", &error), COLDPRESS_REFUSED, "what there is not");
  expect(coldpress_set(pager, "codec=zstd:3", NULL), COLDPRESS_OK, "another codec");
  expect(coldpress_set_limit(pager, kMiB, &error), COLDPRESS_REFUSED, "a limit that can not work");
  expect(coldpress_set_limit(pager, 160 * kMiB, &error), COLDPRESS_OK, error.text);
  require(error.text[0] == 0, "no error, no text");
  expect(coldpress_swapoff(pager, file, &error), COLDPRESS_OK, error.text);
  verify(region, 1, 0);
  require(statistics(pager).swap_pages == 0, "nothing is left on a device");
  expect(coldpress_writeback(pager, kMiB, &error), COLDPRESS_INCOMPLETE, "writeback without a device");
}

static void hints(coldpress_pager* pager) {
  size_t bytes = 8 * kMiB;
  coldpress_region *region = map(pager, bytes, NULL), *clone;
  fill(region, 2);
  uint64_t before = statistics(pager).zswpout;
  expect(coldpress_region_deactivate(region, 0, bytes), COLDPRESS_OK, "deactivate");
  require(statistics(pager).zswpout - before < 512, "deactivate: nothing goes now");
  expect(coldpress_region_cold(region, 0, bytes), COLDPRESS_OK, "cold");
  require(statistics(pager).zswpout - before > 1024, "cold: it goes now");
  uint64_t stored = statistics(pager).stored_bytes;
  expect(coldpress_region_clone(region, &clone), COLDPRESS_OK, "clone");
  require(statistics(pager).stored_bytes < stored + stored / 8, "what is cold is shared");
  verify(clone, 2, 0);
  fill(clone, 3);
  expect(coldpress_region_willneed(region, 0, bytes), COLDPRESS_OK, "willneed");
  verify(region, 2, 0);
  verify(clone, 3, 0);
  coldpress_unmap(clone);
  coldpress_region* fresh = map(pager, 64 * kPage, NULL);
  expect(coldpress_region_drop(fresh, 0, kPage), COLDPRESS_OK, "drop");
  expect(coldpress_region_pin(fresh, 0, 64 * kPage), COLDPRESS_OK, "pin of what was never touched");
  int zero = open("/dev/zero", O_RDONLY);
  ssize_t got = read(zero, coldpress_region_data(fresh), 64 * kPage);
  require(got == (ssize_t)(64 * kPage), "a system call on what is pinned");
  close(zero);
  coldpress_unmap(fresh);
  expect(coldpress_region_pin(region, 1, kPage), COLDPRESS_OK, "pin");
  expect(coldpress_region_clone(region, &clone), COLDPRESS_REFUSED, "no clone of what is pinned");
  require(clone == NULL, "none");
  expect(coldpress_region_unpin(region, 1, kPage), COLDPRESS_OK, "unpin");
  expect(coldpress_region_drop(region, 0, 2 * kPage), COLDPRESS_OK, "drop");
  const char* at = coldpress_region_data(region);
  for (size_t i = 0; i < 2 * kPage; ++i) require(at[i] == 0, "what is dropped reads zero");
  verify(region, 2, 2);
  expect(coldpress_region_cold(region, bytes, 0), COLDPRESS_OK, "nothing, at the end");
  expect(coldpress_region_cold(region, bytes + 1, 0), COLDPRESS_OUT_OF_RANGE, "behind the end");
  expect(coldpress_region_drop(region, 1, bytes), COLDPRESS_OUT_OF_RANGE, "one byte too many");
  expect(coldpress_region_pin(region, kPage, SIZE_MAX), COLDPRESS_OUT_OF_RANGE, "a sum that overflows");
  expect(coldpress_region_deactivate(NULL, 0, 0), COLDPRESS_INVALID, "no region");
  coldpress_unmap(region);
}

static void groups(coldpress_pager* pager, coldpress_pager* other) {
  coldpress_group_limits limits = COLDPRESS_GROUP_LIMITS_INIT;
  coldpress_group *parent, *child, *none;
  limits.max_bytes = 10 * kMiB;
  expect(coldpress_group_create(pager, &limits, NULL, &parent), COLDPRESS_OK, "a group");
  limits.max_bytes = 4 * kMiB;
  expect(coldpress_group_create(pager, &limits, parent, &child), COLDPRESS_OK, "a group below it");
  expect(coldpress_group_create(other, &limits, parent, &none), COLDPRESS_INVALID, "another pager's parent");
  coldpress_region *in_child = map(pager, 12 * kMiB, child), *stranger = NULL;
  expect(coldpress_map(other, kPage, child, &stranger), COLDPRESS_INVALID, "another pager's group");
  fill(in_child, 4);
  verify(in_child, 4, 0);
  coldpress_group_statistics s = group_statistics(child);
  require(s.current_bytes <= 4 * kMiB + 64 * kPage && s.pgsteal > 1024, "a group's max");
  require(group_statistics(parent).pgsteal >= s.pgsteal, "it counts above");
  expect(coldpress_group_reclaim(child, kMiB), COLDPRESS_OK, "reclaim of a group");
  memset(&limits, 0, sizeof limits);
  expect(coldpress_group_get_limits(child, &limits, sizeof limits), COLDPRESS_OK, "limits");
  require(limits.max_bytes == 4 * kMiB && limits.high_bytes == COLDPRESS_NO_LIMIT, "limits are told");
  require(limits.swap_max_bytes == COLDPRESS_NO_LIMIT && limits.zswap_writeback == 1, "all of them");
  limits.max_bytes = 6 * kMiB;
  limits.zswap_writeback = 0;
  expect(coldpress_group_set_limits(child, &limits), COLDPRESS_OK, "other limits");
  limits.zswap_writeback = 7;
  expect(coldpress_group_set_limits(child, &limits), COLDPRESS_INVALID, "no truth value");
  expect(coldpress_group_get_limits(child, &limits, sizeof limits), COLDPRESS_OK, "limits again");
  require(limits.max_bytes == 6 * kMiB && limits.zswap_writeback == 0, "as they were set");
  coldpress_group_destroy(child);
  verify(in_child, 4, 0);
  coldpress_unmap(in_child);
  coldpress_group_destroy(parent);
}

/* The child of a fork has the memory, and is told that it has no pager. */
static void forked(coldpress_options options, coldpress_pager* pager, coldpress_region* region) {
  coldpress_group* group;
  expect(coldpress_group_create(pager, NULL, NULL, &group), COLDPRESS_OK, "a group without limits");
  pid_t child = fork();
  if (child == 0) {
    coldpress_region* other;
    coldpress_error error;
    verify(region, 1, 0);
    fill(region, 5);
    expect(coldpress_map(pager, kPage, NULL, &other), COLDPRESS_IN_CHILD, "map in a child");
    expect(coldpress_region_cold(region, 0, kPage), COLDPRESS_IN_CHILD, "cold in a child");
    expect(coldpress_region_clone(region, &other), COLDPRESS_IN_CHILD, "clone in a child");
    expect(coldpress_reclaim(pager, kMiB, &error), COLDPRESS_IN_CHILD, "reclaim in a child");
    require(strlen(error.text) > 10, "the reason");
    expect(coldpress_close(pager), COLDPRESS_IN_CHILD, "close in a child");
    verify(region, 5, 0);
    coldpress_unmap(region);
    coldpress_group_destroy(group);
    options.swap_count = 0;
    expect(coldpress_open(&options, &pager, &error), COLDPRESS_OK, error.text);
    other = map(pager, 48 * kMiB, NULL);
    fill(other, 6);
    verify(other, 6, 0);
    require(statistics(pager).zswpin > 1000, "the child's own pager compresses");
    coldpress_unmap(other);
    expect(coldpress_close(pager), COLDPRESS_OK, "close of the child's own");
    _exit(7);
  }
  int status = 0;
  require(child > 0 && waitpid(child, &status, 0) == child, "a child");
  coldpress_group_destroy(group);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) fprintf(stderr, "the child's status is %x\n", status);
  require(WIFEXITED(status) && WEXITSTATUS(status) == 7, "it saw its copy");
  verify(region, 1, 0);
}

/* Programs that were compiled with an older or newer header. */
static void sizes(coldpress_options options, const coldpress_pager* pager) {
  struct {
    coldpress_options known;
    uint64_t more;
  } newer;
  coldpress_pager* opened;
  coldpress_error error;
  memset(&newer, 0, sizeof newer);
  newer.known = options;
  newer.known.struct_size = sizeof newer;
  newer.more = 1;
  expect(coldpress_open(&newer.known, &opened, &error), COLDPRESS_INVALID, "what is not known yet");
  newer.more = 0;
  expect(coldpress_open(&newer.known, &opened, &error), COLDPRESS_OK, "a default of what is not known yet");
  expect(coldpress_close(opened), COLDPRESS_OK, "close");
  uint64_t one[2] = {0, 77}, more[sizeof(coldpress_pager_statistics) / sizeof(uint64_t) + 1];
  expect(coldpress_get_statistics(pager, (coldpress_pager_statistics*)one, sizeof *one), COLDPRESS_OK, "old");
  require(one[0] == statistics(pager).limit_bytes && one[1] == 77, "no more than there is room for");
  memset(more, 1, sizeof more);
  expect(coldpress_get_statistics(pager, (coldpress_pager_statistics*)more, sizeof more), COLDPRESS_OK,
         "new");
  require(more[sizeof more / sizeof *more - 1] == 0, "what is not known is 0");
}

int main(int argc, char** argv) {
  static const char* const bad[] = {"ram:"};
  static const char* const first[] = {"ram:16M"};
  if (argc != 3) return 2;
  coldpress_options options = COLDPRESS_OPTIONS_INIT;
  coldpress_pager *pager, *other;
  coldpress_error error;
  expect(coldpress_open(&options, &pager, &error), COLDPRESS_REFUSED, "no limit");
  require(strncmp(error.text, "limit_bytes", 11) == 0 && pager == NULL, error.text);
  options.limit_bytes = 8 * kMiB;
  options.swap = bad;
  options.swap_count = 1;
  expect(coldpress_open(&options, &pager, &error), COLDPRESS_REFUSED, "a device without a size");
  options.swap = NULL;
  options.swap_count = 0;
  expect(coldpress_open(&options, &other, &error), COLDPRESS_OK, error.text);
  options.limit_bytes = 32 * kMiB;
  options.swap = first;
  options.swap_count = 1;
  if (strcmp(argv[2], "signal") == 0) options.fault_path = COLDPRESS_FAULT_SIGNAL;
  expect(coldpress_open(&options, &pager, &error), COLDPRESS_OK, error.text);
  coldpress_region* region = map(pager, 96 * kMiB, NULL);
  devices(pager, argv[1], region);
  expect(coldpress_reclaim(pager, kMiB, &error), COLDPRESS_OK, error.text);
  hints(pager);
  groups(pager, other);
  forked(options, pager, region);
  options.swap_count = 0;
  sizes(options, pager);
  expect(coldpress_close(pager), COLDPRESS_IN_USE, "a region is left");
  verify(region, 1, 0);
  coldpress_unmap(region);
  expect(coldpress_close(pager), COLDPRESS_OK, "close");
  expect(coldpress_close(other), COLDPRESS_OK, "close");
  printf("whole\n");
  return 0;
}
