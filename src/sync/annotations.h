// Clang's thread-safety annotations, empty for other compilers.
// No code: they cost nothing at run time.
#pragma once

#if defined(__clang__)
#define COLDPRESS_ANNOTATE(x) __attribute__((x))
#else
#define COLDPRESS_ANNOTATE(x)
#endif

#define CAPABILITY(x) COLDPRESS_ANNOTATE(capability(x))
#define SCOPED_CAPABILITY COLDPRESS_ANNOTATE(scoped_lockable)
#define GUARDED_BY(x) COLDPRESS_ANNOTATE(guarded_by(x))
#define REQUIRES(...) COLDPRESS_ANNOTATE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) COLDPRESS_ANNOTATE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) COLDPRESS_ANNOTATE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) COLDPRESS_ANNOTATE(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) COLDPRESS_ANNOTATE(try_acquire_capability(__VA_ARGS__))
#define ACQUIRED_AFTER(...) COLDPRESS_ANNOTATE(acquired_after(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS COLDPRESS_ANNOTATE(no_thread_safety_analysis)
