#include "core/client_hello.h"

#include <algorithm>

#include "core/text.h"

namespace tg {
namespace {

constexpr std::uint8_t kHandshakeRecord = 22;   // RFC 8446 section 5.1
constexpr std::uint8_t kClientHelloType = 1;    // section 4
constexpr std::size_t kRecordMax = 1u << 14;
constexpr std::uint16_t kServerName = 0;        // RFC 6066 section 3
constexpr std::uint8_t kHostName = 0;
constexpr std::size_t kServerNameMax = 255;

tl::unexpected<Error> wrong(const char* what) { return fail(Errc::protocol, std::string("no ClientHello: ") + what); }

// Message is the handshake message without its header, as far as it is there.
struct Message {
  Buffer body;
  std::size_t records = 0;   // bytes of the stream that carry it
};

// take_message joins the records until the message is whole. What is there is judged at once, so that a stranger who
// speaks something else does not get to wait for the end.
Result<std::optional<Message>> take_message(Bytes stream) {
  Message out;
  std::size_t wanted = 4;   // the handshake header, then the message too
  Reader r(stream);
  while (out.body.size() < wanted) {
    if (r.left() > 0 && r.all()[r.offset()] != kHandshakeRecord) return wrong("not a handshake record");
    if (r.left() > 1 && r.all()[r.offset() + 1] != 3) return wrong("unknown TLS version");
    if (r.left() < 5) return std::optional<Message>();
    r.skip(3);
    const std::size_t size = r.u16();
    if (size == 0 || size > kRecordMax) return wrong("record length");
    if (r.offset() + size > kClientHelloMax) return wrong("too large");
    const Bytes part = r.bytes(std::min(size, r.left()));
    out.body.insert(out.body.end(), part.begin(), part.end());
    if (!out.body.empty() && out.body[0] != kClientHelloType) return wrong("another handshake message");
    if (out.body.size() >= 4) {
      Reader header(out.body);
      header.skip(1);
      wanted = 4 + header.u24();
      if (wanted > kClientHelloMax - 5) return wrong("too large");
      if (out.body.size() - part.size() + size > wanted) return wrong("more than one message in a record");
    }
    if (part.size() < size) return std::optional<Message>();
  }
  out.records = r.offset();
  out.body.erase(out.body.begin(), out.body.begin() + 4);
  return out;
}

Result<std::string> host_name(Bytes extension) {
  Reader r(extension);
  Reader list(r.bytes(r.u16()));
  if (!r.ok() || r.left() > 0) return wrong("server_name");
  std::string out;
  while (list.left() > 0) {
    const std::uint8_t type = list.u8();
    const std::string_view name = as_text(list.bytes(list.u16()));
    if (!list.ok() || name.empty()) return wrong("server_name");
    if (type != kHostName) continue;
    const bool known_bytes = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    });
    if (!out.empty() || name.size() > kServerNameMax || !known_bytes) return wrong("server_name");
    out = lower(name);
  }
  return out;
}

}  // namespace

Result<std::optional<ClientHello>> parse_client_hello(Bytes stream) {
  auto message = take_message(stream);
  if (!message) return pass_on(message);
  if (!*message) return std::optional<ClientHello>();

  Reader r((*message)->body);
  r.skip(2 + 32);   // legacy_version, random
  const std::size_t session = r.u8();
  r.skip(session);
  const std::size_t ciphers = r.u16();
  r.skip(ciphers);
  const std::size_t compressions = r.u8();
  r.skip(compressions);
  if (!r.ok() || session > 32 || ciphers < 2 || ciphers % 2 != 0 || compressions == 0) return wrong("a length lies");

  ClientHello out;
  out.size = (*message)->records;
  if (r.left() == 0) return out;   // TLS 1.2 may have no extensions
  Reader extensions(r.bytes(r.u16()));
  if (!r.ok() || r.left() > 0) return wrong("a length lies");
  bool named = false;
  while (extensions.left() > 0) {
    const std::uint16_t type = extensions.u16();
    const Bytes body = extensions.bytes(extensions.u16());
    if (!extensions.ok()) return wrong("an extension is cut");
    if (type != kServerName) continue;
    if (named) return wrong("two server_name extensions");
    named = true;
    auto name = host_name(body);
    if (!name) return pass_on(name);
    out.server_name = std::move(*name);
  }
  return out;
}

}  // namespace tg
