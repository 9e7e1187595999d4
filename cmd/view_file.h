// What an agent was told, kept on the disk, so that it can begin while the controller is away.
#pragma once

#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/time.h"
#include "core/view.h"

namespace tg::cmd {

// ViewFile is one file of mode 0600 in an agent's state directory. Its time of change is the last moment at which the
// controller was known to mean what it holds.
class ViewFile {
 public:
  // `owner` names the agent, as its certificate does: what another one was told is not for this one.
  ViewFile(std::string path, std::string owner) : path_(std::move(path)), owner_(std::move(owner)) {}

  struct Kept {
    View view;
    UnixTime as_of{};
  };
  // load returns nothing where there is none, or another agent's. A damaged one is logged.
  std::optional<Kept> load() const;
  // save replaces what is there, as meant now; nothing is written where it is the same. Where it can't, nothing is there
  // afterwards; that is logged once, and returns false.
  bool save(const View& view);
  // still says that what is there is meant at `now`; false where nothing is.
  bool still(UnixTime now);
  void forget();

 private:
  std::string path_;
  std::string owner_;
  std::optional<Buffer> hash_;         // of what is there; nothing: not known
  bool failed_ = false;
};

}  // namespace tg::cmd
