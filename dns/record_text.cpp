#include "dns/record_text.h"

#include "core/encoding.h"

namespace tg::dns {
namespace {

std::string name_text(const Name& n) { return n.is_root() ? "." : n.to_string() + "."; }

// RFC 1035 section 5.1: quotes and backslashes escaped, other bytes that do not print as \DDD.
std::string quoted(Bytes b) {
  std::string out = "\"";
  for (const std::uint8_t c : b) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 32 && c < 127) {
      out += static_cast<char>(c);
    } else {
      const std::string digits = std::to_string(c);
      out += "\\" + std::string(3 - digits.size(), '0') + digits;
    }
  }
  return out + "\"";
}

std::string strings(Bytes rdata) {
  std::string out;
  Reader in(rdata);
  while (in.left() > 0) {
    const Bytes one = in.bytes(in.u8());
    if (!in.ok()) return {};
    out += (out.empty() ? "" : " ") + quoted(one);
  }
  return out;
}

// The numbers before a name, `count` of 16 bits each.
std::string numbers(Bytes rdata, int count) {
  Reader in(rdata);
  std::string out;
  for (int i = 0; i < count; ++i) out += std::to_string(in.u16()) + " ";
  return out;
}

std::string soa_text(const Soa& s) {
  std::string out = name_text(s.mname) + " " + name_text(s.rname);
  for (const std::uint32_t n : {s.serial, s.refresh, s.retry, s.expire, s.minimum}) out += " " + std::to_string(n);
  return out;
}

std::string known_text(const Record& r) {
  if (const auto address = address_of(r)) return address->to_string();
  if (const auto soa = soa_of(r)) return soa_text(*soa);
  if (const auto target = target_of(r)) {
    const int before = r.type == kTypeMx ? 1 : r.type == kTypeSrv ? 3 : 0;
    return numbers(r.rdata, before) + name_text(*target);
  }
  return r.type == kTypeTxt && r.klass == kClassIn ? strings(r.rdata) : std::string();
}

}  // namespace

std::string rdata_text(const Record& r) {
  std::string out = known_text(r);
  if (out.empty()) out = "\\# " + std::to_string(r.rdata.size()) + (r.rdata.empty() ? "" : " " + hex(r.rdata));
  return out;
}

std::string record_text(const Record& r) {
  const std::string klass = r.klass == kClassIn ? "IN" : "CLASS" + std::to_string(r.klass);
  return name_text(r.name) + " " + std::to_string(r.ttl) + " " + klass + " " + type_text(r.type) + " " + rdata_text(r);
}

}  // namespace tg::dns
