// A relay reads these bytes from anybody on the internet.
#include <algorithm>
#include <memory>

#include "core/client_hello.h"
#include "tests/fuzz/seeds.h"

namespace {

bool whole(std::string_view bytes) {
  const auto hello = tg::parse_client_hello(tg::as_bytes(bytes));
  return hello && *hello;
}
constexpr Seed kSeeds[] = {{"tls12", whole}, {"tls13", whole}, {"no_name", whole}, {"many_records", whole}};

}  // namespace

std::span<const Seed> seeds() { return kSeeds; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto whole = tg::parse_client_hello({data, size});
  if (whole && *whole) TG_CHECK((*whole)->size <= size && (*whole)->size <= tg::kClientHelloMax);

  // However the bytes arrive, the answer is the same: no prefix is refused when the whole is taken, and none is taken
  // otherwise.
  for (std::size_t n = 0; n < size; n += 1 + n / 8) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[n]);
    std::copy(data, data + n, exact.get());
    const auto part = tg::parse_client_hello({exact.get(), n});
    if (!part) TG_CHECK(!whole);
    else if (*part)
      TG_CHECK(whole && *whole && (*whole)->size == (*part)->size && (*whole)->server_name == (*part)->server_name);
  }
  return 0;
}
