// What anybody may send to a port that speaks HTTP, at once and byte by byte: the same must come of it.
#include "core/http_reader.h"
#include "core/result.h"
#include "tests/fuzz/seeds.h"

namespace {

using namespace tg;

constexpr std::size_t kBody = 256;

struct Outcome {
  std::string all;
  int status = 0;
};

Outcome read(std::string_view text, std::size_t step) {
  HttpReader reader([](const HttpAsked&) { return kBody; });
  Outcome out;
  while (!text.empty()) {
    const auto part = text.substr(0, step);
    text.remove_prefix(part.size());
    reader.feed(as_bytes(part));
    for (;;) {
      const auto one = reader.next();
      if (!one) {
        TG_CHECK(one.error().status >= 400 && !one.error().text.empty());
        out.status = one.error().status;
        return out;
      }
      if (!*one) break;
      const HttpAsked& asked = **one;
      TG_CHECK(asked.path.starts_with('/') && asked.body.size() <= kBody && asked.headers.size() <= HttpReader::kHeadersMax);
      out.all += asked.method + asked.path + "?" + asked.query + asked.body + (asked.keep_alive ? "+" : "-");
      for (const auto& [name, value] : asked.headers) out.all += name + ":" + value;
    }
  }
  return out;
}

bool understood(std::string_view text) {
  const Outcome out = read(text, text.size());
  return out.status == 0 && !out.all.empty();
}

}  // namespace

std::span<const Seed> seeds() {
  static constexpr Seed all[] = {{"get", understood}, {"two", understood}, {"chunked", understood}};
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Outcome whole = read(text, text.size()), bytes = read(text, 1);
  TG_CHECK(whole.all == bytes.all && whole.status == bytes.status);
  return 0;
}
