#include "dns/name.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "dns/types.h"

namespace tg::dns {
namespace {

// Length bytes are at most 63, below 'A': lowering a whole wire name at once changes nothing but letters.
constexpr std::uint8_t lowered(std::uint8_t c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c | 0x20) : c;
}

bool equal_without_case(Bytes a, Bytes b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](std::uint8_t x, std::uint8_t y) { return lowered(x) == lowered(y); });
}

constexpr bool is_digit(std::uint8_t c) noexcept { return c >= '0' && c <= '9'; }

// kHostname maps the bytes that a Resource's name may hold to lower case, and every other byte to zero.
constexpr std::array<char, 256> kHostname = [] {
  std::array<char, 256> table{};
  for (int c = 0; c < 256; ++c)
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_')
      table[static_cast<std::size_t>(c)] = static_cast<char>(lowered(static_cast<std::uint8_t>(c)));
  return table;
}();

// Builder collects labels under the two limits.
class Builder {
 public:
  // open starts a label; add appends to it; close ends it. False: a limit is broken.
  void open() noexcept { start_ = size_++; }
  bool add(std::uint8_t c) noexcept {
    if (length() == Name::kMaxLabel || size_ + 1 >= Name::kMaxSize) return false;   // the root needs a byte too
    wire_[size_++] = c;
    return true;
  }
  std::size_t length() const noexcept { return size_ - start_ - 1; }
  void close() noexcept { wire_[start_] = static_cast<std::uint8_t>(length()); }
  bool room() const noexcept { return size_ + 2 < Name::kMaxSize; }
  Bytes finish() noexcept {
    wire_[size_++] = 0;
    return {wire_.data(), size_};
  }

 private:
  std::array<std::uint8_t, Name::kMaxSize + 1> wire_{};
  std::size_t size_ = 0;
  std::size_t start_ = 0;
};

std::optional<std::uint8_t> octet(Bytes label) noexcept {
  if (label.empty() || label.size() > 3 || (label.size() > 1 && label[0] == '0')) return std::nullopt;
  unsigned value = 0;
  for (const std::uint8_t c : label) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  if (value > 255) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

}  // namespace

Name& Name::operator=(const Name& o) noexcept {
  std::memmove(wire_.data(), o.wire_.data(), o.size_);
  size_ = o.size_;
  return *this;
}

Result<Name> Name::read(Reader& in, Pointers pointers) {
  const Bytes all = in.all();
  Name out;
  std::size_t size = 0;
  std::size_t at = in.offset();
  std::size_t floor = at;      // the next pointer must lead to before this
  std::size_t after = 0;       // where the name ends for the reader, once a pointer was followed
  int jumps = 0;
  for (;;) {
    if (at >= all.size()) return fail(Errc::malformed, "the message ends inside a name");
    const std::size_t length = all[at];
    if (length > kMaxLabel) {
      if ((length & 0xC0) != 0xC0) return fail(Errc::malformed, "a label of a type that does not exist");
      if (pointers == Pointers::refused) return fail(Errc::malformed, "a compression pointer where none may be");
      if (at + 1 >= all.size()) return fail(Errc::malformed, "the message ends inside a compression pointer");
      const std::size_t target = (length & 0x3F) << 8 | all[at + 1];
      if (target >= floor) return fail(Errc::malformed, "a compression pointer that does not lead backwards");
      if (target < kHeaderSize) return fail(Errc::malformed, "a compression pointer into the header");
      if (++jumps > kMaxJumps) return fail(Errc::malformed, "too many compression pointers in one name");
      if (after == 0) after = at + 2;
      at = floor = target;
      continue;
    }
    if (size + 1 + length > kMaxSize) return fail(Errc::malformed, "a name above 255 bytes");
    if (length >= all.size() - at) return fail(Errc::malformed, "the message ends inside a label");
    std::memcpy(out.wire_.data() + size, all.data() + at, length + 1);
    size += length + 1;
    at += length + 1;
    if (length == 0) break;
  }
  out.size_ = static_cast<std::uint8_t>(size);
  in.skip((after != 0 ? after : at) - in.offset());
  return out;
}

Result<Name> Name::parse(std::string_view text) {
  Name out;
  if (text == ".") return out;
  const Bytes bytes = as_bytes(text);
  Builder builder;
  builder.open();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint8_t c = bytes[i];
    if (c == '.') {
      if (builder.length() == 0) return fail(Errc::invalid_argument, "a name with an empty label");
      builder.close();
      if (i + 1 == bytes.size()) {
        const Bytes wire = builder.finish();
        std::memcpy(out.wire_.data(), wire.data(), wire.size());
        out.size_ = static_cast<std::uint8_t>(wire.size());
        return out;
      }
      if (!builder.room()) return fail(Errc::invalid_argument, "a name above 255 bytes");
      builder.open();
      continue;
    }
    if (c == '\\') {
      if (i + 1 >= bytes.size()) return fail(Errc::invalid_argument, "a name that ends inside an escape");
      if (is_digit(bytes[i + 1])) {
        unsigned value = 256;
        if (i + 3 < bytes.size() && is_digit(bytes[i + 2]) && is_digit(bytes[i + 3]))
          value = (bytes[i + 1] - '0') * 100u + (bytes[i + 2] - '0') * 10u + (bytes[i + 3] - '0');
        if (value > 255) return fail(Errc::invalid_argument, "an escape that is not \\000 to \\255");
        c = static_cast<std::uint8_t>(value);
        i += 3;
      } else {
        c = bytes[++i];
      }
    }
    if (!builder.add(c)) return fail(Errc::invalid_argument, "a label above 63 or a name above 255 bytes");
  }
  if (builder.length() == 0) return fail(Errc::invalid_argument, "an empty name");
  builder.close();
  const Bytes wire = builder.finish();
  std::memcpy(out.wire_.data(), wire.data(), wire.size());
  out.size_ = static_cast<std::uint8_t>(wire.size());
  return out;
}

