// Runs a fuzz target once over every file of the given folders: the corpus as a regression test, with any compiler. The
// target's seeds must be among them, and be understood.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "tests/fuzz/seeds.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

__attribute__((weak)) std::span<const Seed> seeds() { return {}; }

int main(int argc, char** argv) {
  std::map<std::string, std::string, std::less<>> inputs;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      inputs[entry.path().lexically_relative(argv[i]).string()] = std::string{std::istreambuf_iterator<char>(file), {}};
    }
  }
  for (const auto& [name, bytes] : inputs) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  int wrong = 0;
  for (const Seed& seed : seeds()) {
    const auto input = inputs.find(seed.name);
    if (input != inputs.end() && seed.understood(input->second)) continue;
    std::printf("the seed %s is %s\n", std::string(seed.name).c_str(),
                input == inputs.end() ? "not there" : "not understood");
    ++wrong;
  }
  std::printf("replayed %zu inputs; %zu seeds, %d wrong\n", inputs.size(), seeds().size(), wrong);
  return !inputs.empty() && wrong == 0 ? 0 : 1;   // an empty corpus is a mistake, not a pass
}
