// The file for `tg controller apply`: never crashes, and what it accepts survives the way to the controller and the way
// back into a file.
#include <cstdint>
#include <cstdlib>

#include "cmd/controller/desired_file.h"
#include "cmd/controller/desired_json.h"
#include "core/json.h"
#include "tests/fuzz/seeds.h"

namespace {

bool accepted(std::string_view text) { return tg::controller::parse_desired(text, "seed.toml").errors.empty(); }
constexpr Seed kSeeds[] = {{"home.toml", accepted}, {"roles.toml", accepted}};

}  // namespace

std::span<const Seed> seeds() { return kSeeds; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tg;
  const controller::DesiredFile file = controller::parse_desired(as_text({data, size}), "fuzz.toml");
  for (const std::string& line : file.errors) {
    if (line.find('\n') != std::string::npos) std::abort();
  }
  if (!file.errors.empty()) return 0;
  const auto back = controller::desired_from_json(controller::to_json(file.state));
  if (back && !plan(file.state, *back, true).empty()) std::abort();
  const controller::DesiredFile again = controller::parse_desired(controller::to_toml(file.state), "again.toml");
  if (!again.errors.empty() || !plan(file.state, again.state, true).empty()) std::abort();
  return 0;
}
