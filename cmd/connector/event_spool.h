// A connector's events on their way to the controller, which may be away.
#pragma once

#include <functional>
#include <string>

#include "core/connection_event.h"
#include "core/event_queue.h"
#include "core/json_fwd.h"
#include "net/loop.h"
#include "net/socket.h"

namespace tg::connector {

// EventSpool keeps events in files of a directory of its own, mode 0700 and 0600, until the controller has said that it keeps
// them. Events are written half a second after they were recorded, and sent then too; nothing is synced, so that a machine
// that loses its power may lose the last ones. Where the disk takes nothing, the newest are kept in memory. What is given up
// for want of room is an event itself.
class EventSpool {
 public:
  // `send` says a message to the controller; it is called only while ready. `loop` must outlive this.
  EventSpool(net::Loop& loop, std::string directory, EventQueue::Limits limits, std::function<void(const Json&)> send);
  ~EventSpool();   // writes what is not written yet

  void record(const ConnectionEvent& e);
  // lose has it told, as an event, that so many never came to be recorded.
  void lose(std::uint64_t events);
  // ready says whether the controller is there, and takes events. Each time that it comes back, what it may not have heard of
  // is said again.
  void ready(bool yes);
  // kept takes the controller's answer to the last message.
  void kept(const Json& message);
  // flush writes and sends now.
  void flush();

  // status is for people: how many events wait, in how many bytes, and what is wrong.
  Json status() const;

 private:
  void find();
  void write();
  void remove();
  bool write_one(const EventQueue::Unwritten& u);
  void failed(const std::string& what);
  void send_next();
  void added();
  void tell_lost();

  net::Loop& loop_;
  std::string directory_;
  EventQueue queue_;
  std::size_t write_at_;               // bytes; they are written at once, so that none is given up while there is a disk
  std::function<void(const Json&)> send_;
  bool ready_ = false;
  Instant send_again_{};               // not before
  Instant write_again_{};
  std::string problem_;                // of the disk; "" while there is none
  EventQueue::Segment open_{};         // whose file this is:
  net::Fd file_;
  bool due_ = false;                   // flush_ is set
  Instant say_again_{};                // what was lost, in the log
  net::Timer flush_, next_, disk_;
};

}  // namespace tg::connector
