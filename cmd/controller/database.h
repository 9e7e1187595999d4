// SQLite behind Result: statements with values, rows, transactions.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tg::controller {

// Value is what a '?' of a statement stands for. Text and bytes must live until the call returns.
using Value = std::variant<std::nullptr_t, std::int64_t, std::string_view, Bytes>;

// number is what columns have for a moment: seconds since 1970.
inline std::int64_t number(UnixTime t) noexcept { return t.time_since_epoch().count(); }

// Row reads the columns of the current row; it lives for the length of the callback that it is given to.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) noexcept : statement_(statement) {}
  bool null(int column) const noexcept;
  std::int64_t number(int column) const noexcept;
  std::string text(int column) const;
  Buffer blob(int column) const;

 private:
  sqlite3_stmt* statement_;
};

// Database is the one connection of the process to a database file. Write-ahead log, synchronous=FULL: what commit()
// acknowledged is on the disk. Foreign keys are on. A lock held by somebody else is waited for, at most 10 s. Errors:
// exhausted (the disk is full: nothing was written, and a later try may succeed), conflict (a constraint), timed_out
// (locked), io (everything else), each with SQLite's words. After an error of the disk itself in a write nobody knows what is on
// it, so that nothing more is written until the file is opened anew: every write then ends with that error. Not thread-safe.
class Database {
 public:
  // open creates the file, mode 0600, when it is missing.
  static Result<Database> open(const std::string& path);
  // open_plain opens a copy that nobody else uses, without a write-ahead log. Errors: io, also when it is missing.
  static Result<Database> open_plain(const std::string& path);
  ~Database();
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;

  // script runs statements without values, one after the other.
  Result<> script(const char* sql);
  // run runs one statement that returns no rows, and returns how many rows it changed.
  Result<int> run(const char* sql, std::initializer_list<Value> values = {});
  // each calls `row` for every row.
  Result<> each(const char* sql, std::initializer_list<Value> values, const std::function<void(const Row&)>& row);
  std::int64_t last_id() const noexcept;    // of the last INSERT
  // broken is the error of the disk after which nothing is written; nothing while all is well.
  const std::optional<Error>& broken() const noexcept { return broken_; }

 private:
  class Statement;
  explicit Database(sqlite3* handle) noexcept : handle_(handle) {}
  Error error(std::string_view what) const;
  Error write_error();
  Result<Statement> prepare(const char* sql, std::initializer_list<Value> values);
  sqlite3* handle_ = nullptr;
  std::map<std::string, sqlite3_stmt*> prepared_;   // by their SQL: those that nobody uses now
  std::optional<Error> broken_;
};

// Transaction is a write transaction (BEGIN IMMEDIATE: nobody else can write between what it reads and what it writes).
// It is rolled back unless commit() succeeded.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  ~Transaction();
  Transaction(Transaction&& o) noexcept : database_(std::exchange(o.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  Result<> commit();

 private:
  explicit Transaction(Database& database) noexcept : database_(&database) {}
  Database* database_;
};

}  // namespace tg::controller
