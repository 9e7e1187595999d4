#include "dns/types.h"

#include <charconv>
#include <utility>

#include "core/text.h"

namespace tg::dns {
namespace {

constexpr std::pair<std::uint16_t, const char*> kNames[] = {
    {kTypeA, "A"},         {kTypeNs, "NS"},       {kTypeMd, "MD"},       {kTypeMf, "MF"},       {kTypeCname, "CNAME"},
    {kTypeSoa, "SOA"},     {kTypeMb, "MB"},       {kTypeMg, "MG"},       {kTypeMr, "MR"},       {kTypeWks, "WKS"},
    {kTypePtr, "PTR"},     {kTypeHinfo, "HINFO"}, {kTypeMinfo, "MINFO"}, {kTypeMx, "MX"},       {kTypeTxt, "TXT"},
    {kTypeRp, "RP"},       {kTypeAfsdb, "AFSDB"}, {kTypeRt, "RT"},       {kTypeSig, "SIG"},     {kTypePx, "PX"},
    {kTypeAaaa, "AAAA"},   {kTypeNxt, "NXT"},     {kTypeSrv, "SRV"},     {kTypeNaptr, "NAPTR"}, {kTypeKx, "KX"},
    {kTypeA6, "A6"},       {kTypeDname, "DNAME"}, {kTypeOpt, "OPT"},     {kTypeRrsig, "RRSIG"}, {kTypeSvcb, "SVCB"},
    {kTypeHttps, "HTTPS"}, {kTypeL32, "L32"},     {kTypeL64, "L64"},     {kTypeTkey, "TKEY"},   {kTypeTsig, "TSIG"},
    {kTypeIxfr, "IXFR"},   {kTypeAxfr, "AXFR"},   {kTypeMailb, "MAILB"}, {kTypeMaila, "MAILA"}, {kTypeAny, "ANY"}};

}  // namespace

std::string type_text(std::uint16_t type) {
  for (const auto& [number, name] : kNames)
    if (number == type) return name;
  return "TYPE" + std::to_string(type);
}

std::optional<std::uint16_t> type_number(std::string_view text) {
  const std::string wanted = lower(text);
  for (const auto& [number, name] : kNames)
    if (lower(name) == wanted) return number;
  std::string_view digits = wanted;
  if (digits.starts_with("type")) digits.remove_prefix(4);
  std::uint16_t out = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return out;
}

std::string rcode_text(std::uint16_t rcode) {
  switch (rcode) {
    case kRcodeNoError: return "NOERROR";
    case kRcodeFormErr: return "FORMERR";
    case kRcodeServFail: return "SERVFAIL";
    case kRcodeNxDomain: return "NXDOMAIN";
    case kRcodeNotImp: return "NOTIMP";
    case kRcodeRefused: return "REFUSED";
    case kRcodeBadVers: return "BADVERS";
    default: return "RCODE" + std::to_string(rcode);
  }
}

}  // namespace tg::dns
