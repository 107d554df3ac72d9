// What Swift's Glibc module lacks: epoll, eventfd, timerfd, and calls that glibc declares only with
// _GNU_SOURCE. Only Reactor imports it; there is no logic here.
//
// It includes as little as possible, and never with _GNU_SOURCE. If two modules define the same
// thing, the compiler uses the one that it loads first, and with _GNU_SOURCE the definitions would
// even differ (the members of fd_set, for example). That is why there are plain types below.

#ifndef CLINUX_H
#define CLINUX_H

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

/// accept4(2); `address` is a `struct sockaddr`.
int clinux_accept4(int listener, void *address, unsigned int *length, int flags);

/// What one message of recvmmsg(2) or sendmmsg(2) has: one datagram, or several behind one another.
struct clinux_datagram {
  void *bytes;
  /// Before a receive: how many bytes there is room for.
  unsigned int count;
  /// The length of each of several datagrams but the last (UDP_GRO, UDP_SEGMENT); 0 for one.
  unsigned int segment;
  /// The `struct sockaddr` of the peer; a length of 0 means the peer that the socket has.
  unsigned char peer[28];
  unsigned int peer_length;
  /// The local address: 4 or 16 bytes; a length of 0 means that it is not known or not chosen.
  unsigned char local[16];
  unsigned int local_length;
};

/// recvmmsg(2), non-blocking, with UDP_GRO, IP_PKTINFO and IPV6_PKTINFO. At most
/// CLINUX_DATAGRAM_MAX messages.
int clinux_receive_datagrams(int socket, struct clinux_datagram *datagrams, int count);

/// sendmmsg(2), non-blocking, with UDP_SEGMENT, IP_PKTINFO and IPV6_PKTINFO. At most
/// CLINUX_DATAGRAM_MAX messages.
int clinux_send_datagrams(int socket, const struct clinux_datagram *datagrams, int count);

#define CLINUX_DATAGRAM_MAX 32

/// Whether two received datagrams have the same peer and the same local address.
int clinux_have_same_peer(const struct clinux_datagram *, const struct clinux_datagram *);

/// UDP_GRO, IP_PKTINFO, IPV6_RECVPKTINFO: options that a header with _GNU_SOURCE declares.
int clinux_join_datagrams(int socket, int on);
int clinux_report_local_address(int socket, int is_v6);

/// sendmsg(2) with SCM_RIGHTS. The number of bytes that were sent, or -1.
long clinux_send_descriptors(
    int socket, const void *bytes, unsigned long count, const int *descriptors,
    int descriptor_count);

/// recvmsg(2) with SCM_RIGHTS, close-on-exec. The number of bytes, 0 at the end, or -1.
/// `descriptor_count` is the room before, and the number after.
long clinux_receive_descriptors(
    int socket, void *bytes, unsigned long count, int *descriptors, int *descriptor_count);

/// The most descriptors that the kernel passes in one message (SCM_MAX_FD).
#define CLINUX_DESCRIPTOR_MAX 253

/// pthread_setname_np(3) for the calling thread; at most 15 bytes.
int clinux_set_thread_name(const char *name);

/// How many processors the calling thread may run on, or -1 with errno set: EINVAL when the kernel
/// has more processors than `cpu_set_t` has bits (1024).
int clinux_affinity_count(void);

/// The commit that this was built from, as MARTLET_COMMIT said at build time; else `unknown`.
const char *clinux_commit(void);

/// malloc_trim(3): returns freed memory to the kernel.
void clinux_trim_memory(void);

/// The name of an error number, such as `ECONNREFUSED`; null when it is unknown.
const char *clinux_error_name(int code);

/// The text of an error number, such as `Connection refused`; null when it is unknown.
const char *clinux_error_phrase(int code);

/// Whether a directory is of /proc or /sys, where no file can be made, whatever its mode says.
int clinux_is_kernel_directory(const char *path);

/// memfd_create(2), close-on-exec.
int clinux_memory_file(void);

/// The variables of the environment, terminated by a null.
char **clinux_environment(void);

/// PR_SET_KEEPCAPS: a change of user ids keeps the permitted capabilities.
int clinux_keep_capabilities(void);

/// Drops every capability of the calling thread except CAP_NET_BIND_SERVICE and, with `raw`,
/// CAP_NET_RAW, if the thread has them. Child programs inherit these.
int clinux_keep_only_network_capabilities(int raw);

/// PR_SET_NO_NEW_PRIVS
int clinux_no_new_privileges(void);

/// PR_SET_DUMPABLE
int clinux_set_dumpable(int dumpable);

#endif
