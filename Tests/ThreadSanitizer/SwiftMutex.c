// Tells the thread sanitizer about Swift's Mutex, which doesn't do it itself yet.
//
// The fast path of a lock is compiled into our code, so the sanitizer sees it. In the slow path,
// Synchronization waits in the kernel, in library functions that aren't instrumented. Then two
// threads seem to hold the lock at once, and the sanitizer reports everything that it protects. A
// program with one Mutex shows it (build with -sanitize=thread, and run it a few times):
//
//   import Foundation
//   import Synchronization
//   let numbers = Mutex([0])
//   DispatchQueue.concurrentPerform(iterations: 4) { _ in
//     for _ in 0..<50_000 { numbers.withLock { $0[0] += 1 } }
//   }
//
// scripts/test preloads these three functions in place of the library's. They call the originals
// and tell the sanitizer what it missed. This hides nothing: no report is suppressed.

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// Missing in other programs that tests start with the same environment.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

SWIFT void lock(uint32_t thread, SELF mutex) __asm__(LOCK);
SWIFT bool tryLock(SELF mutex) __asm__(TRY_LOCK);
SWIFT void unlock(SELF mutex) __asm__(UNLOCK);

SWIFT void lock(uint32_t thread, SELF mutex) {
  SWIFT void (*original)(uint32_t, SELF) = dlsym(RTLD_NEXT, LOCK);
  original(thread, mutex);
  if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT bool tryLock(SELF mutex) {
  SWIFT bool (*original)(SELF) = dlsym(RTLD_NEXT, TRY_LOCK);
  bool isLocked = original(mutex);
  if (isLocked && __tsan_acquire) __tsan_acquire(mutex);
  return isLocked;
}

SWIFT void unlock(SELF mutex) {
  SWIFT void (*original)(SELF) = dlsym(RTLD_NEXT, UNLOCK);
  if (__tsan_release) __tsan_release(mutex);
  original(mutex);
}
