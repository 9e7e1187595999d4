#include "core/controller_address.h"

#include "core/encoding.h"
#include "core/text.h"

namespace tg {

std::string ControllerAddress::to_string() const { return controller.to_string() + "#" + base64url(ca_pin); }

Result<ControllerAddress> ControllerAddress::parse(std::string_view text) {
  const auto hash = text.find('#');
  const auto wrong = [&](const std::string& what) {
    return fail(Errc::malformed, "\"" + printable(text, 200) + "\" " + what);
  };
  if (hash == std::string_view::npos) return wrong("is no HOST:PORT#PIN: the part behind # tells the controller from others");
  auto controller = HostPort::parse(text.substr(0, hash));
  if (!controller) return wrong("names no HOST:PORT before the #: " + controller.error().text);
  auto pin = unbase64url(text.substr(hash + 1));
  if (!pin || pin->size() != 32) return wrong("is cut short or mistyped behind the #: 43 characters belong there");
  return ControllerAddress{std::move(*controller), std::move(*pin)};
}

}  // namespace tg
