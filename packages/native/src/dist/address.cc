#include "dist/address.h"

#include "binding/errors.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <thread>

namespace nbit::dist {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
Addresses resolve(const std::string& host, uint16_t port, int type, int flags, int* reason = nullptr) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (reason) *reason = failed;
  return {failed == 0 ? found : nullptr, &freeaddrinfo};
}

std::string numeric(const sockaddr* address, socklen_t length) {
  char text[NI_MAXHOST];
  return getnameinfo(address, length, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 ? text : "";
}

/** Of the first of the interfaces that `names` lists; each must be there. */
std::string addressOfInterface(const std::string& names) {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0)
    fail("ERR_DIST_INTERFACE", "initProcessGroup: this machine's interfaces cannot be listed");
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> all(head, &freeifaddrs);
  std::string first, present;
  std::istringstream in(names);
  for (std::string name; std::getline(in, name, ',');) {
    std::string v4, v6;
    present.clear();
    for (const ifaddrs* i = head; i; i = i->ifa_next) {
      const std::string listed = " " + std::string(i->ifa_name) + ",";
      if ((" " + present + ",").find(listed) == std::string::npos)
        present += (present.empty() ? "" : ", ") + std::string(i->ifa_name);
      if (name != i->ifa_name || !i->ifa_addr || !(i->ifa_flags & IFF_UP)) continue;
      if (i->ifa_addr->sa_family == AF_INET && v4.empty()) v4 = numeric(i->ifa_addr, sizeof(sockaddr_in));
      if (i->ifa_addr->sa_family == AF_INET6 && v6.empty()) v6 = numeric(i->ifa_addr, sizeof(sockaddr_in6));
    }
    if (v4.empty() && v6.empty())
      fail("ERR_DIST_INTERFACE",
           "initProcessGroup: expected GLOO_SOCKET_IFNAME to name interfaces of this machine that are up and have an "
           "address. Received: \"" +
               names + "\"; there are " + present);
    if (first.empty()) first = v4.empty() ? v6 : v4;
  }
  return first;
}

}  // namespace

bool isLoopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

std::string localAddress(const std::string& host, uint16_t port, std::chrono::steady_clock::time_point until) {
  if (const char* names = std::getenv("GLOO_SOCKET_IFNAME"); names && *names) return addressOfInterface(names);
  if (host == "::1") return host;
  if (isLoopback(host)) return "127.0.0.1";
  int reason = 0;
  Addresses list = resolve(host, port, SOCK_DGRAM, 0, &reason);
  while (!list && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    list = resolve(host, port, SOCK_DGRAM, 0, &reason);
  }
  if (!list)
    fail("ERR_DIST_CONNECT",
         "initProcessGroup: expected MASTER_ADDR to be a machine that has an address. Received: \"" + host + "\" (" +
             gai_strerror(reason) + ")");
  std::string found;
  for (const addrinfo* a = list.get(); a && found.empty(); a = a->ai_next) {
    // A datagram socket is connected without a packet; the system chooses the address that it would send from.
    const int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0)
      found = numeric(reinterpret_cast<const sockaddr*>(&own), length);
    if (fd >= 0) close(fd);
  }
  if (found.empty())
    fail("ERR_DIST_CONNECT",
         "initProcessGroup: this machine has no route to \"" + host + "\" (MASTER_ADDR): " + std::strerror(errno));
  return found;
}

int listenOn(const std::string& address, uint16_t port) {
  const Addresses list = resolve(address, port, SOCK_STREAM, AI_NUMERICHOST | AI_PASSIVE);
  const addrinfo* a = list.get();
  const int fd = a ? socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0) return fd;
  const int reason = errno;
  if (fd >= 0) close(fd);
  if (reason == EADDRINUSE)
    fail("ERR_DIST_ADDRESS_IN_USE",
         "initProcessGroup: expected a free port for the store of rank 0. Received: port " + std::to_string(port) +
             ", which another process listens on. Set MASTER_PORT to another, or end that process");
  fail("ERR_DIST_CONNECT", "initProcessGroup: this process could not listen on " + address + ", port " +
                               std::to_string(port) + ": " + std::strerror(reason));
}

uint16_t portOf(int fd) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length);
  return ntohs(own.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(own).sin6_port
                                         : reinterpret_cast<const sockaddr_in&>(own).sin_port);
}

int connectTo(const std::string& host, uint16_t port, int milliseconds) {
  const Addresses list = resolve(host, port, SOCK_STREAM, 0);
  int reason = EADDRNOTAVAIL;
  for (const addrinfo* a = list.get(); a; a = a->ai_next) {
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    reason = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (reason == EINPROGRESS) {
      pollfd waiting{fd, POLLOUT, 0};
      socklen_t length = sizeof reason;
      if (poll(&waiting, 1, milliseconds) != 1) reason = ETIMEDOUT;
      else getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &length);
    }
    if (reason == 0) {
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      return fd;
    }
    close(fd);
  }
  errno = reason;
  return -1;
}

}  // namespace nbit::dist
