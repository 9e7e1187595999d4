// Records as people read them (RFC 1035 section 5.1).
#pragma once

#include <string>

#include "dns/message.h"

namespace tg::dns {

// rdata_text writes what a record says: "192.168.1.50", "10 mail.home.int.", "\"a note\"". Types without a form of
// their own here, and rdata that does not parse, are written as in RFC 3597 section 5: "\# 4 c0a80132".
std::string rdata_text(const Record& r);

// record_text writes the whole line: "nas.home.int. 15 IN A 100.109.250.71".
std::string record_text(const Record& r);

}  // namespace tg::dns
