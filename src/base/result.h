// Result<T>: a value or an Error that says what to do. For set-up and tools, not for hot paths.
// An Error owns no memory: its text is a fixed buffer. Not thread-aware.
#pragma once

#include <new>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace coldpress {

struct Error {
  Text text;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : ok_(true) { new (&value_) T(std::move(value)); }  // NOLINT: implicit by design
  Result(Error error) : ok_(false), error_(error) {}                  // NOLINT
  Result(Result&& other) noexcept : ok_(other.ok_) {
    if (ok_) {
      new (&value_) T(std::move(other.value_));
    } else {
      new (&error_) Error(other.error_);
    }
  }
  Result& operator=(Result&&) = delete;
  ~Result() {
    if (ok_) value_.~T();
  }
  explicit operator bool() const { return ok_; }
  T& value() {
    COLDPRESS_CHECK(ok_);
    return value_;
  }
  const Error& error() const {
    COLDPRESS_CHECK(!ok_);
    return error_;
  }

 private:
  bool ok_;
  union {
    T value_;
    Error error_;
  };
};

// Success, or an Error.
struct Done {};
using Status = Result<Done>;

}  // namespace coldpress