std::size_t Name::label_count() const noexcept {
  std::size_t count = 0;
  for (std::size_t at = 0; wire_[at] != 0; at += wire_[at] + 1u) ++count;
  return count;
}

std::string Name::to_string() const {
  if (is_root()) return ".";
  std::string out;
  out.reserve(size_);
  for (std::size_t at = 0; wire_[at] != 0; at += wire_[at] + 1u) {
    if (at != 0) out += '.';
    for (const std::uint8_t raw : wire().subspan(at + 1, wire_[at])) {
      const char c = static_cast<char>(lowered(raw));
      if (raw < 0x21 || raw > 0x7E) {
        const char escape[] = {'\\', static_cast<char>('0' + raw / 100), static_cast<char>('0' + raw / 10 % 10),
                               static_cast<char>('0' + raw % 10)};
        out.append(escape, sizeof escape);
      } else {
        if (std::string_view(".\\\"();@$").find(c) != std::string_view::npos) out += '\\';
        out += c;
      }
    }
  }
  return out;
}

bool Name::hostname(std::string& out) const {
  out.clear();
  if (is_root()) return false;
  out.resize(size_ - 2u);   // without the first length byte and the root
  std::size_t next = 0;     // where the next length byte is
  for (std::size_t at = 0; at + 1 < size_; ++at) {
    if (at == next) {
      if (at != 0) out[at - 1] = '.';
      next = at + wire_[at] + 1u;
      continue;
    }
    const char c = kHostname[wire_[at]];
    if (c == 0) return false;
    out[at - 1] = c;
  }
  return true;
}

Name Name::parent() const noexcept {
  Name out;
  if (is_root()) return out;
  const Bytes rest = wire().subspan(wire_[0] + 1u);
  std::memcpy(out.wire_.data(), rest.data(), rest.size());
  out.size_ = static_cast<std::uint8_t>(rest.size());
  return out;
}

Name Name::lower() const noexcept {
  Name out = *this;
  std::transform(wire_.begin(), wire_.begin() + size_, out.wire_.begin(), lowered);
  return out;
}

bool Name::operator==(const Name& o) const noexcept { return equal_without_case(wire(), o.wire()); }

bool Name::same_bytes(const Name& o) const noexcept {
  return size_ == o.size_ && std::memcmp(wire_.data(), o.wire_.data(), size_) == 0;
}

bool Name::is_subdomain_of(const Name& zone) const noexcept {
  for (std::size_t at = 0; size_ - at >= zone.size_; at += wire_[at] + 1u)
    if (size_ - at == zone.size_) return equal_without_case(wire().subspan(at), zone.wire());
  return false;
}

std::size_t Name::hash() const noexcept {
  std::uint64_t h = 0xCBF29CE484222325ull;   // FNV-1a
  for (const std::uint8_t c : wire()) h = (h ^ lowered(c)) * 0x100000001B3ull;
  return static_cast<std::size_t>(h ^ h >> 32);
}

std::optional<ReverseName> reverse_name(const Name& name) {
  static const Name kZone = *Name::parse("in-addr.arpa");
  if (!name.is_subdomain_of(kZone) || name.size() == kZone.size()) return std::nullopt;
  std::array<Bytes, 128> labels;
  std::size_t count = 0;
  const Bytes wire = name.wire();
  for (std::size_t at = 0; at < wire.size() - kZone.size(); at += wire[at] + 1u)
    labels[count++] = wire.subspan(at + 1, wire[at]);
  std::uint32_t address = 0;
  int octets = 0;
  while (octets < 4 && count > 0) {
    const auto value = octet(labels[count - 1]);
    if (!value) break;
    address |= static_cast<std::uint32_t>(*value) << (24 - 8 * octets);
    ++octets;
    --count;
  }
  if (octets == 0) return std::nullopt;
  return ReverseName{Cidr(Ipv4{address}, 8 * octets), count > 0};
}

std::optional<Ipv4> reverse_address(const Name& name) {
  const auto reverse = reverse_name(name);
  if (!reverse || reverse->below || !reverse->network.single()) return std::nullopt;
  return reverse->network.base().v4();
}

Name to_reverse(Ipv4 address) {
  std::string text;
  for (int shift = 0; shift < 32; shift += 8) text += std::to_string(address.value >> shift & 0xFF) + ".";
  return *Name::parse(text + "in-addr.arpa");
}

}  // namespace tg::dns
