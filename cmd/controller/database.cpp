#include "cmd/controller/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace tg::controller {
namespace {

constexpr std::size_t kPreparedMost = 256;   // more than there are in the source

// With a null destructor SQLite takes the bytes as they are: they live until the statement is done.
int bind(sqlite3_stmt* s, int at, const Value& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value)) return sqlite3_bind_int64(s, at, *n);
  if (const auto* t = std::get_if<std::string_view>(&value)) {
    return sqlite3_bind_text64(s, at, t->data() ? t->data() : "", t->size(), nullptr, SQLITE_UTF8);
  }
  if (const auto* b = std::get_if<Bytes>(&value)) {
    return b->empty() ? sqlite3_bind_zeroblob(s, at, 0) : sqlite3_bind_blob64(s, at, b->data(), b->size(), nullptr);
  }
  return sqlite3_bind_null(s, at);
}

}  // namespace

bool Row::null(int column) const noexcept { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
std::int64_t Row::number(int column) const noexcept { return sqlite3_column_int64(statement_, column); }
std::string Row::text(int column) const {
  const unsigned char* bytes = sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}
Buffer Row::blob(int column) const {
  const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, bytes + sqlite3_column_bytes(statement_, column)};
}

Result<Database> Database::open(const std::string& path) {
  // SQLite gives the log and the index the mode of the database, so that one file's mode decides.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail(Errc::io, fmt::format("could not open {}: {}", path, std::strerror(errno)));
  ::close(fd);
  sqlite3* handle = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (rc != SQLITE_OK) return tl::unexpected(database.error("could not open " + path));
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, 10'000);
  auto ready = database.script("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                               "PRAGMA trusted_schema=OFF; PRAGMA secure_delete=ON;");
  if (!ready) return fail(ready.error().code, fmt::format("{}: {}", path, ready.error().text));
  return database;
}

Result<Database> Database::open_plain(const std::string& path) {
  sqlite3* handle = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (rc != SQLITE_OK) return tl::unexpected(database.error("could not open " + path));
  auto ready = database.script("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; "
                               "PRAGMA secure_delete=ON;");
  if (!ready) return fail(ready.error().code, fmt::format("{}: {}", path, ready.error().text));
  return database;
}

Database::~Database() {
  for (const auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}
Database::Database(Database&& o) noexcept
    : handle_(std::exchange(o.handle_, nullptr)), prepared_(std::exchange(o.prepared_, {})), broken_(std::move(o.broken_)) {}
Database& Database::operator=(Database&& o) noexcept {
  std::swap(handle_, o.handle_);
  std::swap(prepared_, o.prepared_);
  std::swap(broken_, o.broken_);
  return *this;
}

Error Database::error(std::string_view what) const {
  const int code = handle_ ? sqlite3_errcode(handle_) & 0xff : SQLITE_NOMEM;
  Errc kind = Errc::io;
  if (code == SQLITE_CONSTRAINT) kind = Errc::conflict;
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) kind = Errc::timed_out;
  if (code == SQLITE_FULL) return {Errc::exhausted, fmt::format("{}: the disk is full; nothing was written", what)};
  return {kind, fmt::format("{}: {}", what, handle_ ? sqlite3_errmsg(handle_) : "out of memory")};
}

// write_error notes an error of the disk: what the kernel holds for it may be lost, and a later fsync would not say so.
Error Database::write_error() {
  Error e = error("the database");
  const int code = handle_ ? sqlite3_errcode(handle_) & 0xff : SQLITE_OK;
  if (code == SQLITE_IOERR || code == SQLITE_CORRUPT) {
    broken_ = Error{Errc::io, e.text + "; nothing more is written until the controller is started anew"};
    return *broken_;
  }
  return e;
}

Result<> Database::script(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return tl::unexpected(write_error());
  return {};
}

// Statement is one in use: nobody else is lent it, also one who runs the same SQL meanwhile. Then it is kept for the next.
class Database::Statement {
 public:
  Statement(Database& of, std::string sql) : of_(&of), sql_(std::move(sql)) {
    if (auto kept = of.prepared_.extract(sql_)) raw_ = kept.mapped();
    else sqlite3_prepare_v2(of.handle_, sql_.c_str(), -1, &raw_, nullptr);
  }
  Statement(Statement&& o) noexcept : of_(o.of_), sql_(std::move(o.sql_)), raw_(std::exchange(o.raw_, nullptr)) {}
  ~Statement() {
    if (raw_ == nullptr) return;
    sqlite3_reset(raw_);
    sqlite3_clear_bindings(raw_);
    if (of_->prepared_.size() >= kPreparedMost || !of_->prepared_.try_emplace(std::move(sql_), raw_).second) sqlite3_finalize(raw_);
  }
  sqlite3_stmt* get() const noexcept { return raw_; }

 private:
  Database* of_;
  std::string sql_;
  sqlite3_stmt* raw_ = nullptr;   // null: it could not be prepared
};

Result<Database::Statement> Database::prepare(const char* sql, std::initializer_list<Value> values) {
  Statement out(*this, sql);
  if (out.get() == nullptr) return tl::unexpected(error("the database"));
  TG_CHECK(sqlite3_bind_parameter_count(out.get()) == static_cast<int>(values.size()));
  int at = 0;
  for (const Value& value : values) {
    if (bind(out.get(), ++at, value) != SQLITE_OK) return tl::unexpected(error("the database"));
  }
  return out;
}

Result<int> Database::run(const char* sql, std::initializer_list<Value> values) {
  auto statement = prepare(sql, values);
  if (!statement) return pass_on(statement);
  if (broken_) return tl::unexpected(*broken_);
  int rc = SQLITE_ROW;
  while (rc == SQLITE_ROW) rc = sqlite3_step(statement->get());
  if (rc != SQLITE_DONE) return tl::unexpected(write_error());
  return sqlite3_changes(handle_);
}

Result<> Database::each(const char* sql, std::initializer_list<Value> values,
                        const std::function<void(const Row&)>& row) {
  auto statement = prepare(sql, values);
  if (!statement) return pass_on(statement);
  int rc = sqlite3_step(statement->get());
  for (; rc == SQLITE_ROW; rc = sqlite3_step(statement->get())) row(Row(statement->get()));
  if (rc != SQLITE_DONE) return tl::unexpected(error("the database"));
  return {};
}

std::int64_t Database::last_id() const noexcept { return sqlite3_last_insert_rowid(handle_); }

Result<Transaction> Transaction::begin(Database& database) {
  if (database.broken()) return tl::unexpected(*database.broken());
  if (auto begun = database.script("BEGIN IMMEDIATE"); !begun) return pass_on(begun);
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) static_cast<void>(database_->script("ROLLBACK"));
}

Result<> Transaction::commit() {
  if (auto done = database_->script("COMMIT"); !done) return done;
  database_ = nullptr;
  return {};
}

}  // namespace tg::controller
