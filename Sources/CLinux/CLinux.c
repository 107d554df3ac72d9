#define _GNU_SOURCE 1

#include "CLinux.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
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

#ifndef MARTLET_COMMIT
#define MARTLET_COMMIT "unknown"
#endif
const char *clinux_commit(void) { return MARTLET_COMMIT; }

void clinux_trim_memory(void) { malloc_trim(0); }

const char *clinux_error_name(int code) { return strerrorname_np(code); }

const char *clinux_error_phrase(int code) { return strerrordesc_np(code); }

int clinux_is_kernel_directory(const char *path) {
  struct statfs status;
  if (statfs(path, &status) != 0) return 0;
  return status.f_type == PROC_SUPER_MAGIC || status.f_type == SYSFS_MAGIC;
}

int clinux_memory_file(void) { return memfd_create("martlet", MFD_CLOEXEC); }

char **clinux_environment(void) { return environ; }

int clinux_keep_capabilities(void) { return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); }

int clinux_keep_only_network_capabilities(int raw) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2] = {{0, 0, 0}, {0, 0, 0}};
  if (syscall(SYS_capget, &header, sets) < 0) return -1;
  unsigned kept = sets[0].permitted & (1U << CAP_NET_BIND_SERVICE | (raw ? 1U << CAP_NET_RAW : 0));
  sets[0].effective = sets[0].permitted = sets[0].inheritable = kept;
  sets[1].effective = sets[1].permitted = sets[1].inheritable = 0;
  if (syscall(SYS_capset, &header, sets) < 0) return -1;
  for (unsigned capability = 0; capability < 32; capability++) {
    if ((kept >> capability & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) return -1;
  }
  return 0;
}

int clinux_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int clinux_set_dumpable(int dumpable) { return prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0); }
