#include "cmd/qr.h"

#include <qrcodegen/qrcodegen.h>

#include <array>
#include <cstdint>

namespace tg::cmd {
namespace {

constexpr int kQuiet = 2;   // modules of white around it: phones need no more

}  // namespace

std::string qr_text(const std::string& text) {
  std::array<std::uint8_t, qrcodegen_BUFFER_LEN_MAX> scratch{}, code{};
  if (!qrcodegen_encodeText(text.c_str(), scratch.data(), code.data(), qrcodegen_Ecc_LOW, qrcodegen_VERSION_MIN, qrcodegen_VERSION_MAX,
                            qrcodegen_Mask_AUTO, true)) {
    return {};
  }
  const int size = qrcodegen_getSize(code.data());
  const auto black = [&](int x, int y) { return qrcodegen_getModule(code.data(), x, y); };   // false outside of it
  std::string out;
  for (int y = -kQuiet; y < size + kQuiet; y += 2) {
    out += "\x1b[30;107m";
    for (int x = -kQuiet; x < size + kQuiet; ++x) {
      const bool above = black(x, y);
      const bool below = black(x, y + 1);
      out += above ? (below ? "█" : "▀") : below ? "▄" : " ";
    }
    out += "\x1b[0m\n";
  }
  return out;
}

}  // namespace tg::cmd
