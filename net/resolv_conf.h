// Taking over /etc/resolv.conf and giving it back, whatever happens in between.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace tg::net {

// ResolvConfFile edits the file in place, never by rename: containers and network namespaces bind-mount the inode, and
// a symbolic link keeps leading where it did. Before the first edit the content is kept in the state directory, synced:
//
//   resolv.conf.original   the bytes that were there, for a person to copy back
//   resolv.conf.taken      which file, our text, and whether there was a file at all; while it exists, we hold the file
//
// A kill or a power cut at any moment leaves one of: untouched, taken, or torn between the two; restore() knows all
// three.
class ResolvConfFile {
 public:
  // `path`: usually /etc/resolv.conf. `state_dir` exists. Nothing is touched yet.
  ResolvConfFile(std::string path, std::string state_dir);

  // take puts `text` (of dns::replacement) into the file. It may be called again, with another text, also after
  // somebody else wrote the file meanwhile: what they wrote is then what restore() gives back. Errors: denied, io;
  // conflict when the file is tg's already but nothing is kept here (another client holds it).
  Result<> take(std::string_view text);

  // restore gives back what was there when the file still is ours: exactly what we wrote, or torn, or edited but with
  // our first line. A file that somebody else has written is left alone. Harmless when nothing was taken: to be called
  // on `down`, on SIGTERM, and at the next start after a kill.
  enum class Restored { nothing, restored, left_alone };
  Result<Restored> restore();

  // holds says whether the file is what we wrote; false too when somebody else has written it, or nothing is taken.
  Result<bool> holds() const;

  // original returns the content that restore() would give back, or the file's own when nothing is taken: where the
  // system's own resolvers are.
  Result<std::string> original() const;

  // on_step, for tests, is called with the name of each step before it is done.
  void on_step(std::function<void(std::string_view)> f) { on_step_ = std::move(f); }

 private:
  void step(std::string_view name) const { if (on_step_) on_step_(name); }

  std::string path_;
  std::string original_path_;
  std::string taken_path_;
  std::string state_dir_;
  std::function<void(std::string_view)> on_step_;
};

}  // namespace tg::net
