// What a fuzz target may tell replay.cpp of its corpus.
#pragma once

#include <span>
#include <string_view>

// Seed is a file of the corpus that must be there and be understood: once its format is an old one, it no longer leads
// the fuzzer to what lies behind.
struct Seed {
  std::string_view name;
  bool (*understood)(std::string_view bytes);
};

// seeds are those of this target; without a definition of its own there are none.
std::span<const Seed> seeds();
