// What Swift's Glibc module leaves out: epoll, eventfd, timerfd, and calls that glibc shows only to
// _GNU_SOURCE. Only Reactor imports it; there is no logic here.
//
// It includes as little as it can, and never with _GNU_SOURCE: what two modules both define belongs
// to whichever the compiler loads first, and under _GNU_SOURCE they would even define it in
// different ways (the members of fd_set, for one). Hence the plain types below.

#ifndef CLINUX_H
#define CLINUX_H

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

/// accept4(2); `address` is a `struct sockaddr`.
int clinux_accept4(int listener, void *address, unsigned int *length, int flags);

/// pthread_setname_np(3) for the calling thread; at most 15 bytes.
int clinux_set_thread_name(const char *name);

/// How many processors the calling thread may run on, or -1 with errno set: EINVAL when the kernel
/// counts more processors than `cpu_set_t` has bits (1024).
int clinux_affinity_count(void);

/// The commit that this was built from, as MARTLET_COMMIT said at build time; else `unknown`.
const char *clinux_commit(void);

/// malloc_trim(3): gives memory that was freed back to the kernel.
void clinux_trim_memory(void);

/// `ECONNREFUSED` for its number; null when there is no such error.
const char *clinux_error_name(int code);

/// `Connection refused` for the number of ECONNREFUSED; null when there is no such error.
const char *clinux_error_phrase(int code);

/// memfd_create(2), close-on-exec.
int clinux_memory_file(void);

/// The variables of the environment, up to a null.
char **clinux_environment(void);

/// PR_SET_KEEPCAPS: a change of user ids leaves the permitted capabilities.
int clinux_keep_capabilities(void);

/// Gives up every capability of the calling thread but CAP_NET_BIND_SERVICE, which programs that it
/// starts get too; that one as well when the thread doesn't have it.
int clinux_keep_only_bind_capability(void);

/// PR_SET_NO_NEW_PRIVS
int clinux_no_new_privileges(void);

/// PR_SET_DUMPABLE
int clinux_set_dumpable(int dumpable);

#endif
