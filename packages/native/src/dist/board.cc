#include "dist/board.h"

#include <sstream>

namespace nbit::dist {

std::vector<uint8_t> Entry::encode() const {
  std::ostringstream text;
  text << beat << ' ' << static_cast<char>(activity) << ' ' << step << ' ' << collectives << ' ' << what;
  const std::string s = text.str();
  return {s.begin(), s.end()};
}

Entry Entry::decode(const std::vector<uint8_t>& bytes) {
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  Entry e;
  char activity = 'R';
  text >> e.beat >> activity >> e.step >> e.collectives;
  text.ignore(1);
  std::getline(text, e.what, '\0');
  e.activity = static_cast<Activity>(activity);
  return e;
}

std::string Entry::describe(int rank) const {
  std::ostringstream s;
  s << "rank " << rank;
  switch (activity) {
    case Activity::kFailed: s << " failed at step " << step << ": " << what; break;
    case Activity::kFinished: s << " has ended, after step " << step; break;
    case Activity::kWaiting:
      s << " waits in " << what << ", its collective " << collectives << ", at step " << step;
      break;
    default: s << " computes at step " << step << (what.empty() ? "" : ", last in " + what);
  }
  return s.str();
}

}  // namespace nbit::dist
