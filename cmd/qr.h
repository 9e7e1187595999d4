// A QR code for a terminal.
#pragma once

#include <string>

namespace tg::cmd {

// qr_text draws `text` as a QR code (ISO/IEC 18004) in lines of block characters, two modules in each, black on white
// whatever the terminal's colours are. "" when the text is too long for one.
std::string qr_text(const std::string& text);

}  // namespace tg::cmd
