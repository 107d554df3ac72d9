#define _GNU_SOURCE 1

#include "CLinux.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/udp.h>
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

// The control messages of one datagram: its length if there are several, and the local address.
union control {
  struct cmsghdr head;
  unsigned char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void read_control(struct msghdr *message, struct clinux_datagram *datagram) {
  datagram->segment = 0;
  datagram->local_length = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      int segment = 0;
      memcpy(&segment, CMSG_DATA(c), sizeof segment);
      if (segment > 0 && (unsigned)segment < datagram->count) datagram->segment = segment;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      memcpy(datagram->local, &info.ipi_spec_dst, 4);
      datagram->local_length = 4;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      // No answer can come from a multicast address.
      if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) continue;
      memcpy(datagram->local, &info.ipi6_addr, 16);
      datagram->local_length = 16;
    }
  }
}

int clinux_receive_datagrams(int socket, struct clinux_datagram *datagrams, int count) {
  struct mmsghdr messages[CLINUX_DATAGRAM_MAX];
  struct iovec parts[CLINUX_DATAGRAM_MAX];
  union control controls[CLINUX_DATAGRAM_MAX];
  for (int i = 0; i < count; i++) {
    parts[i] = (struct iovec){datagrams[i].bytes, datagrams[i].count};
    messages[i].msg_hdr = (struct msghdr){
        .msg_name = datagrams[i].peer,
        .msg_namelen = sizeof datagrams[i].peer,
        .msg_iov = &parts[i],
        .msg_iovlen = 1,
        .msg_control = &controls[i],
        .msg_controllen = sizeof controls[i]};
  }
  int received = recvmmsg(socket, messages, count, MSG_DONTWAIT, 0);
  for (int i = 0; i < received; i++) {
    datagrams[i].count = messages[i].msg_len;
    datagrams[i].peer_length = messages[i].msg_hdr.msg_namelen;
    read_control(&messages[i].msg_hdr, &datagrams[i]);
  }
  return received;
}

static size_t append_control(
    union control *control, size_t used, int level, int type, const void *data, size_t count) {
  struct cmsghdr *c = (struct cmsghdr *)(control->bytes + used);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(count);
  memcpy(CMSG_DATA(c), data, count);
  return used + CMSG_SPACE(count);
}

static size_t write_control(union control *control, const struct clinux_datagram *datagram) {
  size_t used = 0;
  memset(control, 0, sizeof *control);
  if (datagram->segment > 0) {
    unsigned short segment = datagram->segment;
    used = append_control(control, used, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
  }
  if (datagram->local_length == 4) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, datagram->local, 4);
    used = append_control(control, used, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else if (datagram->local_length == 16) {
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, datagram->local, 16);
    used = append_control(control, used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
  return used;
}

int clinux_send_datagrams(int socket, const struct clinux_datagram *datagrams, int count) {
  struct mmsghdr messages[CLINUX_DATAGRAM_MAX];
  struct iovec parts[CLINUX_DATAGRAM_MAX];
  union control controls[CLINUX_DATAGRAM_MAX];
  for (int i = 0; i < count; i++) {
    const struct clinux_datagram *datagram = &datagrams[i];
    parts[i] = (struct iovec){datagram->bytes, datagram->count};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    if (datagram->peer_length > 0) {
      messages[i].msg_hdr.msg_name = (void *)datagram->peer;
      messages[i].msg_hdr.msg_namelen = datagram->peer_length;
    }
    if (datagram->segment > 0 || datagram->local_length > 0) {
      messages[i].msg_hdr.msg_control = &controls[i];
      messages[i].msg_hdr.msg_controllen = write_control(&controls[i], datagram);
    }
  }
  return sendmmsg(socket, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int clinux_have_same_peer(
    const struct clinux_datagram *first, const struct clinux_datagram *second) {
  return first->peer_length == second->peer_length &&
         first->local_length == second->local_length &&
         memcmp(first->peer, second->peer, first->peer_length) == 0 &&
         memcmp(first->local, second->local, first->local_length) == 0;
}

int clinux_join_datagrams(int socket, int on) {
  return setsockopt(socket, SOL_UDP, UDP_GRO, &on, sizeof on);
}

int clinux_report_local_address(int socket, int is_v6) {
  int on = 1;
  return is_v6 ? setsockopt(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
               : setsockopt(socket, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
}

// Room for the descriptors of one message.
union rights {
  struct cmsghdr head;
  unsigned char bytes[CMSG_SPACE(sizeof(int) * CLINUX_DESCRIPTOR_MAX)];
};

long clinux_send_descriptors(
    int socket, const void *bytes, unsigned long count, const int *descriptors,
    int descriptor_count) {
  union rights rights;
  struct iovec part = {(void *)bytes, count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptor_count > 0) {
    memset(&rights, 0, sizeof rights);
    rights.head.cmsg_level = SOL_SOCKET;
    rights.head.cmsg_type = SCM_RIGHTS;
    rights.head.cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
    memcpy(CMSG_DATA(&rights.head), descriptors, sizeof(int) * descriptor_count);
    message.msg_control = &rights;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

long clinux_receive_descriptors(
    int socket, void *bytes, unsigned long count, int *descriptors, int *descriptor_count) {
  union rights rights;
  struct iovec part = {bytes, count};
  struct msghdr message = {
      .msg_iov = &part,
      .msg_iovlen = 1,
      .msg_control = &rights,
      .msg_controllen = sizeof rights};
  int room = *descriptor_count;
  *descriptor_count = 0;
  long received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (received < 0) return received;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int passed = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (int i = 0; i < passed && *descriptor_count < room; i++) {
      memcpy(&descriptors[*descriptor_count], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      *descriptor_count += 1;
    }
  }
  // Some were lost for want of descriptors here, so nobody knows which these are.
  if (message.msg_flags & MSG_CTRUNC) {
    for (int i = 0; i < *descriptor_count; i++) close(descriptors[i]);
    *descriptor_count = 0;
    errno = EMFILE;
    return -1;
  }
  return received;
}
