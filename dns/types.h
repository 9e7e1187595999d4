// The numbers of DNS (IANA, "Domain Name System Parameters"). Open sets: a number without a name here is no error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tg::dns {

inline constexpr std::uint16_t kTypeA = 1;
inline constexpr std::uint16_t kTypeNs = 2;
inline constexpr std::uint16_t kTypeMd = 3;
inline constexpr std::uint16_t kTypeMf = 4;
inline constexpr std::uint16_t kTypeCname = 5;
inline constexpr std::uint16_t kTypeSoa = 6;
inline constexpr std::uint16_t kTypeMb = 7;
inline constexpr std::uint16_t kTypeMg = 8;
inline constexpr std::uint16_t kTypeMr = 9;
inline constexpr std::uint16_t kTypeWks = 11;
inline constexpr std::uint16_t kTypePtr = 12;
inline constexpr std::uint16_t kTypeHinfo = 13;
inline constexpr std::uint16_t kTypeMinfo = 14;
inline constexpr std::uint16_t kTypeMx = 15;
inline constexpr std::uint16_t kTypeTxt = 16;
inline constexpr std::uint16_t kTypeRp = 17;
inline constexpr std::uint16_t kTypeAfsdb = 18;
inline constexpr std::uint16_t kTypeRt = 21;
inline constexpr std::uint16_t kTypeSig = 24;
inline constexpr std::uint16_t kTypePx = 26;
inline constexpr std::uint16_t kTypeAaaa = 28;
inline constexpr std::uint16_t kTypeNxt = 30;
inline constexpr std::uint16_t kTypeSrv = 33;
inline constexpr std::uint16_t kTypeNaptr = 35;
inline constexpr std::uint16_t kTypeKx = 36;
inline constexpr std::uint16_t kTypeA6 = 38;
inline constexpr std::uint16_t kTypeDname = 39;
inline constexpr std::uint16_t kTypeOpt = 41;
inline constexpr std::uint16_t kTypeRrsig = 46;
inline constexpr std::uint16_t kTypeSvcb = 64;
inline constexpr std::uint16_t kTypeHttps = 65;
inline constexpr std::uint16_t kTypeL32 = 105;
inline constexpr std::uint16_t kTypeL64 = 106;
inline constexpr std::uint16_t kTypeTkey = 249;
inline constexpr std::uint16_t kTypeTsig = 250;
inline constexpr std::uint16_t kTypeIxfr = 251;
inline constexpr std::uint16_t kTypeAxfr = 252;
inline constexpr std::uint16_t kTypeMailb = 253;
inline constexpr std::uint16_t kTypeMaila = 254;
inline constexpr std::uint16_t kTypeAny = 255;

inline constexpr std::uint16_t kClassIn = 1;
inline constexpr std::uint16_t kClassChaos = 3;
inline constexpr std::uint16_t kClassAny = 255;

inline constexpr std::uint8_t kOpcodeQuery = 0;

inline constexpr std::uint16_t kRcodeNoError = 0;
inline constexpr std::uint16_t kRcodeFormErr = 1;
inline constexpr std::uint16_t kRcodeServFail = 2;
inline constexpr std::uint16_t kRcodeNxDomain = 3;
inline constexpr std::uint16_t kRcodeNotImp = 4;
inline constexpr std::uint16_t kRcodeRefused = 5;
inline constexpr std::uint16_t kRcodeBadVers = 16;   // needs EDNS (RFC 6891 section 6.1.3)

inline constexpr std::size_t kHeaderSize = 12;       // RFC 1035 section 4.1.1
inline constexpr std::size_t kMaxMessage = 65535;    // what TCP's length field can say (RFC 1035 section 4.2.2)
inline constexpr std::size_t kPlainUdpMax = 512;     // without EDNS (RFC 1035 section 4.2.1)
inline constexpr std::uint16_t kEdnsUdpSize = 1232;  // what we offer and send at most: no fragments on any IPv6 path

// type_text returns "A", "HTTPS" … or RFC 3597's "TYPE731"; rcode_text "NXDOMAIN" … or "RCODE12".
// type_number reads either back, in any case, and a plain number; nothing for what is no type.
std::string type_text(std::uint16_t type);
std::optional<std::uint16_t> type_number(std::string_view text);
std::string rcode_text(std::uint16_t rcode);

}  // namespace tg::dns
