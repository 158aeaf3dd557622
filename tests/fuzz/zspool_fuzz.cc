// The pool under any sequence of allocations, frees, compactions and pins, beside a plain list of what should
// be there.
#include <cstring>
#include <vector>

#include "fuzz/fuzz_input.h"
#include "support/heap_memory.h"
#include "zspool/zspool.h"

namespace {

struct Object {
  coldpress::zspool::Handle handle;
  std::size_t bytes;
  unsigned char fill;
};

bool holds(coldpress::zspool::ZsPool& pool, const Object& object) {
  const std::byte* data = pool.data(object.handle);
  for (std::size_t i = 0; i < object.bytes; ++i) {
    if (data[i] != static_cast<std::byte>(object.fill + i)) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using coldpress::fuzz::require;
  constexpr std::uint64_t kPoolPages = 64;
  coldpress::testing::HeapMemory memory;
  coldpress::zspool::ZsPool pool;
  require(pool.init(memory, kPoolPages * coldpress::kPageBytes), "there is address space");
  std::vector<Object> objects;
  std::uint64_t asked = 0, taken = 0;  // taken: pages from the machine
  for (coldpress::fuzz::Reader input(data, size); !input.empty();) {
    std::uint8_t what = input.byte();
    if (what % 4 == 3 && !objects.empty()) {
      std::swap(objects[input.word() % objects.size()], objects.back());
      require(holds(pool, objects.back()), "an object keeps its bytes until it is freed");
      taken -= pool.free(objects.back().handle, objects.back().bytes);
      asked -= objects.back().bytes;
      objects.pop_back();
    } else {
      std::size_t bytes = input.word() % coldpress::kPageBytes + 1;
      std::uint32_t grown = 0;
      coldpress::zspool::Handle handle = pool.allocate(bytes, &grown);
      taken += grown;
      require(pool.held_pages() <= kPoolPages, "never more than the pool may hold");
      if (!handle) continue;
      for (const Object& object : objects) require(object.handle != handle, "no handle is given out twice");
      objects.push_back({handle, bytes, what});
      asked += bytes;
      std::byte* bytes_of_it = pool.data(handle);
      for (std::size_t i = 0; i < bytes; ++i) bytes_of_it[i] = static_cast<std::byte>(what + i);
    }
    if (what % 64 == 0) taken -= pool.trim(what == 0);
    if (what % 64 == 1) {
      const Object* user = objects.empty() ? nullptr : &objects[what % objects.size()];
      const std::byte* bytes = user != nullptr ? pool.pin(user->handle) : nullptr;
      taken -= pool.give_back(pool.compact(input.byte()));
      require(user == nullptr || pool.data(user->handle) == bytes, "what is pinned stays where it is");
      if (user != nullptr) pool.unpin(user->handle);
    }
    require(pool.held_pages() == taken, "what it takes and gives back is what it has");
    require(pool.stats().objects == objects.size(), "the number of objects is right");
    require(pool.stats().object_bytes == asked, "the bytes asked for are right");
    require(pool.pages() * coldpress::kPageBytes >= asked, "the bytes have room");
  }
  pool.validate();
  for (const Object& object : objects) {
    require(holds(pool, object), "an object keeps its bytes");
    taken -= pool.free(object.handle, object.bytes);
  }
  pool.validate();
  require(pool.pages() == 0, "an empty pool has no zspages");
  require(pool.kept_pages() == taken && pool.trim(true) == taken, "what it keeps it gives back when asked");
  return 0;
}
