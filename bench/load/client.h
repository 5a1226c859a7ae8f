// The client role. Every function runs one measurement and prints its result as one JSON line, with how many
// MiB, round trips or connections it was as `units`; a broken promise (a lost byte, a dead connection) is an
// exception.
#pragma once

#include <chrono>
#include <cstddef>

#include "wire.h"

// Bytes per second over all connections, counted where they arrive and compared with where they were sent.
void measureUpload(const Endpoint& proxy, int connections, std::chrono::milliseconds duration);
void measureDownload(const Endpoint& proxy, int connections, std::chrono::milliseconds duration);
// Time until a message of that size is back, over one connection.
void measureRoundTrip(const Endpoint& proxy, size_t messageBytes, std::chrono::milliseconds duration);
// Connect, the prelude, one byte each way, close: as often as the threads can, and how long each took to that
// byte.
void measureConnections(const Endpoint& proxy, int threads, std::chrono::milliseconds duration);
// GETs of distinct URLs over one connection for each client, through an HTTP proxy: how many, and how long
// each took.
void measureRequests(const Endpoint& proxy, int clients, std::chrono::milliseconds duration);
// Opens the connections, sends a byte over each and back, prints a line, waits for a line on stdin, closes
// them.
void holdIdle(const Endpoint& proxy, int connections);
// Opens and closes that many connections, a batch at a time, each proven by one byte each way.
void churn(const Endpoint& proxy, int connections, int batch);
