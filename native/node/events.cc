#include "events.h"

#include "messages.h"

namespace vsock_proxy {
namespace {

// Decisions are sent in batches of this size, and when all events have been delivered. A wake-up costs about
// as much as several decisions, since the relay thread then competes with this one; a larger batch would
// leave relay threads idle.
constexpr size_t kDecisionsPerWakeup = 16;

}  // namespace

int Plane::start(const Values& js, unsigned threads, napi_value deliver) {
  if (engine_) throw Failure{"the data plane runs already"};
  js.check(napi_create_threadsafe_function(js.env(), deliver, nullptr, js.text("vsock-proxy"), 0, 1, nullptr,
                                           nullptr, this, onWakeup, &wake_));
  engine_ = std::make_unique<Engine>(
      [wake = wake_] { napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking); });
  const int error = engine_->start(threads);
  if (error != 0) stop();
  return error;
}

void Plane::stop() {
  if (!engine_) return;
  engine_.reset();
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
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

// On the thread of JavaScript.
void Plane::onWakeup(napi_env env, napi_value deliver, void* self, void*) {
  if (env == nullptr) return;  // it ends
  guarded(env, [&]() -> napi_value {
    static_cast<Plane*>(self)->deliver(Values(env), deliver);
    return nullptr;
  });
}

void Plane::deliver(const Values& js, napi_value deliver) {
  if (!engine_) return;
  napi_value batch = js.object();
  for (const EventKind kind : {EventKind::Progress, EventKind::CloseRecord, EventKind::Fault,
                               EventKind::DecisionRequest, EventKind::Listing}) {
    js.set(batch, nameOf(kind), js.array());
  }
  for (const Event& event : engine_->takeEvents()) {
    napi_handle_scope scope;
    js.check(napi_open_handle_scope(js.env(), &scope));
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
    js.check(napi_close_handle_scope(js.env(), scope));
  }
  delivering_ = true;
  const napi_status status = napi_call_function(js.env(), js.undefined(), deliver, 1, &batch, nullptr);
  delivering_ = false;
  sendDecisions();
  js.check(status);
}

}  // namespace vsock_proxy
