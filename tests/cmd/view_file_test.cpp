#include "cmd/view_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "controller_support.h"
#include "core/json.h"
#include "net/files.h"

namespace tg::cmd::view_file_test {

using controller::must;

struct ViewFileTest : testing::Test {
  controller::Folder folder;
  std::string path = folder / "view.json";
  View view = {{"self", "me"}, {"resource/7", {{"id", 7}}}};
};
using AViewFile = ViewFileTest;

TEST_F(AViewFile, holds_what_was_saved_and_when_it_was_meant) {
  ViewFile file(path, "tg-1/connector/a");
  EXPECT_FALSE(file.load());
  file.save(view);
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(file.load()->view, view);
  EXPECT_EQ(file.load()->as_of.time_since_epoch().count(), info.st_mtim.tv_sec);
  const UnixTime later{std::chrono::seconds(1'900'000'000)};
  file.still(later);
  EXPECT_EQ(file.load()->as_of, later);
  EXPECT_EQ(file.load()->view, view);
  file.forget();
  EXPECT_FALSE(file.load());
  file.still(later);
  EXPECT_FALSE(file.load()) << "makes none";
}

TEST_F(AViewFile, is_written_only_when_it_changes_and_meant_again_all_the_same) {
  ViewFile(path, "o").save(view);
  struct stat first {}, second {};
  ASSERT_EQ(::stat(path.c_str(), &first), 0);
  const UnixTime earlier{std::chrono::seconds(1'700'000'000)};
  for (ViewFile file(path, "o"); const int again : {1, 2}) {
    file.still(earlier);
    EXPECT_TRUE(file.save(view)) << again;
    ASSERT_EQ(::stat(path.c_str(), &second), 0);
    EXPECT_EQ(second.st_ino, first.st_ino);
    EXPECT_GT(file.load()->as_of, earlier);
  }
  ViewFile file(path, "o");
  view.erase("self");
  EXPECT_TRUE(file.save(view));
  EXPECT_EQ(file.load()->view, view);
  std::filesystem::remove(path);
  EXPECT_TRUE(file.save(view)) << "also when somebody has taken it away";
  EXPECT_EQ(file.load()->view, view);
}

TEST_F(AViewFile, that_cannot_be_written_is_not_there_and_said_once) {
  ViewFile file(path, "o");
  EXPECT_TRUE(file.save(view));
  std::filesystem::create_directory(path + ".new");         // in the way of what write_file writes first
  testing::internal::CaptureStderr();
  view.erase("self");
  EXPECT_FALSE(file.save(view));
  EXPECT_FALSE(file.save(view));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_FALSE(file.load()) << "rather none than an older one";
  std::filesystem::remove(path + ".new");
  EXPECT_TRUE(file.save(view));
  EXPECT_TRUE(file.load());
}

TEST_F(AViewFile, of_another_agent_is_not_taken) {
  ViewFile(path, "tg-1/connector/a").save(view);
  EXPECT_FALSE(ViewFile(path, "tg-1/connector/b").load());
  EXPECT_FALSE(ViewFile(path, "tg-2/connector/a").load());
  EXPECT_TRUE(ViewFile(path, "tg-1/connector/a").load());
}

TEST_F(AViewFile, that_is_damaged_is_said_to_be_and_not_used) {
  for (const char* text : {"", "{", "[]", R"({"owner":"o"})", R"({"owner":"o","view":[]})"}) {
    must(net::write_file(path, text));
    testing::internal::CaptureStderr();
    EXPECT_FALSE(ViewFile(path, "o").load()) << text;
    EXPECT_NE(testing::internal::GetCapturedStderr().find("view.json is damaged"), std::string::npos) << text;
  }
}

}  // namespace tg::cmd::view_file_test
