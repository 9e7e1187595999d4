// One client's tunnel on the connector: checks every flow, and dials for it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "cmd/connector/flow.h"
#include "cmd/connector/log_lines.h"
#include "cmd/connector/recorder.h"
#include "cmd/connector/traffic.h"
#include "core/device_quota.h"
#include "core/policy.h"
#include "core/view.h"
#include "net/mutex.h"
#include "net/resolver.h"

namespace tg::connector {

// Rules is what sessions go by: what the controller told this connector, and what it knows itself. Each worker has them, and
// they are replaced as a whole when something changes.
struct Rules {
  ConnectorSelf self;
  std::shared_ptr<const Policy> policy = std::make_shared<const Policy>();   // the same one for all workers
  std::vector<IpAddress> own;                          // addresses of this host
  std::unordered_map<std::string, Generation> revoked;   // device -> grants of a lower generation are void
  std::optional<Instant> controller_since;             // nothing: the controller is away

  // grace is how long past their expiry grants are honoured at `now`: what the controller set while it is away, and a
  // moment after, in which devices fetch new ones from it; otherwise nothing.
  std::chrono::seconds grace(Instant now) const;
  // voids says whether a grant was revoked.
  bool voids(const Grant& grant) const;
};

// Session ends its flows itself when a grant or the rules no longer cover them.
class Session final : public TunnelHandler {
 public:
  // Common is what all sessions of a connector share, whichever thread they are on.
  struct Common {
    DeviceQuota& flows;
    DeviceQuota& tunnels;
    DeviceQuota& kept;         // bytes for servers that do not read
    LogLines& lines;           // of the log, about what devices are refused
    Recorder& recorder;
    Traffic& traffic;
    std::shared_ptr<DeviceQuota> lookups = std::make_shared<DeviceQuota>(dns::Resolver::kLookups, net::Mutex::make());   // of all their Resolvers
  };
  // Shared is what those of one worker share.
  struct Shared {
    net::Loop& loop;
    net::Resolver& resolver;
    const Rules& rules;
    Common& common;
  };
  struct Callbacks {
    std::function<void()> known;               // the client has shown who it is
    std::function<void(const Error&)> ended;   // called once, when the tunnel is gone; destroys this
  };

  // `path`: the way that the client came by, for the record.
  Session(Shared shared, std::string path, net::Fd fd, const net::TlsContext& context, Callbacks callbacks);
  ~Session() override;

  // rules_changed looks at every live flow again: revocation, narrowing, removal, another address. A grant that did not hold
  // when it was shown is looked at again too: it may have overtaken the rules that it was made for.
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
    std::string host;                      // what was decided that it leads to
    std::unique_ptr<Flow> flow;
    net::Resolver::RequestId lookup = 0;
    std::string resource;                  // its name, and
    std::string dialled{};
    std::uint64_t number = 0;              // the flow's, in the record; 0: it does not stand yet
    Carried counted{};                     // what of it Traffic has
    Instant since{};                       // when it was opened, or asked for
  };
  struct Question {
    Query query;
    std::string host;
    net::Resolver::RequestId lookup = 0;
  };

  const std::string& device() const noexcept;   // empty when the tunnel is gone
  bool is_device() const;
  bool awaits_grant() const;
  template <class Request>
  bool keep(StreamId id, const Request& request);
  void take_kept();
  void opened();
  Result<> try_grant();
  Code grant_problem() const;
  template <class Request>
  Policy::Decision decide(const Request& request) const;
  std::optional<std::string_view> forbidden(const OpenRequest& request, const IpAddress& ip) const;
  Code still(const Live& live) const;
  void resolved(StreamId id, Result<std::vector<IpAddress>> found);
  void answer(StreamId id, std::uint8_t rcode, Bytes records);
  void refuse(StreamId id, Code code);
  void established(StreamId id);
  ConnectionEvent event(const OpenRequest& request) const;
  void record_refusal(ConnectionEvent::Kind kind, const OpenRequest& request, Code code);
  void record_end(const Live& live, std::string_view reason);
  void count(Live& live);
  void uncount(Live& live);
  void remove(StreamId id, std::optional<std::string_view> reason);
  void finished(StreamId id);
  void sweep();
  template <class Call>
  void with(StreamId id, const Call& call);

  Shared shared_;
  std::string path_;
  Code closing_ = Code::none;              // what this end has closed the tunnel with
  Callbacks callbacks_;
  DeviceQuota::Hold place_;                // among the tunnels
  net::TunnelLink link_;
  std::optional<Grant> grant_;             // the last one that held
  std::string shown_;                      // the last one shown, when it did not hold: kGrantMax bytes at most
  std::optional<UnixTime> shown_from_;     // when time will have mended that
  Code without_grant_ = Code::denied;      // why there is none: none was shown, or it had expired
  bool stood_ = false;                     // a grant has held on this tunnel
  std::optional<Instant> doubted_since_;   // when the grant was found to be revoked
  std::map<StreamId, std::variant<OpenRequest, Query>> waiting_;   // for a better grant, in the order of their coming
  std::unordered_map<StreamId, Live> flows_;
  std::unordered_map<StreamId, Question> queries_;
  net::Timer sweep_;
};

}  // namespace tg::connector
