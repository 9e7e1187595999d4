// One client's tunnel on the connector: checks every flow, and dials for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "cmd/connector/flow.h"
#include "core/device_quota.h"
#include "core/policy.h"
#include "core/view.h"
#include "net/resolver.h"

namespace tg::connector {

// Rules is what the controller told this connector: shared by all sessions, replaced as a whole when it changes.
struct Rules {
  ConnectorSelf self;
  Policy policy;
  std::unordered_map<std::string, UnixTime> revoked;   // device -> grants issued before this are void
  std::optional<Instant> controller_since;             // nothing: the controller is away

  // grace is how long past their expiry grants are honoured at `now`: what the controller set while it is away, and a
  // moment after, in which devices fetch new ones from it; otherwise nothing.
  std::chrono::seconds grace(Instant now) const;
};

// Session ends its flows itself when a grant or the rules no longer cover them.
class Session final : public TunnelHandler {
 public:
  struct Shared {
    net::Loop& loop;
    net::Resolver& resolver;
    const Rules& rules;
    const std::function<std::vector<IpAddress>()>& own_addresses;
    DeviceQuota& flows;
    DeviceQuota& tunnels;
  };

  // `ended` is called once, when the tunnel is gone, and destroys this.
  Session(Shared shared, net::Fd fd, const net::TlsContext& context, std::function<void(const Error&)> ended);
  ~Session() override;

  // rules_changed looks at every live flow again: revocation, narrowing, removal.
  void rules_changed();
  void close(Code code);

  // known says that the client has shown its certificate.
  bool known() const noexcept { return link_.identity().has_value(); }
  std::size_t flows() const noexcept { return flows_.size(); }
  const std::string& user() const noexcept;

  void on_grant(std::string_view jws) override;
  void on_open(StreamId id, const OpenRequest& request) override;
  void on_query(StreamId id, const Query& query) override;
  void on_opened(StreamId) override {}
  void on_answer(StreamId, std::uint8_t, Bytes) override {}
  void on_data(StreamId id, Bytes data) override;
  void on_fin(StreamId id) override;
  void on_datagram(StreamId id, Bytes datagram) override;
  void on_echo(StreamId id, const Echo& echo) override;
  void on_reset(StreamId id, Code code) override;
  void on_goaway(Code) override {}
  Pull pull(StreamId id, MutBytes out) override;

 private:
  struct Live {
    DeviceQuota::Hold place;
    OpenRequest request;
    std::unique_ptr<Flow> flow;
    net::Resolver::RequestId lookup = 0;
  };

  bool is_device() const;
  void opened();
  Code grant_problem() const;
  Policy::Decision decide(const OpenRequest& request) const;
  void resolved(StreamId id, Result<std::vector<IpAddress>> found);
  void refuse(StreamId id, Code code);
  void remove(StreamId id);
  void sweep();
  template <class Call>
  void with(StreamId id, const Call& call);

  Shared shared_;
  std::function<void(const Error&)> ended_;
  DeviceQuota::Hold place_;                // among the tunnels
  net::TunnelLink link_;
  std::optional<Grant> grant_;
  Code without_grant_ = Code::denied;      // why there is none: none was shown, or it had expired
  std::optional<Instant> doubted_since_;   // when the grant was found to be revoked
  std::unordered_map<StreamId, Live> flows_;
  std::unordered_map<StreamId, net::Resolver::RequestId> queries_;
  net::Timer sweep_;
};

}  // namespace tg::connector
