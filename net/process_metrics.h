// What the kernel says of this process.
#pragma once

#include "core/metrics.h"

namespace tg::net {

// add_process_metrics adds what every Prometheus client tells of its process: CPU time, memory, descriptors, its start.
void add_process_metrics(Metrics& m);

}  // namespace tg::net
