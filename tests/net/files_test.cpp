#include "net/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <vector>

#include "net/loop.h"
#include "tests/support/folder.h"

namespace {

// What was synced, in order, and which call fails. The program's fsync is found before libc's.
std::vector<std::string> synced;
int failing_sync = 0;

std::string kind_of(int fd) {
  struct stat info {};
  ::fstat(fd, &info);
  return S_ISDIR(info.st_mode) ? "directory" : "file";
}

}  // namespace

extern "C" int fsync(int fd) {
  synced.push_back(kind_of(fd));
  if (static_cast<int>(synced.size()) == failing_sync) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace tg::net::files_test {

struct AFile : testing::Test {
  test::Folder folder;
  std::string path = folder / "file";
  void SetUp() override {
    ASSERT_TRUE(write_file(path, "old"));
    synced.clear();
    failing_sync = 0;
  }
  void TearDown() override { failing_sync = 0; }
  std::string content() { return read_file(path).value_or("gone"); }
  std::size_t files() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
  }
};

TEST_F(AFile, is_on_the_disk_with_its_name_when_it_is_written) {
  ASSERT_TRUE(write_file(path, "new"));
  EXPECT_EQ(synced, (std::vector<std::string>{"file", "directory"}));
  EXPECT_EQ(content(), "new");
}

TEST_F(AFile, keeps_the_old_content_and_no_rest_of_the_new_when_the_disk_fails) {
  failing_sync = 1;
  const auto written = write_file(path, "new");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::io);
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AFile, is_not_acknowledged_before_its_directory_is_on_the_disk) {
  failing_sync = 2;
  EXPECT_FALSE(write_file(path, "new"));
}

TEST_F(AFile, keeps_the_old_content_when_there_is_no_room_for_the_new) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto written = write_file(path, std::string(5000, 'x'));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_FALSE(written);
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(files(), 1u) << "the part that was written takes no room";
}

TEST_F(AFile, may_lie_in_the_working_directory) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_TRUE(write_file("file", "new"));
  std::filesystem::current_path(before);
  EXPECT_EQ(content(), "new");
}

struct ASecret : AFile {
  // read gives it half a second.
  Result<std::string> read(const std::string& from, std::size_t most = 100) {
    return read_secret(from, most, Loop::now() + std::chrono::milliseconds(500));
  }
  std::string error(const std::string& from, std::size_t most = 100) {
    const auto got = read(from, most);
    return got ? "" : std::string(to_string(got.error().code)) + ": " + got.error().text;
  }
};

TEST_F(ASecret, is_read_from_files_and_pipes_up_to_a_limit) {
  EXPECT_EQ(*read(path, 3), "old");
  EXPECT_EQ(error(path, 2), "exhausted: " + path + " is longer than 2 bytes");
  EXPECT_EQ(error("/dev/zero", 4096), "exhausted: /dev/zero is longer than 4096 bytes");
  EXPECT_TRUE(error(folder / "nowhere").starts_with("not_found: "));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const std::string pipe = "/dev/fd/" + std::to_string(reader.get());
  ASSERT_EQ(::write(writer.get(), "words", 5), 5);
  EXPECT_EQ(error(pipe), "timed_out: nothing more came from " + pipe + " in time");
  ASSERT_EQ(::write(writer.get(), "words", 5), 5);
  writer.reset();
  EXPECT_EQ(*read(pipe), "words");
}

TEST_F(ASecret, is_waited_for_where_nobody_writes_yet) {
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(error(pipe), "timed_out: nothing more came from " + pipe + " in time");
}

}  // namespace tg::net::files_test
