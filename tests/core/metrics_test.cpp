#include "core/metrics.h"

#include <gtest/gtest.h>

namespace tg::metrics_test {

TEST(TheMetrics, are_written_as_prometheus_reads_them) {
  Metrics m;
  m.gauge("tg_a", "What a is.").add(true).add(2.5, {{"x", "1"}, {"y", "a\"b\\c\nd"}});
  m.counter("tg_b_total", "Of b.");
  m.counter("tg_c_total", "Of c.").add(std::uint64_t{1} << 40);
  EXPECT_EQ(m.text(),
            "# HELP tg_a What a is.\n# TYPE tg_a gauge\ntg_a 1\ntg_a{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 2.5\n"
            "# HELP tg_b_total Of b.\n# TYPE tg_b_total counter\n"
            "# HELP tg_c_total Of c.\n# TYPE tg_c_total counter\ntg_c_total 1099511627776\n");
}

}  // namespace tg::metrics_test
