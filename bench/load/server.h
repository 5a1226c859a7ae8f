#pragma once

// Serves on that many free ports of 127.0.0.1, prints them as one JSON line, and runs until it is killed.
int runServer(int listenerCount);
