#define _GNU_SOURCE 1

#include "CLinux.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_accept4(int listener, void *address, unsigned int *length, int flags) {
  return accept4(listener, address, length, flags);
}

int clinux_set_thread_name(const char *name) {
  return pthread_setname_np(pthread_self(), name);
}

int clinux_affinity_count(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
  return CPU_COUNT(&set);
}

void clinux_trim_memory(void) { malloc_trim(0); }

const char *clinux_error_name(int code) { return strerrorname_np(code); }

const char *clinux_error_phrase(int code) { return strerrordesc_np(code); }

int clinux_memory_file(void) { return memfd_create("martlet", MFD_CLOEXEC); }

char **clinux_environment(void) { return environ; }
