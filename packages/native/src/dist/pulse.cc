#include "dist/pulse.h"

#include "binding/errors.h"
#include "dist/address.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

namespace nbit::dist {
namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr size_t kToken = 32, kLongest = 4096;

int left(Time until) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(ms.count(), 1 << 30)));
}

std::string textOf(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
std::vector<uint8_t> bytesOf(const std::string& text) { return {text.begin(), text.end()}; }

std::string randomToken() {
  std::random_device random;
  std::string token;
  while (token.size() < kToken) token += "0123456789abcdef"[random() % 16];
  return token;
}

/** What a connection begins with: who is there, and that it belongs to this world. */
struct Hello {
  char token[kToken];
  uint32_t rank;
};

bool readAll(int fd, void* to, size_t n) {
  auto* at = static_cast<char*>(to);
  while (n > 0) {
    const ssize_t got = recv(fd, at, n, 0);
    if (got <= 0 && !(got < 0 && errno == EINTR)) return false;
    at += std::max<ssize_t>(got, 0);
    n -= static_cast<size_t>(std::max<ssize_t>(got, 0));
  }
  return true;
}

}  // namespace

Pulse::Pulse(c10d::Store& store, int rank, int size, const std::string& address, Time until)
    : size_(size), peers_(static_cast<size_t>(size)) {
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) fail("ERR_DIST", std::string("pipe: ") + std::strerror(errno));
  const int listening = listenOn(address, 0);
  try {
    const std::string token = textOf(store.compareSet("token", bytesOf(""), bytesOf(randomToken())));
    if (token.size() != kToken) fail("ERR_DIST", "initProcessGroup: the store holds something else than a token");
    store.set(std::to_string(rank), bytesOf(std::to_string(portOf(listening)) + " " + address));
    for (int r = 0; r < rank; r++) {
      const std::string where = textOf(store.get(std::to_string(r)));
      const auto space = where.find(' ');
      const std::string host = where.substr(space + 1);
      const auto port = static_cast<uint16_t>(std::atoi(where.c_str()));
      const int fd = connectTo(host, port, left(until));
      if (fd < 0)
        fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + std::to_string(rank) + " could not connect to rank " +
                                     std::to_string(r) + " at " + host + ", port " + std::to_string(port) + ": " +
                                     std::strerror(errno) +
                                     ". Has it died, or does GLOO_SOCKET_IFNAME have to name the "
                                     "interface by which machines reach each other?");
      peers_[static_cast<size_t>(r)].fd = fd;
      greet(rank, fd, token);
    }
    for (int missing = size - rank - 1; missing > 0; missing--) acceptFrom(listening, rank, token, until);
  } catch (...) {
    close(listening);
    for (const Peer& peer : peers_)
      if (peer.fd >= 0) close(peer.fd);
    close(wake_[0]);
    close(wake_[1]);
    throw;
  }
  close(listening);
}

Pulse::~Pulse() {
  for (const Peer& peer : peers_)
    if (peer.fd >= 0) close(peer.fd);
  close(wake_[0]);
  close(wake_[1]);
}

void Pulse::greet(int rank, int fd, const std::string& token) {
  Hello hello{};
  std::memcpy(hello.token, token.data(), kToken);
  hello.rank = htonl(static_cast<uint32_t>(rank));
  if (send(fd, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello))
    fail("ERR_DIST_CONNECT",
         std::string("initProcessGroup: a connection to another rank ended: ") + std::strerror(errno));
}

void Pulse::acceptFrom(int listening, int rank, const std::string& token, Time until) {
  for (;;) {
    pollfd waiting{listening, POLLIN, 0};
    if (poll(&waiting, 1, left(until)) < 1) {
      if (errno == EINTR && left(until) > 0) continue;
      std::string missing;
      for (int r = rank + 1; r < size_; r++)
        if (peers_[static_cast<size_t>(r)].fd < 0) missing += (missing.empty() ? "" : ", ") + std::to_string(r);
      fail("ERR_DIST_CONNECT", "initProcessGroup: rank " + std::to_string(rank) +
                                   " waited in vain for connections from rank " + missing +
                                   ". Has it died, or does GLOO_SOCKET_IFNAME have to name the interface by which "
                                   "machines reach each other?");
    }
    const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const timeval patience{2, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Hello hello{};
    const bool read = readAll(fd, &hello, sizeof hello);
    const uint32_t from = ntohl(hello.rank);
    // Anybody can connect; who does not know the token is not one of us.
    if (!read || token.compare(0, kToken, hello.token, kToken) != 0 || from <= static_cast<uint32_t>(rank) ||
        from >= static_cast<uint32_t>(size_) || peers_[from].fd >= 0) {
      close(fd);
      continue;
    }
    peers_[from].fd = fd;
    return;
  }
}

bool Pulse::readFrom(Peer& peer, int rank, const std::function<void(int, Said, const std::string&)>& heard) {
  char bytes[4096];
  const ssize_t n = recv(peer.fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    heard(rank, Said::kEnded, n == 0 ? "closed" : std::strerror(errno));
    return false;
  }
  peer.buffer.append(bytes, static_cast<size_t>(n));
  for (;;) {
    uint32_t length = 0;
    if (peer.buffer.size() < 5) return true;
    std::memcpy(&length, peer.buffer.data() + 1, 4);
    length = ntohl(length);
    if (length > kLongest) {
      heard(rank, Said::kEnded, "it carried what no rank says");
      return false;
    }
    if (peer.buffer.size() < 5 + length) return true;
    heard(rank, static_cast<Said>(peer.buffer[0]), peer.buffer.substr(5, length));
    peer.buffer.erase(0, 5 + length);
  }
}

void Pulse::listen(const std::function<void(int, Said, const std::string&)>& heard) {
  std::vector<pollfd> polled;
  std::vector<int> ranks;
  for (;;) {
    polled.assign(1, {wake_[0], POLLIN, 0});
    ranks.assign(1, -1);
    for (int r = 0; r < size_; r++)
      if (const int fd = peers_[static_cast<size_t>(r)].fd; fd >= 0) {
        polled.push_back({fd, POLLIN, 0});
        ranks.push_back(r);
      }
    if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); i++) {
      if (polled[i].revents == 0) continue;
      Peer& peer = peers_[static_cast<size_t>(ranks[i])];
      if (readFrom(peer, ranks[i], heard)) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      close(peer.fd);
      peer.fd = -1;
    }
  }
}

void Pulse::stop() {
  const char byte = 0;
  (void)!write(wake_[1], &byte, 1);
}

void Pulse::tellAll(Said said, const std::string& text) {
  const std::string cut = text.substr(0, kLongest);
  std::string frame(1, static_cast<char>(said));
  const uint32_t length = htonl(static_cast<uint32_t>(cut.size()));
  frame.append(reinterpret_cast<const char*>(&length), 4).append(cut);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const Peer& peer : peers_)
    if (peer.fd >= 0) (void)!send(peer.fd, frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace nbit::dist
