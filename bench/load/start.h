#pragma once

#include <string>

#include "wire.h"

// Waits until the proxy's socket is there, by inotify if it is a file, and for one byte through it and back.
void awaitReady(const Endpoint& proxy);
// Executes `command`, prints the milliseconds from exec until the first byte came back through its socket,
// and ends it with SIGTERM.
void measureStart(const Endpoint& proxy, char* const* command);
// Executes `command`, which ends by itself, and prints the milliseconds that took.
void measureRun(char* const* command);
