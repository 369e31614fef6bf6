// Which of this machine's addresses the others can reach.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace nbit::dist {

bool isLoopback(const std::string& host);

/**
 * The numeric address by which this machine reaches `host`, so that others there reach this machine by it: what its
 * own name stands for may be an address of loopback. Where GLOO_SOCKET_IFNAME names interfaces: that of the first.
 * @throws ERR_DIST_INTERFACE where it names one that is not there, ERR_DIST_CONNECT where `host` has no address by
 * `until` (in a cluster a machine's name may come after the machine).
 */
std::string localAddress(const std::string& host, uint16_t port, std::chrono::steady_clock::time_point until);

/** A socket that listens on a numeric address alone. @throws ERR_DIST_ADDRESS_IN_USE, ERR_DIST_CONNECT */
int listenOn(const std::string& address, uint16_t port);
/** The port that a socket got. */
uint16_t portOf(int fd);
/** `host`: a name, or a numeric address. @returns a socket, or -1 with errno; not later than `milliseconds` from now.
 */
int connectTo(const std::string& host, uint16_t port, int milliseconds);

}  // namespace nbit::dist
