// A connection from every rank to every other on which next to nothing is said: it ends when a process does, within
// milliseconds, and carries a rank's last words.
#pragma once
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace nbit::dist {

class Pulse {
 public:
  enum class Said : char {
    kFailed = 'F',    // of its own
    kFollowed = 'f',  // since another rank failed
    kFinished = 'X',  // leaves in order
    kEnded = 0,       // nothing: the connection ended
  };

  /** Connects all ranks; each gives the store its own. @throws where one cannot be reached before `until`. */
  Pulse(c10d::Store& store, int rank, int size, const std::string& address,
        std::chrono::steady_clock::time_point until);
  ~Pulse();

  /** Reads what the others say until `stop`. `heard(rank, said, text)` runs on this thread. */
  void listen(const std::function<void(int rank, Said said, const std::string& text)>& heard);
  void stop();
  /** To all, and never waits: what does not fit in a connection's buffer is not sent. */
  void tellAll(Said said, const std::string& text);

 private:
  struct Peer {
    int fd = -1;
    std::string buffer;
  };
  void greet(int rank, int fd, const std::string& token);
  void acceptFrom(int listening, int rank, const std::string& token, std::chrono::steady_clock::time_point until);
  bool readFrom(Peer& peer, int rank, const std::function<void(int, Said, const std::string&)>& heard);

  const int size_;
  std::mutex mutex_;  // of the sockets, while one may be closed
  std::vector<Peer> peers_;
  int wake_[2] = {-1, -1};
};

}  // namespace nbit::dist
