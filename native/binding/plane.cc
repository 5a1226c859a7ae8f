#include "plane.h"

#include "messages.h"

namespace vsock_proxy {
namespace {

// Decisions are sent in batches of this size, and when all events have been delivered. A wake-up costs about
// as much as several decisions, since the relay thread then competes with this one; a larger batch would
// leave relay threads idle.
constexpr size_t kDecisionsPerWakeup = 16;

}  // namespace

int Plane::start(unsigned threads, std::function<void()> wake) {
  if (engine_) throw Failure{"the data plane runs already"};
  engine_ = std::make_unique<Engine>(std::move(wake));
  const int error = engine_->start(threads);
  if (error != 0) stop();
  return error;
}

Engine& Plane::engine() {
  if (!engine_) throw Failure{"the data plane does not run"};
  return *engine_;
}

void Plane::decide(ConnectionDecision decision) {
  decisions_.push_back(std::move(decision));
  if (!delivering_ || decisions_.size() == kDecisionsPerWakeup) sendDecisions();
}

void Plane::sendDecisions() {
  if (engine_ && !decisions_.empty()) engine_->decide(std::move(decisions_));
  decisions_.clear();
}

void Plane::deliver(const Values& js, Value deliver) {
  if (!engine_) return;
  Value batch = js.object();
  for (const EventKind kind : {EventKind::Progress, EventKind::CloseRecord, EventKind::Fault,
                               EventKind::DecisionRequest, EventKind::Listing}) {
    js.set(batch, nameOf(kind), js.array());
  }
  for (const Event& event : engine_->takeEvents()) {
    const Values::Scope scope(js);
    std::visit(
        [&](const auto& one) {
          using One = std::decay_t<decltype(one)>;
          const char* name = nameOf(kindOf<One>());
          if constexpr (std::is_same_v<One, Drained>) {
            js.set(batch, name, toJs(js, one));
          } else {
            js.push(js.get(batch, name), toJs(js, one));
          }
        },
        event);
  }
  struct Delivering {
    Plane& plane;
    explicit Delivering(Plane& plane) : plane(plane) { plane.delivering_ = true; }
    ~Delivering() {
      plane.delivering_ = false;
      plane.sendDecisions();
    }
  } delivering(*this);
  js.call(deliver, batch);
}

}  // namespace vsock_proxy
