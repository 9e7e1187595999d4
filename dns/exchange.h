// Questions on their way to DNS servers: who is asked when, over what, and which reply is believed.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/ip.h"
#include "core/time.h"
#include "dns/message.h"
#include "dns/servers.h"

namespace tg::dns {

// Random returns 32 bits that nobody outside can guess.
using Random = std::function<std::uint32_t()>;

// Transaction names one socket: one query sent, one reply expected. Never used twice.
using Transaction = std::uint64_t;

// Action is what the owner of the sockets has to do next.
struct Action {
  enum class Kind : std::uint8_t {
    udp,    // open a UDP socket with a port of its own, connected to `server`, and send `bytes`
    tcp,    // connect to `server` and send `bytes`: a message behind its length
    drop,   // close the transaction's socket; nothing else is set
  };
  Kind kind = Kind::drop;
  Transaction transaction = 0;
  Endpoint server;
  Buffer bytes;
};

// Asker is the face that whoever asks DNS servers shows to the owner of the sockets. After any call that can change
// something, take the actions until there are none, and ask for next_deadline(). Events of a dropped transaction are
// ignored. Every `now` must be no earlier than the one before.
class Asker {
 public:
  virtual ~Asker() = default;
  virtual void on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) = 0;
  virtual void on_stream(Transaction t, Bytes bytes, Instant now) = 0;
  // on_failed: the socket could not be made, nobody listens there, or the connection ended.
  virtual void on_failed(Transaction t, Instant now) = 0;
  virtual void on_timeout(Instant now) = 0;
  virtual Instant next_deadline() const = 0;
  virtual std::optional<Action> next_action() = 0;
};

// Exchanges asks questions of a list of servers, many at a time, each until one server has answered it or its deadline has
// come. There are two kinds. Our own questions carry EDNS and a name in mixed case, and go over TCP when the reply was cut.
// Verbatim ones are somebody else's messages, of which nothing is changed but the id.
//
//   asked ─▶ waiting ──a reply that is believed──▶ answered
//     ▲        │ nothing in time, socket failed, SERVFAIL …
//     └────────┘ next server                      ──deadline, or no server left──▶ failed | silent | unreachable
//
// Every attempt has a transaction, a random id and (own questions) random letter case of its own. A reply is believed when
// it came on the attempt's transaction from the server's address, with its id, and with the question as sent; any other is
// waited out. An attempt that has seen kForged wrong replies is given up, because somebody is guessing: an own question goes
// over TCP instead (RFC 5452 section 9.3).
// Attempts stay open when the next server is asked: the first believed reply wins.
class Exchanges final : public Asker {
 public:
  static constexpr int kForged = 32;
  static constexpr int kMaxAttempts = 16;             // for one question, whatever the servers say
  static constexpr std::size_t kMaxOpen = 3;          // attempts of one question that hold a socket; the oldest goes
  static constexpr Duration kLongestWait = std::chrono::seconds(1);

  struct Config {
    std::vector<Endpoint> servers;
    // The next server is asked after retry_after of silence, then after twice that, up to kLongestWait.
    Duration retry_after = std::chrono::milliseconds(400);
    bool mix_case = true;
    Random random;
  };
  using Id = std::uint64_t;
  enum class End : std::uint8_t {
    answered,
    failed,        // servers answered, but only that they cannot (SERVFAIL, REFUSED …), or nonsense
    silent,        // nobody answered before the deadline
    unreachable,   // there is no server, or no socket to one could be had
    flooded,       // a verbatim question over UDP drew too many wrong replies
  };
  struct Reply {
    Id id = 0;
    End end = End::silent;
    Message message;   // own questions, answered
    Buffer bytes;      // verbatim ones, answered (original id not restored) or failed (the first such reply, if any)
    std::optional<Endpoint> server;   // whose reply that is
  };

  explicit Exchanges(Config config);

  // ask and ask_verbatim start an exchange. `query`: a message with at most one question; see question_size.
  Id ask(const Question& question, Instant now, Instant deadline);
  Id ask_verbatim(Buffer query, bool tcp, Instant now, Instant deadline);
  // cancel forgets an exchange: no reply will come. Unknown ids are ignored.
  void cancel(Id id);
  // set_servers gives up what the old servers were asked and have not answered: it is asked of the new ones anew, at the
  // next on_timeout(), which is due at once. Deadlines stay. The same list changes nothing.
  void set_servers(std::vector<Endpoint> servers);
  std::size_t in_flight() const noexcept { return exchanges_.size(); }

  std::optional<Reply> next_reply();

  void on_datagram(Transaction t, const Endpoint& from, Bytes datagram, Instant now) override;
  void on_stream(Transaction t, Bytes bytes, Instant now) override;
  void on_failed(Transaction t, Instant now) override;
  void on_timeout(Instant now) override;
  Instant next_deadline() const override { return due_.empty() ? kNever : due_.begin()->first; }
  std::optional<Action> next_action() override;

 private:
  struct Attempt {
    Transaction transaction = 0;
    std::size_t server = 0;       // index in Exchange::servers
    bool tcp = false;
    bool edns = false;
    bool mixed = false;
    bool asked_again = false;     // the server returned the question in other letters
    int forged = 0;
    Buffer sent;                  // the message
    Buffer received;              // TCP: what came so far
  };
  struct Server {
    Endpoint endpoint;
    bool out = false;             // has said that it cannot, or its socket failed twice
    int failures = 0;             // of sockets
  };
  struct Exchange {
    Id id = 0;
    std::optional<Question> question;   // own
    Buffer query;                       // verbatim
    bool tcp = false;
    std::vector<Server> servers;
    std::size_t next = 0;
    std::vector<Attempt> open;
    int attempts = 0;
    Duration wait{};
    Instant retry_at = kNever;
    Instant deadline = kNever;
    Instant due = kNever;               // as in due_
    bool anew = false;                  // the servers have changed
    bool answered_badly = false;
    Buffer bad;                         // the first reply that says that a server cannot
    std::optional<Endpoint> bad_server;
  };
  enum class Verdict : std::uint8_t { believed, forged, other_case, cut, without_edns, bad };

  Id start(Exchange exchange, Instant now, Instant deadline);
  void begin(Exchange& e, Instant now);
  void send(Exchange& e, std::size_t server, bool tcp, Instant now);
  Buffer compose(const Exchange& e, Attempt& a);
  void next_server(Exchange& e, std::optional<int> failures, Instant now);
  Verdict judge(const Exchange& e, const Attempt& a, Bytes reply, Message& parsed) const;
  void take(Exchange& e, Attempt& a, Bytes reply, Instant now);
  void take_forged(Exchange& e, Attempt& a, Instant now);
  void drop(Exchange& e, Transaction t);
  void give_up(Exchange& e);
  void finish(Exchange& e, Reply reply);
  void schedule(Exchange& e);
  Exchange* find(Transaction t);
  static Attempt& attempt(Exchange& e, Transaction t);

  Config config_;
  Servers servers_;
  Id next_id_ = 1;
  Transaction next_transaction_ = 1;
  std::unordered_map<Id, Exchange> exchanges_;
  std::unordered_map<Transaction, Id> transactions_;
  std::set<std::pair<Instant, Id>> due_;
  std::deque<Action> actions_;
  std::deque<Reply> replies_;
};

// question_size returns how many bytes behind the header the question section of a query takes: 0 for none. Nothing when the
// bytes are no query, or hold more than one question (RFC 9619) or a malformed one.
std::optional<std::size_t> question_size(Bytes query);

}  // namespace tg::dns
