#include "cmd/controller/database.h"

#include "controller_support.h"

namespace tg::controller::controller_database_test {

struct ADatabase : testing::Test {
  Folder folder;
  Database db = must(Database::open(folder / "a.db"));
  ADatabase() { must(db.script("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")); }
  void put(std::int64_t n, std::string_view text) { must(db.run("INSERT INTO t VALUES (?, ?)", {n, text})); }
};

TEST_F(ADatabase, lends_one_statement_to_one_at_a_time) {
  for (int n = 1; n <= 3; ++n) put(n, "x");
  const char* sql = "SELECT n FROM t WHERE n > ?";
  std::vector<std::int64_t> seen;
  must(db.each(sql, {0}, [&](const Row& outer) {
    must(db.each(sql, {outer.number(0)}, [&](const Row& inner) { seen.push_back(outer.number(0) * 10 + inner.number(0)); }));
  }));
  EXPECT_EQ(seen, (std::vector<std::int64_t>{12, 13, 23}));
}

TEST_F(ADatabase, forgets_values_and_errors_from_one_time_to_the_next) {
  put(1, "x");
  const auto again = db.run("INSERT INTO t VALUES (?, ?)", {1, "y"});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
  put(2, "y");
  must(db.run("INSERT INTO t VALUES (?, ?)", {3, nullptr}));
  std::vector<std::string> texts;
  must(db.each("SELECT text FROM t ORDER BY n", {}, [&](const Row& r) { texts.push_back(r.null(0) ? "null" : r.text(0)); }));
  EXPECT_EQ(texts, (std::vector<std::string>{"x", "y", "null"}));
  EXPECT_FALSE(db.run("INSERT INTO nowhere VALUES (1)"));
  EXPECT_FALSE(db.run("INSERT INTO nowhere VALUES (1)"));
}

TEST_F(ADatabase, goes_by_a_schema_that_has_changed_since) {
  put(1, "x");
  int columns = 0;
  const auto count = [&](const Row& r) { columns = r.null(2) ? 3 : 4; };
  must(db.script("ALTER TABLE t ADD COLUMN more TEXT"));
  must(db.each("SELECT * FROM t", {}, count));
  must(db.script("DROP TABLE t; CREATE TABLE t (n INTEGER, text TEXT, more TEXT DEFAULT 'm'); INSERT INTO t (n) VALUES (1)"));
  must(db.each("SELECT * FROM t", {}, count));
  EXPECT_EQ(columns, 4);
}

TEST_F(ADatabase, takes_what_it_keeps_along_when_it_moves) {
  put(1, "x");
  Database moved = std::move(db);
  must(moved.run("INSERT INTO t VALUES (?, ?)", {2, "y"}));
  db = std::move(moved);
  put(3, "z");
  int rows = 0;
  must(db.each("SELECT n FROM t", {}, [&](const Row&) { ++rows; }));
  EXPECT_EQ(rows, 3);
}

}  // namespace tg::controller::controller_database_test
