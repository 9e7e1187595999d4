#include "cmd/qr.h"

#include <qrencode.h>

#include <memory>

namespace tg::cmd {
namespace {

constexpr int kQuiet = 2;   // modules of white around it: phones need no more

}  // namespace

std::string qr_text(const std::string& text) {
  const std::unique_ptr<QRcode, decltype(&QRcode_free)> code(QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L), QRcode_free);
  if (!code) return {};
  const auto black = [&](int x, int y) {
    const bool inside = x >= 0 && y >= 0 && x < code->width && y < code->width;
    return inside && (code->data[y * code->width + x] & 1) != 0;
  };
  std::string out;
  for (int y = -kQuiet; y < code->width + kQuiet; y += 2) {
    out += "\x1b[30;107m";
    for (int x = -kQuiet; x < code->width + kQuiet; ++x) {
      const bool above = black(x, y);
      const bool below = black(x, y + 1);
      out += above ? (below ? "█" : "▀") : below ? "▄" : " ";
    }
    out += "\x1b[0m\n";
  }
  return out;
}

}  // namespace tg::cmd
