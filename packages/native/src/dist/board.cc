#include "dist/board.h"

#include <algorithm>
#include <sstream>

namespace nbit::dist {
namespace {

std::string joined(const std::vector<int64_t>& numbers) {
  std::string s;
  for (const int64_t n : numbers) s += (s.empty() ? "" : ",") + std::to_string(n);
  return s.empty() ? "-" : s;
}
std::vector<std::string> parts(const std::string& text) {
  std::vector<std::string> list;
  std::istringstream in(text == "-" ? "" : text);
  for (std::string item; std::getline(in, item, ',');) list.push_back(item);
  return list;
}

/** Whether `member` is in the operation that another waits in, or past it. */
bool takesPart(const Entry& member, const Operation& in) {
  if (member.activity == Activity::kWaiting && member.operation.group == in.group &&
      member.operation.sequence == in.sequence)
    return member.operation.what == in.what;
  const auto begun = member.begun.find(in.group);
  return begun != member.begun.end() && begun->second >= in.sequence;
}

}  // namespace

std::string Entry::encode() const {
  std::string counts;
  for (const auto& [group, n] : begun) counts += (counts.empty() ? "" : ",") + group + ":" + std::to_string(n);
  std::ostringstream text;
  text << beat << ' ' << static_cast<char>(activity) << ' ' << step << ' ' << collectives << ' '
       << (counts.empty() ? "-" : counts) << ' ' << (operation.group.empty() ? "-" : operation.group) << ' '
       << joined(operation.members) << ' ' << operation.sequence << ' ' << operation.pair << ' ' << operation.what;
  return text.str();
}

Entry Entry::decode(const std::string& encoded) {
  std::istringstream text(encoded);
  Entry e;
  char activity = 'R';
  std::string counts, members;
  text >> e.beat >> activity >> e.step >> e.collectives >> counts >> e.operation.group >> members >>
      e.operation.sequence >> e.operation.pair;
  text.ignore(1);
  std::getline(text, e.operation.what, '\0');
  e.activity = static_cast<Activity>(activity);
  for (const std::string& count : parts(counts)) {
    const auto at = count.find(':');
    if (at != std::string::npos) e.begun[count.substr(0, at)] = std::atoll(count.c_str() + at + 1);
  }
  for (const std::string& member : parts(members)) e.operation.members.push_back(std::atoll(member.c_str()));
  return e;
}

bool Entry::sameActivity(const Entry& other) const {
  return activity == other.activity && collectives == other.collectives && step == other.step &&
         operation.group == other.operation.group && operation.sequence == other.operation.sequence &&
         operation.what == other.operation.what;
}

std::string Entry::describe(int rank) const {
  std::ostringstream s;
  s << "rank " << rank;
  const std::string& what = operation.what;
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

bool nothingCanEnd(const std::vector<Entry>& all) {
  bool anyWaits = false;
  for (const Entry& e : all) {
    if (e.activity == Activity::kFinished) continue;
    // Ends of a pair call different things, and one of them may be past it: only time can tell.
    if (e.activity != Activity::kWaiting || e.operation.pair) return false;
    anyWaits = true;
    bool canEnd = true;
    for (size_t r = 0; r < all.size() && canEnd; r++) {
      const auto& members = e.operation.members;
      const bool member =
          members.empty() || std::find(members.begin(), members.end(), static_cast<int64_t>(r)) != members.end();
      if (member && &all[r] != &e) canEnd = takesPart(all[r], e.operation);
    }
    if (canEnd) return false;
  }
  return anyWaits;
}

}  // namespace nbit::dist
